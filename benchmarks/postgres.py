"""The ledger on PostgreSQL: durable operations against what the same server can do at all.

All callers reserve and settle on one path of three budgets, the worst case: every operation changes
the same three accounts. A *raw commit* is a transaction of one inserted row on one connection of
the same driver, taken before and after each measurement of a round; *one transaction per operation*
is `benchmarks.postgres_baseline`, the best of 1, 8 and 32 connections.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Final

from benchmarks.figure import Figure, at_least, micros, per_s, quantile, spread
from benchmarks.ledger import DISTURBED_P99_NS
from benchmarks.load import Load, LoopFactory, fastest_loop, make_budgets, one_caller, tasks
from benchmarks.postgres_baseline import RawCommits, prepare, transactions
from benchmarks.postgres_place import Place, postgres
from benchmarks.raw import Syncs
from benchmarks.settings import NotHereError, Settings, tell
from benchmarks.worker import Crew, run_crew
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger

AREA: Final = "postgres"
FEW: Final = 16
MANY: Final = 256
PROCESSES: Final = 4
CONNECTIONS: Final = (1, 8, 32)
_RAW_SHARE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Case:
    """One way of using the ledger."""

    name: str
    drive: Callable[[Ledger, float], Load]
    per_commit: float | None
    """The target, in operations per raw commit."""


@dataclass(slots=True)
class Rounds:
    """What was measured so far, a value a round."""

    server: str = ""
    loads: dict[str, list[Load]] = field(default_factory=dict[str, list[Load]])
    per_commit: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    commits: list[Syncs] = field(default_factory=list[Syncs])
    plain: list[dict[int, float]] = field(default_factory=list[dict[int, float]])
    """One transaction per operation: operations per second by the number of connections."""
    one: list[Crew] = field(default_factory=list[Crew])
    crew: list[Crew] = field(default_factory=list[Crew])


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the PostgreSQL ledger."""
    name, loop = fastest_loop()
    hot = f"{MANY} tasks ({name})"
    cases = [
        Case("1 caller", one_caller, 0.5),
        Case(f"{FEW} tasks ({name})", partial(_tasks, callers=FEW, loop=loop), None),
        Case(hot, partial(_tasks, callers=MANY, loop=loop), 15),
    ]
    rounds = Rounds()
    try:
        with postgres() as place:
            rounds.server = place.describe()
            plain = place.fresh_conninfo()
            prepare(plain)
            with closing(RawCommits(plain)) as raw:
                for number in range(settings.rounds):
                    tell(f"postgres: round {number + 1} of {settings.rounds}")
                    _round(rounds, cases, place, raw, settings.seconds)
                    rounds.plain.append(_plain(plain, settings.seconds, loop))
    except NotHereError as reason:
        what = f"{hot}: ops per raw commit"
        detail = f"not measured: {reason}"
        return [Figure(area=AREA, what=what, samples=(), target=at_least(15), detail=detail)]
    return list(_figures(rounds, cases, hot))


def _tasks(ledger: Ledger, seconds: float, *, callers: int, loop: LoopFactory | None) -> Load:
    return tasks(ledger, callers, seconds, loop)


def _round(
    rounds: Rounds, cases: Sequence[Case], place: Place, raw: RawCommits, seconds: float
) -> None:
    commits = [raw.take(seconds * _RAW_SHARE)]
    for case in cases:
        with open_ledger(place.fresh()) as ledger:
            make_budgets(ledger)
            load = case.drive(ledger, seconds)
        commits.append(raw.take(seconds * _RAW_SHARE))
        rounds.loads.setdefault(case.name, []).append(load)
        around = statistics.mean(each.rate for each in commits[-2:])
        rounds.per_commit.setdefault(case.name, []).append(load.rate / around)
    rounds.commits += commits
    rounds.one.append(_crew(place.fresh(), 1, seconds))
    rounds.crew.append(_crew(place.fresh(), PROCESSES, seconds))


def _crew(url: str, processes: int, seconds: float) -> Crew:
    with open_ledger(url) as ledger:
        make_budgets(ledger)
    return run_crew(url, processes, MANY // processes, seconds)


def _plain(conninfo: str, seconds: float, loop: LoopFactory | None) -> dict[int, float]:
    return {many: transactions(conninfo, many, seconds, loop) for many in CONNECTIONS}


# Figures ------------------------------------------------------------------------------------------


def _figures(rounds: Rounds, cases: Sequence[Case], hot: str) -> Iterable[Figure]:
    yield _raw(rounds)
    for case in cases:
        yield Figure(
            area=AREA,
            what=f"{case.name}: ops per raw commit",
            samples=tuple(rounds.per_commit[case.name]),
            target=None if case.per_commit is None else at_least(case.per_commit),
            detail=_described(rounds.loads[case.name]),
        )
    loads = rounds.loads[hot]
    yield Figure(
        area=AREA,
        what=f"{hot}: ops per op of one transaction per operation",
        samples=tuple(
            load.rate / max(plain.values()) for load, plain in zip(loads, rounds.plain, strict=True)
        ),
        target=at_least(20),
        detail=", ".join(
            f"{many} connection{'s' if many > 1 else ''}"
            f" {per_s(statistics.median(plain[many] for plain in rounds.plain))}"
            for many in CONNECTIONS
        ),
    )
    yield Figure(
        area=AREA,
        what=f"{hot}: p99.9 / p50",
        samples=tuple(_tail(load) for load in loads),
        detail="tail latency",
    )
    yield from _processes(rounds)


def _processes(rounds: Rounds) -> Iterable[Figure]:
    together = statistics.median(crew.rate for crew in rounds.crew)
    alone = statistics.median(one.rate for one in rounds.one)
    p99 = statistics.median(crew.p99_ns for crew in rounds.crew)
    yield Figure(
        area=AREA,
        what=f"{PROCESSES} processes x {MANY // PROCESSES}: share of 1 process x {MANY}",
        samples=tuple(
            crew.rate / one.rate for crew, one in zip(rounds.crew, rounds.one, strict=True)
        ),
        target=at_least(0.7),
        detail=f"{per_s(together)} of {per_s(alone)}, p99 {micros(p99)}",
    )
    yield Figure(
        area=AREA,
        what=f"{PROCESSES} processes: (fastest - slowest) / mean",
        samples=tuple(spread(crew.rates) for crew in rounds.crew),
        detail="fairness between processes",
    )


def _raw(rounds: Rounds) -> Figure:
    commits = rounds.commits
    rates = [each.rate for each in commits]
    p99 = statistics.median(each.p99_ns for each in commits)
    said = " (the disk is busy: measure again)" if p99 > DISTURBED_P99_NS else ""
    return Figure(
        area=AREA,
        what="raw commit: change from one probe to the next",
        samples=tuple(max(a, b) / min(a, b) for a, b in pairwise(rates)),
        detail=f"{per_s(statistics.median(rates))},"
        f" p50 {micros(statistics.median(each.p50_ns for each in commits))},"
        f" p99 {micros(p99)}{said}; {rounds.server}",
    )


def _described(loads: Sequence[Load]) -> str:
    middle = sorted(loads, key=lambda load: load.rate)[len(loads) // 2]
    cpu = statistics.median(load.cpu_per_operation for load in loads)
    return (
        f"{per_s(middle.rate)}, {middle.describe()}, CPU {micros(cpu)} per op, server's not in it"
    )


def _tail(load: Load) -> float:
    ordered = load.latencies()
    return quantile(ordered, 0.999) / quantile(ordered, 0.5)
