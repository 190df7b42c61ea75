"""Whether the ledger slows down as its table of reservations grows."""

import statistics
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure, at_most, micros, quantile
from benchmarks.load import COST, HOLD, LEAF, Load, make_budgets, one_caller
from benchmarks.settings import Settings, tell
from earmark.ledger import requests
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger

AREA: Final = "growth"
_BATCH: Final = 512
_TURNS: Final = 3


def measure(settings: Settings) -> list[Figure]:
    """Return how much longer an operation takes in the large table than in the small one."""
    small, large = settings.holds
    tell(f"growth: filling tables of {small:,} and {large:,} settled holds")
    files = settings.folder / "small.db", settings.folder / "large.db"
    for file, holds in zip(files, settings.holds, strict=True):
        fill(file, holds)
    small_p50: list[float] = []
    large_p50: list[float] = []
    for number in range(settings.rounds):
        tell(f"growth: round {number + 1} of {settings.rounds}")
        # Short turns, in alternation: a disk that slows down does so for both.
        turns = [[_p50(file, settings.seconds / _TURNS) for file in files] for _ in range(_TURNS)]
        small_p50.append(statistics.median(turn[0] for turn in turns))
        large_p50.append(statistics.median(turn[1] for turn in turns))
    median = [micros(statistics.median(each)) for each in (small_p50, large_p50)]
    figure = Figure(
        area=AREA,
        what=f"1 caller, p50 at {large:,} / at {small:,} settled holds",
        samples=tuple(b / a for a, b in zip(small_p50, large_p50, strict=True)),
        target=at_most(1.25),
        detail=f"{median[1]} / {median[0]}",
    )
    return [figure]


def fill(file: Path, holds: int) -> None:
    """Make books with *holds* settled reservations, through the ledger's own rules."""
    with open_ledger(f"sqlite:///{file}") as ledger:
        make_budgets(ledger)
        for done in range(0, holds, _BATCH):
            _fill(ledger, min(_BATCH, holds - done))


def _fill(ledger: Ledger, holds: int) -> None:
    clock = ledger.clock
    opened = [
        requests.reserve(clock, LEAF, HOLD, key=None, units=None, deadline="1h", labels=None)
        for _ in range(holds)
    ]
    ledger.store.apply(opened, clock.instant())
    ledger.store.apply([requests.settle(op.key, COST, None) for op in opened], clock.instant())


def _p50(file: Path, seconds: float) -> float:
    with open_ledger(f"sqlite:///{file}") as ledger:
        load: Load = one_caller(ledger, seconds)
    return quantile(load.latencies(), 0.5)
