"""`python -m tests.clients`: real clients through the gateway, and the table of what they did.

Each is brought into each situation of `situations.py`, in an empty environment with a home folder
of its own, in a network namespace with loopback alone where this user may make one (root on Linux).
The provider is a stub that keeps its own bill, and the books are set against it all the time.
What came of each is kept in `build/clients/results.json`; once that has all of the table, the table
is written to `docs/clients.md`.
Exit code 1 where the books were below the bill or beyond a cap, or a client did what it must not.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from support.last_resort import LAST_RESORT_S
from support.terminal_signals import restore_terminal_signals
from tests.clients.cell import Cell, run_cell
from tests.clients.install import install
from tests.clients.place import Place
from tests.clients.programs import PROGRAMS, environment_of, filled
from tests.clients.situations import SITUATIONS
from tests.clients.table import Kept, page_of

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "clients.md"
_TABLE: Final = re.compile(r"(?<=<!-- table -->\n).*(?=<!-- end -->)", re.DOTALL)
_INSIDE: Final = "EARMARK_CLIENTS_INSIDE"


def main() -> int:
    """Install, run, keep, write the table; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--client", action="append", choices=[*PROGRAMS], help="all unless named")
    parser.add_argument("--situation", action="append", choices=[*SITUATIONS])
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "clients")
    parser.add_argument("--places", type=int, default=2, help="gateways used side by side")
    parser.add_argument("--show", action="store_true", help="print what each said")
    args = parser.parse_args()
    restore_terminal_signals()
    cache = args.cache.resolve()
    clients: Sequence[str] = args.client or [*PROGRAMS]
    if _INSIDE not in os.environ:
        install(cache, sorted({PROGRAMS[name].needs for name in clients}))
        _enter_namespace()
    kept = Kept(cache / "results.json")
    wrong: list[str] = []
    pairs = [(name, each) for name in clients for each in args.situation or SITUATIONS]
    versions = {name: _version(name, cache) for name in clients}
    for cell in _run(pairs, cache, args.places):
        kept.add(cell, versions[cell.program], str(datetime.now(UTC).date()))
        sys.stderr.write(f"{cell.program} | {cell.situation} | {cell.text}\n")
        if args.show or cell.wrong:
            sys.stderr.write(f"{cell}\n")
        wrong += [f"{cell.program}, {cell.situation}: {each}" for each in cell.wrong]
    _write(kept)
    sys.stderr.writelines(f"WRONG: {each}\n" for each in wrong)
    return 1 if wrong else 0


def _run(pairs: Sequence[tuple[str, str]], cache: Path, places: int) -> Iterator[Cell]:
    """Yield what came of each client in each situation, as it comes, from a few places at once."""
    local, opened = threading.local(), list[tuple[Place, tempfile.TemporaryDirectory[str]]]()

    def begin() -> None:
        folder = tempfile.TemporaryDirectory()
        local.place = Place(Path(folder.name)).__enter__()
        opened.append((local.place, folder))

    def one(pair: tuple[str, str]) -> Cell:
        name, situation = pair
        try:
            return run_cell(local.place, name, PROGRAMS[name], situation, cache)
        except (AssertionError, subprocess.SubprocessError) as error:
            # It did not end: the others are run all the same.
            return Cell(program=name, situation=situation, wrong=[f"was given up: {error}"])

    try:
        with ThreadPoolExecutor(places, initializer=begin) as pool:
            yield from pool.map(one, pairs)
    finally:
        for place, folder in opened:
            place.__exit__(None, None, None)
            folder.cleanup()


def _write(kept: Kept) -> None:
    """Write the page's table where what is kept is complete; print it in any case."""
    table, complete = page_of(kept)
    sys.stdout.write(table)
    if complete:
        text = PAGE.read_text("utf-8")
        PAGE.write_text(_TABLE.sub(lambda _: f"\n{table}\n", text), "utf-8")


def _enter_namespace() -> None:
    """Go on without any network but the machine's own, where that can be had."""
    environ = {**os.environ, _INSIDE: "1"}
    again = [sys.executable, "-m", "tests.clients", *sys.argv[1:]]
    if os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip"):
        script = 'ip link set lo up && exec "$@"'
        os.execvpe("unshare", ["unshare", "-n", "sh", "-c", script, "sh", *again], environ)  # noqa: S606
    os.execve(sys.executable, again, environ)  # noqa: S606


def _version(name: str, cache: Path) -> str:
    with tempfile.TemporaryDirectory() as home:
        said = subprocess.run(
            filled(PROGRAMS[name].version, cache),
            env=environment_of(PROGRAMS[name], cache, Path(home)),
            capture_output=True,
            text=True,
            check=True,
            timeout=LAST_RESORT_S,
        ).stdout
    found = re.search(r"\d+(?:\.\d+)+", said)
    return found.group() if found else ""


if __name__ == "__main__":
    sys.exit(main())
