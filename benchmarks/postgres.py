"""The ledger on PostgreSQL: durable operations against what the same server can do at all.

All callers reserve and settle on one path of three budgets, the worst case: every operation changes
the same three accounts. A *raw commit* is a transaction of one inserted row on one connection of
the same driver, taken before and after each measurement of a round; *one transaction per operation*
is `benchmarks.postgres_baseline`, the best of 1, 8 and 32 connections; the *raw folded batch* is
`benchmarks.postgres_folded`.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
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
from benchmarks.figure import Figure, at_least, per_s
from benchmarks.load import Load, LoopFactory, fastest_loop, make_budgets, one_caller
from benchmarks.postgres_baseline import RawCommits, prepare, transactions
from benchmarks.postgres_folded import BATCH, folded
from benchmarks.postgres_place import Place, postgres
from benchmarks.raw import Syncs
from benchmarks.settings import NotHereError, Settings, tell
from benchmarks.worker import Crew
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger

AREA: Final = "postgres"
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
    folded: list[float] = field(default_factory=list[float])
    folded_per_commit: list[float] = field(default_factory=list[float])
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
        Case(f"{FEW} tasks ({name})", partial(drive_tasks, callers=FEW, loop=loop), None),
        Case(hot, partial(drive_tasks, callers=MANY, loop=loop), 15),
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
    rounds.folded.append(folded(place.fresh(), seconds))
    commits.append(raw.take(seconds * _RAW_SHARE))
    around = statistics.mean(each.rate for each in commits[-2:])
    rounds.folded_per_commit.append(rounds.folded[-1] / around)
    rounds.commits += commits
    one, crew = crews(_books(place), _books(place), seconds)
    rounds.one.append(one)
    rounds.crew.append(crew)


def _books(place: Place) -> str:
    url = place.fresh()
    with open_ledger(url) as ledger:
        make_budgets(ledger)
    return url


def _plain(conninfo: str, seconds: float, loop: LoopFactory | None) -> dict[int, float]:
    return {many: transactions(conninfo, many, seconds, loop) for many in CONNECTIONS}


# Figures ------------------------------------------------------------------------------------------


def _figures(rounds: Rounds, cases: Sequence[Case], hot: str) -> Iterable[Figure]:
    yield probe_figure(AREA, "raw commit", rounds.commits, f"; {rounds.server}")
    for case in cases:
        yield Figure(
            area=AREA,
            what=f"{case.name}: ops per raw commit",
            samples=tuple(rounds.per_commit[case.name]),
            target=None if case.per_commit is None else at_least(case.per_commit),
            detail=f"{described(rounds.loads[case.name])}, server's not in it",
        )
    yield Figure(
        area=AREA,
        what=f"raw folded batch of {BATCH}: ops per raw commit",
        samples=tuple(rounds.folded_per_commit),
        detail=f"{per_s(statistics.median(rounds.folded))}; nothing decided or answered",
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
    yield tail_figure(AREA, hot, loads)
    yield from process_figures(AREA, rounds.one, rounds.crew, share=0.7, fairness=None)
