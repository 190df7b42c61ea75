"""Whether the ledger slows down as its table of reservations grows, on each durable store.

The large table is made by `benchmarks.fill`; its books are as right as the ledger's own.
"""

import statistics
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.figure import Figure, at_least, at_most, micros, per_s, quantile
from benchmarks.fill import fill
from benchmarks.load import fastest_loop, one_caller, tasks
from benchmarks.postgres_place import postgres
from benchmarks.settings import NotHereError, Settings, tell
from earmark.stores.open import open_ledger

AREA: Final = "growth"
MANY: Final = 256
_TURNS: Final = 5
_SHARE: Final = 1 / 3


@dataclass(frozen=True, slots=True)
class Turn:
    """One look at one table."""

    p50_ns: int
    """Of one caller's operations."""
    rate: float
    """Of many callers, operations per second."""


Pair = tuple[Turn, Turn]
"""The small table and the large one, looked at one right after the other."""


def measure(settings: Settings) -> list[Figure]:
    """Return how much slower an operation is in the large table than in the small one."""
    figures: list[Figure] = []
    files = [f"sqlite:///{settings.folder / name}.db" for name in ("small", "large")]
    _fill("SQLite", files, settings)
    figures += _figures("SQLite", _store("SQLite", files, settings), settings)
    with ExitStack() as stack:
        try:
            place = stack.enter_context(postgres())
        except NotHereError as reason:
            return [*figures, *_asked("PostgreSQL", settings, f"not measured: {reason}")]
        schemas = [place.fresh(), place.fresh()]
        _fill("PostgreSQL", schemas, settings)
        place.flush()
        figures += _figures("PostgreSQL", _store("PostgreSQL", schemas, settings), settings)
    return figures


def _fill(name: str, urls: list[str], settings: Settings) -> None:
    small, large = settings.holds
    tell(f"growth: filling {name} tables of {small:,} and {large:,} settled holds")
    for url, holds in zip(urls, settings.holds, strict=True):
        fill(url, holds)


def _store(name: str, urls: list[str], settings: Settings) -> list[list[Pair]]:
    """Return the pairs of each round."""
    rounds: list[list[Pair]] = []
    for number in range(settings.rounds):
        tell(f"growth: {name}: round {number + 1} of {settings.rounds}")
        rounds.append([_pair(urls, turn, settings.seconds * _SHARE) for turn in range(_TURNS)])
    return rounds


def _pair(urls: list[str], number: int, seconds: float) -> Pair:
    # Now one first, now the other: a disk that slows down does so for both.
    if number % 2:
        return _turn(urls[0], seconds), _turn(urls[1], seconds)
    large = _turn(urls[1], seconds)
    return _turn(urls[0], seconds), large


def _turn(url: str, seconds: float) -> Turn:
    with open_ledger(url) as ledger:
        alone = one_caller(ledger, seconds)
        together = tasks(ledger, MANY, seconds, fastest_loop()[1])
    return Turn(quantile(alone.latencies(), 0.5), together.rate)


# Figures ------------------------------------------------------------------------------------------


def _figures(store: str, rounds: list[list[Pair]], settings: Settings) -> Iterable[Figure]:
    alone, together = _asked(store, settings)
    pairs = [pair for each in rounds for pair in each]
    yield replace(
        alone,
        samples=tuple(_median(large.p50_ns / small.p50_ns for small, large in r) for r in rounds),
        detail=" / ".join(micros(_median(pair[i].p50_ns for pair in pairs)) for i in (1, 0)),
    )
    yield replace(
        together,
        samples=tuple(_median(large.rate / small.rate for small, large in r) for r in rounds),
        detail=" / ".join(per_s(_median(pair[i].rate for pair in pairs)) for i in (1, 0)),
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _asked(store: str, settings: Settings, reason: str = "") -> tuple[Figure, Figure]:
    """Return the figures without a measurement."""
    small, large = settings.holds
    sizes = f"{large:,} settled holds / at {f'{small:,}' if small else 'none'}"
    return (
        Figure(
            area=AREA,
            what=f"{store}, 1 caller: p50 at {sizes}",
            samples=(),
            target=at_most(1.2),
            detail=reason,
        ),
        Figure(
            area=AREA,
            what=f"{store}, {MANY} tasks: rate at {sizes}",
            samples=(),
            target=at_least(0.8),
            detail=reason,
        ),
    )
