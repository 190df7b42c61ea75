"""`python -m tests.clients`: real clients under `earmark exec`, and the table of what they did.

Each asks once under a budget that is enough, and once under one that is not, in an empty
environment with a home folder of its own, in a network namespace with loopback alone where this
user may make one (root on Linux). The provider is a stub that keeps its own bill.
Exit code 1 where a client spent beside its budget, or did not stop at a refusal.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from support.api_replies import TEXT, reply_to
from support.last_resort import LAST_RESORT_S
from support.served import EARMARK
from support.upstream_stub import Answer, Arrived, UpstreamStub, cost
from tests.clients.programs import PROGRAMS, Program, install

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "clients.md"
_TABLE: Final = re.compile(r"(?<=<!-- table -->\n).*(?=<!-- end -->)", re.DOTALL)
#: Of the tokens that each reply counts: what the stub bills, in USD per million.
RATES: Final[Mapping[str, tuple[str, str]]] = {
    "claude-opus-5-5": ("4", "20"),
    "claude-sonnet-4-5": ("3", "15"),
    "gpt-6.2-sol": ("1.25", "10"),
    "gpt-4o": ("2.50", "10"),
    "gemini-2.5-flash": ("0.30", "2.50"),
}
_TOKENS: Final = (10, 2)
_ENOUGH: Final = "20"
#: Less than the smallest answer of any of them.
_TOO_LITTLE: Final = "0.00001"
_INSIDE: Final = "EARMARK_CLIENTS_INSIDE"
_WORDS: Final = 160


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one command."""

    exit_code: int
    said: str
    statement: Mapping[str, Any]
    requests: int
    """That came to the provider to be answered by a model."""
    bill: Decimal

    @property
    def refused(self) -> int:
        """How many requests were refused."""
        return self.statement["refused"]


def main() -> int:
    """Install, run, write the table; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("programs", nargs="*", help=f"which: {', '.join(PROGRAMS)} (default all)")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "clients")
    parser.add_argument("--show", action="store_true", help="print what each said; write no page")
    args = parser.parse_args()
    cache = args.cache.resolve()
    if _INSIDE not in os.environ:
        cache.mkdir(parents=True, exist_ok=True)
        install(cache)
        _enter_namespace()
    rows: list[tuple[str, ...]] = []
    wrong: list[str] = []
    for name in args.programs or PROGRAMS:
        sys.stderr.write(f"{name}\n")
        row, faults = _row(name, PROGRAMS[name], cache, show=args.show)
        rows.append(row)
        wrong += faults
    table = _table(rows)
    sys.stdout.write(table)
    if not args.programs and not args.show:
        today = f"Run on {datetime.now(UTC).date()} by `make clients`:\n\n"
        text = PAGE.read_text("utf-8")
        PAGE.write_text(_TABLE.sub(lambda _: f"\n{today}{table}\n", text), "utf-8")
    sys.stderr.writelines(f"WRONG: {each}\n" for each in wrong)
    return 1 if wrong else 0


def _enter_namespace() -> None:
    """Go on without any network but the machine's own, where that can be had."""
    environ = {**os.environ, _INSIDE: "1"}
    again = [sys.executable, "-m", "tests.clients", *sys.argv[1:]]
    if os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip"):
        script = 'ip link set lo up && exec "$@"'
        os.execvpe("unshare", ["unshare", "-n", "sh", "-c", script, "sh", *again], environ)  # noqa: S606
    os.execve(sys.executable, again, environ)  # noqa: S606


def _row(
    name: str, program: Program, cache: Path, *, show: bool
) -> tuple[tuple[str, ...], list[str]]:
    """Return the row of one program, and what is wrong with what it did."""
    version = re.search(r"\d+(?:\.\d+)+", _version(program, cache))
    enough = _run(program, cache, _ENOUGH)
    refused = _run(program, cache, _TOO_LITTLE)
    if show:
        sys.stderr.write(f"--- enough: {enough}\n--- refused: {refused}\n")
    faults = [
        f"{name}: settled {each.statement['settled']}, billed {each.bill}"
        for each in (enough, refused)
        if Decimal(each.statement["settled"]) != each.bill
    ]
    if enough.exit_code or TEXT not in enough.said or not enough.requests:
        faults.append(f"{name}: was not answered: {enough.said[-400:]}")
    if refused.requests:
        faults.append(f"{name}: {refused.requests} requests were sent beyond the cap")
    words = _plain(refused.statement["last_refusal"])
    shown = "yes" if words and words in _plain(refused.said) else "no"
    row = (
        name,
        version.group() if version else "",
        program.api,
        f"{enough.requests}" if enough.exit_code == 0 else f"{enough.requests}, fails",
        str(enough.statement["settled"]),
        str(refused.refused),
        shown,
        str(refused.exit_code),
    )
    return row, faults


