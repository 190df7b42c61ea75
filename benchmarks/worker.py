"""One of several processes on the same books; started by `benchmarks.ledger` and `.postgres`.

    python -m benchmarks.worker CALLERS SECONDS

Reads the store's URL, which may have a password, from stdin, prints `ready`, waits for a line, then
prints what its callers got done as JSON.
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


def run_crew(url: str, processes: int, callers: int, seconds: float) -> Crew:
    """Run *processes* with *callers* tasks each on the books at *url* at the same time."""
    command = [sys.executable, "-m", "benchmarks.worker", str(callers), str(seconds)]
    crew = [Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) for _ in range(processes)]
    try:
        for each in crew:
            _tell(each, url)
        for each in crew:
            assert each.stdout is not None
            ready = each.stdout.readline()
            if ready != "ready\n":
                raise RuntimeError(f"a worker did not start: it said {ready!r}")
        for each in crew:
            _tell(each, "go")
        answers = [json.loads(each.communicate()[0]) for each in crew]
    finally:
        for each in crew:
            each.kill()
            each.wait()
    return Crew(
        rates=tuple(answer["rate"] for answer in answers),
        p99_ns=max(answer["p99_ns"] for answer in answers),
    )


def _tell(process: Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def main() -> None:
    """Be one process of a crew."""
    callers, seconds = sys.argv[1:]
    with open_ledger(sys.stdin.readline().strip()) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        load = tasks(ledger, int(callers), float(seconds), fastest_loop()[1])
    p99 = quantile(load.latencies(), 0.99)
    print(json.dumps({"rate": load.rate, "p99_ns": p99}))


if __name__ == "__main__":
    main()
