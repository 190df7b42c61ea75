"""One of several processes on one database; started by `benchmarks.ledger`.

    python -m benchmarks.worker FILE CALLERS SECONDS

Prints `ready`, waits for a line on stdin, then prints what its callers got done as JSON.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final

from benchmarks.figure import quantile
from benchmarks.load import fastest_loop, tasks
from earmark.stores.open import open_ledger

ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """What several processes got done at the same time."""

    rates: tuple[float, ...]
    """Durable operations per second, of each process."""
    p99_ns: int
    """The highest of any process."""

    @property
    def rate(self) -> float:
        """Durable operations per second, all together."""
        return sum(self.rates)


def run_crew(database: Path, processes: int, callers: int, seconds: float) -> Crew:
    """Run *processes* with *callers* tasks each on one *database* at the same time."""
    command = [sys.executable, "-m", "benchmarks.worker", str(database), str(callers), str(seconds)]
    crew = [Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) for _ in range(processes)]
    try:
        for each in crew:
            assert each.stdout is not None
            ready = each.stdout.readline()
            if ready != "ready\n":
                raise RuntimeError(f"a worker did not start: it said {ready!r}")
        for each in crew:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        answers = [json.loads(each.communicate()[0]) for each in crew]
    finally:
        for each in crew:
            each.kill()
            each.wait()
    return Crew(
        rates=tuple(answer["rate"] for answer in answers),
        p99_ns=max(answer["p99_ns"] for answer in answers),
    )


def main() -> None:
    """Be one process of a crew."""
    file, callers, seconds = sys.argv[1:]
    with open_ledger(f"sqlite:///{file}") as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        load = tasks(ledger, int(callers), float(seconds), fastest_loop()[1])
    p99 = quantile(load.latencies(), 0.99)
    print(json.dumps({"rate": load.rate, "p99_ns": p99}))


if __name__ == "__main__":
    main()
