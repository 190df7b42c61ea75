"""The ledger on SQLite: durable operations against what SQLite and the disk can do at all.

All callers reserve and settle on one path of three budgets, the worst case: every operation changes
the same three accounts. Beside each way of calling, in the same round and process, a *folded loop*
(`benchmarks.folded`) writes the same rows when nothing is asked, decided or answered, in batches of
1, of 16, or of the size that the ledger's had on the average: no ledger on these rows can do more.
`Only asked and answered` is `benchmarks.hollow`. Rounds are those of `benchmarks.steady`.
"""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
from benchmarks.figure import Figure, at_least, at_most, per_s
from benchmarks.folded import folded
from benchmarks.hollow import hollow_ledger
from benchmarks.load import Load, fastest_loop, make_budgets, one_caller, threads
from benchmarks.settings import Settings
from benchmarks.steady import Steady, drift_figure, steady
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger

AREA: Final = "ledger"


@dataclass(frozen=True, slots=True)
class Case:
    """One way of using the ledger."""

    name: str
    drive: Callable[[Ledger, float], Load]
    batch: int | None
    """Of the folded loop that it is set against; None for the size that the ledger's had."""
    share: float | None
    """The target: what the ledger does of what the folded loop does."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The ledger and the folded loop, one after the other."""

    load: Load
    folded: float
    """Operations per second."""
    batch: int

    @property
    def share(self) -> float:
        """What the ledger does of what the folded loop does."""
        return self.load.rate / self.folded


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the SQLite ledger."""
    name, loop = fastest_loop()
    hot = Case(f"{MANY} tasks ({name})", partial(drive_tasks, callers=MANY, loop=loop), None, 0.36)
    cases = [
        Case("1 caller", one_caller, 1, 0.8),
        Case(f"{FEW} tasks ({name})", partial(drive_tasks, callers=FEW, loop=loop), FEW, 0.7),
        Case(f"{FEW} threads", partial(_threads, callers=FEW), None, None),
        hot,
    ]
    if loop is not None:
        drive = partial(drive_tasks, callers=MANY, loop=None)
        cases.append(Case(f"{MANY} tasks (asyncio)", drive, None, None))
    pairs = {
        case: steady(lambda case=case: _pair(case, settings), f"{AREA}: {case.name}", settings)
        for case in cases
    }
    hollow = steady(lambda: _hollow(settings), f"{AREA}: only asked and answered", settings)
    crew = steady(
        lambda: crews(_books(settings.folder), _books(settings.folder), settings.seconds),
        f"{AREA}: processes",
        settings,
    )
    return [
        drift_figure(AREA, pairs.values()),
        *(figure for case, measured in pairs.items() for figure in _figures(case, measured)),
        _hollow_figure(hot, hollow),
        tail_figure(AREA, hot.name, [each.load for each in pairs[hot].values]),
        *process_figures(AREA, crew, share=0.5, fairness=at_most(0.15)),
    ]


def _threads(ledger: Ledger, seconds: float, *, callers: int) -> Load:
    return threads(ledger, callers, seconds)


def _pair(case: Case, settings: Settings) -> Pair:
    with open_ledger(_books(settings.folder)) as ledger:
        load = case.drive(ledger, settings.seconds)
    batch = case.batch or max(round(load.batch), 1)
    return Pair(load, folded(_new_file(settings.folder), batch, settings.seconds), batch)


def _hollow(settings: Settings) -> Load:
    with hollow_ledger() as ledger:
        return drive_tasks(ledger, settings.seconds, callers=MANY, loop=fastest_loop()[1])


def _books(folder: Path) -> str:
    url = f"sqlite:///{_new_file(folder)}"
    with open_ledger(url) as ledger:
        make_budgets(ledger)
    return url


def _new_file(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder)) / "books.db"


# Figures ------------------------------------------------------------------------------------------


def _figures(case: Case, measured: Steady[Pair]) -> Iterable[Figure]:
    pairs = measured.values
    size = "the same size" if case.batch is None else case.batch
    yield Figure(
        area=AREA,
        what=f"{case.name}: share of the raw folded loop, batches of {size}",
        samples=tuple(pair.share for pair in pairs),
        target=None if case.share is None else at_least(case.share),
        detail=measured.detail(lambda: _compared(pairs)),
    )
    yield Figure(
        area=AREA,
        what=f"{case.name}: ops per fdatasync",
        samples=tuple(each.value.load.rate / each.syncs for each in measured.kept),
        detail=measured.detail(lambda: described([pair.load for pair in pairs])),
    )


def _compared(pairs: tuple[Pair, ...]) -> str:
    batch, raw_batch = median(p.load.batch for p in pairs), median(p.batch for p in pairs)
    return (
        f"{per_s(median(p.load.rate for p in pairs))} in batches of {batch:.3g}"
        f" / {per_s(median(p.folded for p in pairs))} in batches of {raw_batch:.3g}"
    )


def _hollow_figure(hot: Case, measured: Steady[Load]) -> Figure:
    return Figure(
        area=AREA,
        what=f"{hot.name}, only asked and answered: ops per fdatasync",
        samples=tuple(each.value.rate / each.syncs for each in measured.kept),
        detail=measured.detail(lambda: f"{described(measured.values)}; nothing decided or written"),
    )
