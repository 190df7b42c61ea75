"""The ledger on PostgreSQL: durable operations against what the same server can do at all.

All callers reserve and settle on one path of three budgets, the worst case: every operation changes
the same three accounts. Beside each way of calling, in the same round and process: for one caller a
*raw commit*, a transaction of one inserted row on one connection of the same driver; for more, the
*raw folded batch* of as many operations (`benchmarks.postgres_folded`). *One transaction per
operation* is `benchmarks.postgres_baseline`, the best of 1, 8 and 32 connections. Rounds are those
of `benchmarks.steady`.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final

from benchmarks.callers import (
    FEW,
    MANY,
    crews,
    described,
    drive_tasks,
    process_figures,
    tail_figure,
)
from benchmarks.figure import Figure, at_least, per_s
from benchmarks.load import Load, LoopFactory, fastest_loop, make_budgets, one_caller
from benchmarks.postgres_baseline import RawCommits, prepare, transactions
from benchmarks.postgres_folded import folded
from benchmarks.postgres_place import Place, postgres
from benchmarks.settings import NotHereError, Settings
from benchmarks.steady import Steady, drift_figure, steady
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger

AREA: Final = "postgres"
CONNECTIONS: Final = (1, 8, 32)


@dataclass(frozen=True, slots=True)
class Case:
    """One way of using the ledger."""

    name: str
    drive: Callable[[Ledger, float], Load]
    batch: int
    """Of the folded batches that it is set against; 1 for a raw commit."""
    share: float
    """The target: what the ledger does of what the server does."""

    @property
    def what(self) -> str:
        """What is compared with what."""
        limit = "a raw commit" if self.batch == 1 else f"the raw folded batch of {self.batch}"
        return f"{self.name}: share of {limit}"


@dataclass(frozen=True, slots=True)
class Pair:
    """The ledger and what the server does without it, one after the other."""

    load: Load
    raw: float
    """Operations, or commits, per second."""


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the PostgreSQL ledger."""
    name, loop = fastest_loop()
    few = partial(drive_tasks, callers=FEW, loop=loop)
    hot = Case(f"{MANY} tasks ({name})", partial(drive_tasks, callers=MANY, loop=loop), MANY, 0.6)
    cases = [
        Case("1 caller", one_caller, 1, 0.45),
        Case(f"{FEW} tasks ({name})", few, FEW, 0.35),
        hot,
    ]
    try:
        with postgres() as place:
            return _measured(place, cases, hot, settings)
    except NotHereError as reason:
        why = f"not measured: {reason}"
        return [
            Figure(area=AREA, what=c.what, samples=(), target=at_least(c.share), detail=why)
            for c in cases
        ]


def _measured(place: Place, cases: list[Case], hot: Case, settings: Settings) -> list[Figure]:
    pairs = {
        case: steady(
            lambda case=case: _pair(case, place, settings), f"{AREA}: {case.name}", settings
        )
        for case in cases
    }
    plain = place.fresh_conninfo()
    prepare(plain)
    loop = fastest_loop()[1]
    alone = steady(
        lambda: _against_transactions(hot, place, plain, settings, loop),
        f"{AREA}: one transaction per operation",
        settings,
    )
    crew = steady(
        lambda: crews(_books(place), _books(place), settings.seconds),
        f"{AREA}: processes",
        settings,
    )
    return [
        drift_figure(AREA, pairs.values(), f"; {place.describe()}"),
        *(figure for case, measured in pairs.items() for figure in _figures(case, measured)),
        _transactions_figure(hot, alone),
        tail_figure(AREA, hot.name, [each.load for each in pairs[hot].values]),
        *process_figures(AREA, crew, share=0.7, fairness=None),
    ]


def _pair(case: Case, place: Place, settings: Settings) -> Pair:
    with open_ledger(_books(place)) as ledger:
        load = case.drive(ledger, settings.seconds)
    if case.batch > 1:
        return Pair(load, folded(place.fresh(), case.batch, settings.seconds))
    conninfo = place.fresh_conninfo()
    prepare(conninfo)
    with closing(RawCommits(conninfo)) as raw:
        return Pair(load, raw.take(settings.seconds).rate)


def _against_transactions(
    case: Case, place: Place, conninfo: str, settings: Settings, loop: LoopFactory | None
) -> tuple[float, dict[int, float]]:
    """Return the ledger's rate, and that of a transaction for each, by the connections."""
    with open_ledger(_books(place)) as ledger:
        load = case.drive(ledger, settings.seconds)
    plain = {many: transactions(conninfo, many, settings.seconds, loop) for many in CONNECTIONS}
    return load.rate, plain


def _books(place: Place) -> str:
    url = place.fresh()
    with open_ledger(url) as ledger:
        make_budgets(ledger)
    return url


# Figures ------------------------------------------------------------------------------------------


def _figures(case: Case, measured: Steady[Pair]) -> Iterable[Figure]:
    pairs = measured.values
    yield Figure(
        area=AREA,
        what=case.what,
        samples=tuple(pair.load.rate / pair.raw for pair in pairs),
        target=at_least(case.share),
        detail=measured.detail(lambda: _compared(pairs)),
    )


def _compared(pairs: tuple[Pair, ...]) -> str:
    loads = [pair.load for pair in pairs]
    return (
        f"in batches of {median(load.batch for load in loads):.3g}: {described(loads)},"
        f" server's not in it / {per_s(median(pair.raw for pair in pairs))}"
    )


def _transactions_figure(hot: Case, measured: Steady[tuple[float, dict[int, float]]]) -> Figure:
    rounds = measured.values
    return Figure(
        area=AREA,
        what=f"{hot.name}: ops per op of one transaction per operation",
        samples=tuple(rate / max(plain.values()) for rate, plain in rounds),
        detail=measured.detail(
            lambda: ", ".join(
                f"{many} connection{'s' if many > 1 else ''}"
                f" {per_s(median(plain[many] for _, plain in rounds))}"
                for many in CONNECTIONS
            )
        ),
    )