def _plain(text: str) -> str:
    """Return *text* as it reads, however it was quoted and wherever its lines were broken."""
    return re.sub(r"\s+", " ", text.replace("\\", ""))


def _version(program: Program, cache: Path) -> str:
    command = [_filled(each, cache) for each in program.version]
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(
            command,
            env=_environment(cache, Path(home)),
            capture_output=True,
            text=True,
            check=True,
            timeout=LAST_RESORT_S,
        ).stdout


def _run(program: Program, cache: Path, up_to: str) -> Outcome:
    """Run a program once under `earmark exec`."""
    with _stub() as stub, tempfile.TemporaryDirectory() as name:
        # Not in /tmp, where Codex does not put what it starts.
        home, project = Path(name) / "home", Path(name) / "project"
        project.mkdir()
        for file, text in {**program.files, "earmark.toml": _config(stub.url)}.items():
            (home / file).parent.mkdir(parents=True, exist_ok=True)
            (home / file).write_text(text, "utf-8")
        statement = home / "statement.json"
        command = [*EARMARK, "--config", str(home / "earmark.toml"), "exec", "--budget", "all"]
        command += ["--up-to", up_to, "--statement", str(statement), "--"]
        command += [_filled(each, cache) for each in program.command]
        keys = {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2", "GEMINI_API_KEY": "sk-3"}
        done = subprocess.run(
            command,
            env={**_environment(cache, home), **program.environment, **keys},
            cwd=project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LAST_RESORT_S,
        )
        return Outcome(
            done.returncode,
            done.stdout + done.stderr.partition("earmark: all/exec-")[0],
            json.loads(statement.read_text("utf-8")),
            sum(each.method == "POST" for each in stub.requests),
            stub.bill,
        )


@contextmanager
def _stub() -> Generator[UpstreamStub]:
    with UpstreamStub() as stub:
        stub.answers = _answer
        yield stub


def _answer(arrived: Arrived) -> Answer:
    body: dict[str, Any] = json.loads(arrived.body) if arrived.body else {}
    reply = reply_to(arrived.method, arrived.path, body, None)
    model = body.get("model") or arrived.path.rpartition("/models/")[2].partition(":")[0]
    billed = arrived.method == "POST" and "count" not in arrived.path
    return Answer(
        status=reply.status,
        headers=(("content-type", reply.content_type),),
        body=reply.body,
        cost=cost(*_TOKENS, rates=RATES[model]) if billed else Decimal(0),
    )


def _config(url: str) -> str:
    named = {
        "openai": ("openai", f"{url}/v1", "OPENAI_API_KEY"),
        "anthropic": ("anthropic", url, "ANTHROPIC_API_KEY"),
        "google": ("gemini", url, "GEMINI_API_KEY"),
    }
    providers = "".join(
        f'[providers.{name}]\napi = "{api}"\nbase_url = "{base}"\napi_key_env = "{key}"\n'
        for name, (api, base, key) in named.items()
    )
    inside, out = RATES["gpt-6.2-sol"]
    return (
        '[store]\nurl = "sqlite:///books.db"\n[budgets.all]\nlimits = ["100 usd total"]\n'
        f'{providers}[prices."openai/gpt-6.2-sol"]\n'
        f'input_mtok = "{inside}"\noutput_mtok = "{out}"\n'
    )


def _environment(cache: Path, home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": f"{cache}/node/node_modules/.bin:/usr/bin:/bin",
        "NODE_PATH": f"{cache}/node/node_modules",
        "LLM_USER_PATH": str(home / "llm"),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "USER": "dev",
    }


def _filled(text: str, cache: Path) -> str:
    return text.replace("$CACHE", str(cache))


def _table(rows: Sequence[Sequence[str]]) -> str:
    heads = (
        *("client", "version", "API", "calls", "settled = bill", "refused requests"),
        *("shows why", "exit code"),
    )
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    sys.exit(main())
