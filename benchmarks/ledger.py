"""The ledger on SQLite: durable operations against what the disk and SQLite can do at all.

All callers reserve and settle on one path of three budgets, the worst case: every operation changes
the same three accounts. `fdatasync` is a 20 KiB overwrite of a preallocated file on the same disk,
taken before and after each measurement of a round; `folded loop` is `benchmarks.folded`.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure, at_least, at_most, micros, per_s, quantile, spread
from benchmarks.folded import FoldedLoop
from benchmarks.load import (
    Load,
    LoopFactory,
    fastest_loop,
    make_budgets,
    one_caller,
    tasks,
    threads,
)
from benchmarks.raw import Syncs, fdatasync
from benchmarks.settings import Settings, tell
from benchmarks.worker import Crew, run_crew
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger

AREA: Final = "ledger"
FEW: Final = 16
MANY: Final = 256
PROCESSES: Final = 4
#: A disk whose syncs are slower than this is busy with something else: its ratios say little.
DISTURBED_P99_NS: Final = 5_000_000
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
    folded: list[float] = field(default_factory=list[float])
    one: list[Crew] = field(default_factory=list[Crew])
    crew: list[Crew] = field(default_factory=list[Crew])


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the SQLite ledger."""
    name, loop = fastest_loop()
    cases = [
        Case("1 caller", one_caller, 0.5),
        Case(f"{FEW} tasks ({name})", partial(_tasks, callers=FEW, loop=loop), 4.5),
        Case(f"{FEW} threads", partial(_threads, callers=FEW), None),
        Case(f"{MANY} tasks ({name})", partial(_tasks, callers=MANY, loop=loop), 14),
    ]
    if loop is not None:
        cases.append(
            Case(f"{MANY} tasks (asyncio)", partial(_tasks, callers=MANY, loop=None), None)
        )
    rounds = Rounds()
    for number in range(settings.rounds):
        tell(f"ledger: round {number + 1} of {settings.rounds}")
        _round(rounds, cases, settings, number)
    return list(_figures(rounds, cases, f"{MANY} tasks ({name})"))


def _tasks(ledger: Ledger, seconds: float, *, callers: int, loop: LoopFactory | None) -> Load:
    return tasks(ledger, callers, seconds, loop)


def _threads(ledger: Ledger, seconds: float, *, callers: int) -> Load:
    return threads(ledger, callers, seconds)


def _round(rounds: Rounds, cases: Sequence[Case], settings: Settings, number: int) -> None:
    folder, seconds = settings.folder, settings.seconds
    syncs = [fdatasync(folder, seconds * _SYNC_SHARE)]
    for place, case in enumerate(cases):
        with open_ledger(f"sqlite:///{folder / f'case-{number}-{place}.db'}") as ledger:
            make_budgets(ledger)
            load = case.drive(ledger, seconds)
        syncs.append(fdatasync(folder, seconds * _SYNC_SHARE))
        rounds.loads.setdefault(case.name, []).append(load)
        around = statistics.mean(each.rate for each in syncs[-2:])
        rounds.per_sync.setdefault(case.name, []).append(load.rate / around)
    rounds.syncs += syncs
    rounds.folded.append(_folded(folder / f"folded-{number}.db", seconds))
    rounds.one.append(_crew(folder / f"one-{number}.db", 1, MANY, seconds))
    rounds.crew.append(_crew(folder / f"crew-{number}.db", PROCESSES, MANY // PROCESSES, seconds))


def _folded(path: Path, seconds: float) -> float:
    with closing(FoldedLoop(path)) as loop:
        return loop.rate(seconds)


def _crew(path: Path, processes: int, callers: int, seconds: float) -> Crew:
    with open_ledger(f"sqlite:///{path}") as ledger:
        make_budgets(ledger)
    return run_crew(f"sqlite:///{path}", processes, callers, seconds)


# Figures ------------------------------------------------------------------------------------------


def _figures(rounds: Rounds, cases: Sequence[Case], hot: str) -> Iterable[Figure]:
    yield _disk(rounds.syncs)
    for case in cases:
        yield Figure(
            area=AREA,
            what=f"{case.name}: ops per fdatasync",
            samples=tuple(rounds.per_sync[case.name]),
            target=None if case.per_sync is None else at_least(case.per_sync),
            detail=_described(rounds.loads[case.name]),
        )
    loads = rounds.loads[hot]
    yield Figure(
        area=AREA,
        what=f"{hot}: share of the raw folded loop",
        samples=tuple(load.rate / raw for load, raw in zip(loads, rounds.folded, strict=True)),
        target=at_least(0.6),
        detail=f"folded loop, batches of 256: {per_s(statistics.median(rounds.folded))}",
    )
    yield Figure(
        area=AREA,
        what=f"{hot}: p99.9 / p50",
        samples=tuple(_tail(load) for load in loads),
        detail="tail latency",
    )
    yield from _processes(rounds)


def _processes(rounds: Rounds) -> Iterable[Figure]:
    pairs = list(zip(rounds.crew, rounds.one, strict=True))
    together = statistics.median(crew.rate for crew in rounds.crew)
    alone = statistics.median(one.rate for one in rounds.one)
    p99 = statistics.median(crew.p99_ns for crew in rounds.crew)
    yield Figure(
        area=AREA,
        what=f"{PROCESSES} processes x {MANY // PROCESSES}: share of 1 process x {MANY}",
        samples=tuple(crew.rate / one.rate for crew, one in pairs),
        target=at_least(0.5),
        detail=f"{per_s(together)} of {per_s(alone)}, p99 {micros(p99)}",
    )
    yield Figure(
        area=AREA,
        what=f"{PROCESSES} processes: (fastest - slowest) / mean",
        samples=tuple(spread(crew.rates) for crew in rounds.crew),
        target=at_most(0.15),
        detail="fairness between processes",
    )


def _disk(syncs: Sequence[Syncs]) -> Figure:
    rates = [each.rate for each in syncs]
    p99 = statistics.median(each.p99_ns for each in syncs)
    said = " (the disk is busy: measure again)" if p99 > DISTURBED_P99_NS else ""
    return Figure(
        area=AREA,
        what="raw fdatasync: change from one probe to the next",
        samples=tuple(max(a, b) / min(a, b) for a, b in pairwise(rates)),
        detail=f"{per_s(statistics.median(rates))},"
        f" p50 {micros(statistics.median(each.p50_ns for each in syncs))},"
        f" p99 {micros(p99)}{said}",
    )


def _described(loads: Sequence[Load]) -> str:
    middle = sorted(loads, key=lambda load: load.rate)[len(loads) // 2]
    cpu = statistics.median(load.cpu_per_operation for load in loads)
    return f"{per_s(middle.rate)}, {middle.describe()}, CPU {micros(cpu)} per op"


def _tail(load: Load) -> float:
    ordered = load.latencies()
    return quantile(ordered, 0.999) / quantile(ordered, 0.5)
