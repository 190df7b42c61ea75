"""The ledger on SQLite: durable operations against what the disk and SQLite can do at all.

All callers reserve and settle on one path of three budgets, the worst case: every operation changes
the same three accounts. `fdatasync` is a 20 KiB overwrite of a preallocated file on the same disk,
taken before and after each measurement of a round; `folded loop` is `benchmarks.folded`: what
SQLite does with the same rows when nothing is asked, decided or answered, so no ledger on these
rows can do more per fdatasync than it does. `Only asked and answered` is `benchmarks.hollow`.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.callers import (
    FEW,
    MANY,
    crews,
    described,
    drive_tasks,
    probe_figure,
    process_figures,
    tail_figure,
)
from benchmarks.figure import Figure, at_least, at_most, per_s
from benchmarks.folded import FoldedLoop
from benchmarks.hollow import hollow_ledger
from benchmarks.load import Load, fastest_loop, make_budgets, one_caller, threads
from benchmarks.raw import Syncs, fdatasync
from benchmarks.settings import Settings, tell
from benchmarks.worker import Crew
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger

AREA: Final = "ledger"
_SYNC_SHARE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Case:
    """One way of using the ledger."""

    name: str
    drive: Callable[[Ledger, float], Load]
    per_sync: float | None
    """The target, in operations per fdatasync."""


@dataclass(slots=True)
class Rounds:
    """What was measured so far, a value a round."""

    loads: dict[str, list[Load]] = field(default_factory=dict[str, list[Load]])
    per_sync: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    syncs: list[Syncs] = field(default_factory=list[Syncs])
    folded: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    """Operations per second of the folded loop by the size of its batches."""
    hollow: list[Load] = field(default_factory=list[Load])
    """What tasks get done whose operations are answered, and neither decided nor written."""
    hollow_per_sync: list[float] = field(default_factory=list[float])
    folded_per_sync: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    one: list[Crew] = field(default_factory=list[Crew])
    crew: list[Crew] = field(default_factory=list[Crew])


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the SQLite ledger."""
    name, loop = fastest_loop()
    cases = [
        Case("1 caller", one_caller, 0.5),
        Case(f"{FEW} tasks ({name})", partial(drive_tasks, callers=FEW, loop=loop), 4.5),
        Case(f"{FEW} threads", partial(_threads, callers=FEW), None),
        Case(f"{MANY} tasks ({name})", partial(drive_tasks, callers=MANY, loop=loop), 14),
    ]
    if loop is not None:
        cases.append(
            Case(f"{MANY} tasks (asyncio)", partial(drive_tasks, callers=MANY, loop=None), None)
        )
    rounds = Rounds()
    for number in range(settings.rounds):
        tell(f"ledger: round {number + 1} of {settings.rounds}")
        _round(rounds, cases, settings, number)
    return list(_figures(rounds, cases, f"{MANY} tasks ({name})"))


def _threads(ledger: Ledger, seconds: float, *, callers: int) -> Load:
    return threads(ledger, callers, seconds)


def _round(rounds: Rounds, cases: Sequence[Case], settings: Settings, number: int) -> None:
    folder, seconds = settings.folder, settings.seconds
    _probe(rounds, settings)
    for place, case in enumerate(cases):
        with open_ledger(f"sqlite:///{folder / f'case-{number}-{place}.db'}") as ledger:
            make_budgets(ledger)
            load = case.drive(ledger, seconds)
        rounds.loads.setdefault(case.name, []).append(load)
        rounds.per_sync.setdefault(case.name, []).append(load.rate / _probe(rounds, settings))
    _ceilings(rounds, settings, number)
    one, crew = crews(
        _books(folder / f"one-{number}.db"), _books(folder / f"crew-{number}.db"), seconds
    )
    rounds.one.append(one)
    rounds.crew.append(crew)


def _probe(rounds: Rounds, settings: Settings) -> float:
    """Return the syncs a second before and after what was just measured."""
    rounds.syncs.append(fdatasync(settings.folder, settings.seconds * _SYNC_SHARE))
    return statistics.mean(each.rate for each in rounds.syncs[-2:])


def _ceilings(rounds: Rounds, settings: Settings, number: int) -> None:
    """Measure what no ledger can pass: asking and answering alone, and writing alone."""
    with hollow_ledger() as ledger:
        load = drive_tasks(ledger, settings.seconds, callers=MANY, loop=fastest_loop()[1])
    rounds.hollow.append(load)
    rounds.hollow_per_sync.append(load.rate / _probe(rounds, settings))
    for batch in (FEW, MANY):
        path = settings.folder / f"folded-{number}-{batch}.db"
        rate = _folded(path, batch, settings.seconds)
        rounds.folded.setdefault(batch, []).append(rate)
        rounds.folded_per_sync.setdefault(batch, []).append(rate / _probe(rounds, settings))


def _folded(path: Path, batch: int, seconds: float) -> float:
    with closing(FoldedLoop(path, batch)) as loop:
        return loop.rate(seconds)


def _books(path: Path) -> str:
    with open_ledger(f"sqlite:///{path}") as ledger:
        make_budgets(ledger)
    return f"sqlite:///{path}"


# Figures ------------------------------------------------------------------------------------------


def _figures(rounds: Rounds, cases: Sequence[Case], hot: str) -> Iterable[Figure]:
    yield probe_figure(AREA, "raw fdatasync", rounds.syncs)
    for case in cases:
        yield Figure(
            area=AREA,
            what=f"{case.name}: ops per fdatasync",
            samples=tuple(rounds.per_sync[case.name]),
            target=None if case.per_sync is None else at_least(case.per_sync),
            detail=described(rounds.loads[case.name]),
        )
    yield Figure(
        area=AREA,
        what=f"{hot}, only asked and answered: ops per fdatasync",
        samples=tuple(rounds.hollow_per_sync),
        detail=f"{described(rounds.hollow)}; nothing decided or written",
    )
    for batch, ratios in rounds.folded_per_sync.items():
        yield Figure(
            area=AREA,
            what=f"raw folded loop, batches of {batch}: ops per fdatasync",
            samples=tuple(ratios),
            detail=f"{per_s(statistics.median(rounds.folded[batch]))}; nothing decided or answered",
        )
    loads, folded = rounds.loads[hot], rounds.folded[MANY]
    yield Figure(
        area=AREA,
        what=f"{hot}: share of the raw folded loop",
        samples=tuple(load.rate / raw for load, raw in zip(loads, folded, strict=True)),
        target=at_least(0.6),
        detail=f"folded loop, batches of {MANY}: {per_s(statistics.median(folded))}",
    )
    yield tail_figure(AREA, hot, loads)
    yield from process_figures(AREA, rounds.one, rounds.crew, share=0.5, fairness=at_most(0.15))
