"""Measures Earmark against what the machine can do, and says whether the targets are met.

    python -m benchmarks                      everything, a quarter of an hour
    python -m benchmarks ledger --rounds 5    one area
    python -m benchmarks growth --long        10,000,000 settled holds instead of 1,000,000
    python -m benchmarks modules              which modules a stage and a task pass; no timing

The table goes to stdout (or JSON, with --json) and into the section "Last run" of
benchmarks/RESULTS.md; progress goes to stderr. The exit code is 1 where a target is missed.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import (
    board,
    bounds,
    gateway,
    growth,
    heartbeat,
    ledger,
    memory,
    modules,
    peers,
    policies,
    postgres,
    runner,
    service,
    startup,
)
from benchmarks.figure import Figure
from benchmarks.machine import machine
from benchmarks.report import document, missed, save, table
from benchmarks.settings import FEWEST_ROUNDS, Area, Settings, tell
from benchmarks.worker import ROOT

AREAS: Final[dict[str, Area]] = {
    ledger.AREA: ledger.measure,
    postgres.AREA: postgres.measure,
    growth.AREA: growth.measure,
    memory.AREA: memory.measure,
    bounds.AREA: bounds.measure,
    board.AREA: board.measure,
    service.AREA: service.measure,
    gateway.AREA: gateway.measure,
    heartbeat.AREA: heartbeat.measure,
    runner.AREA: runner.measure,
    startup.AREA: startup.measure,
    modules.AREA: modules.measure,
    policies.AREA: policies.measure,
    peers.AREA: peers.measure,
}
_LONG: Final = (0, 10_000_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen benchmarks and report them."""
    args = _arguments(arguments)
    args.dir.mkdir(parents=True, exist_ok=True)
    facts = machine(args.dir)
    tell(", ".join(f"{name} {value}" for name, value in facts.items()))
    figures: list[Figure] = []
    for area in args.areas or AREAS:
        figures += _measured(area, args)
    print(document(facts, figures) if args.json else table(figures))
    if not args.no_save:
        save(args.results, facts, figures)
    for figure in missed(figures):
        tell(f"missed: {figure.area}: {figure.what}: {figure.median:.3g}, wanted {figure.target}")
    return 1 if missed(figures) else 0


def _measured(area: str, args: argparse.Namespace) -> list[Figure]:
    # A folder for each area, gone when it is measured: a long run would fill the disk.
    folder = Path(tempfile.mkdtemp(prefix=f"{area}-", dir=args.dir))
    settings = Settings(
        folder=folder.resolve(), rounds=args.rounds, seconds=args.seconds, trace=args.trace
    )
    if args.long:
        settings = replace(settings, holds=_LONG)
    try:
        return AREAS[area](settings)
    finally:
        shutil.rmtree(folder)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("areas", nargs="*", help=f"which: {', '.join(AREAS)} (default all)")
    parser.add_argument("--rounds", type=int, default=FEWEST_ROUNDS, help="default 3")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each rate; default 1")
    parser.add_argument("--long", action="store_true", help="growth: to 10,000,000 settled holds")
    parser.add_argument("--trace", type=Path, help="admission: Azure's CSV or Mooncake's JSONL")
    parser.add_argument(
        "--dir", type=Path, default=ROOT / "build/bench", help="databases; default build/bench"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/RESULTS.md")
    parser.add_argument("--no-save", action="store_true", help="leave RESULTS.md as it is")
    parser.add_argument("--json", action="store_true", help="machine output")
    args = parser.parse_args(arguments)
    unknown = [area for area in args.areas if area not in AREAS]
    if unknown:
        parser.error(f"no area is called {unknown[0]!r}: there are {', '.join(AREAS)}")
    if args.rounds < FEWEST_ROUNDS:
        parser.error(f"a median needs at least {FEWEST_ROUNDS} rounds")
    return args


if __name__ == "__main__":
    sys.exit(main())
