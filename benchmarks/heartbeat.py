"""Whether a heartbeat's cycle slows down as tasks, holds, runs and nudges pile up.

A real cycle, from the controls to the report, on each durable store; the model answers at once, so
what is timed is Earmark's own work. In one kind of cycle three tasks are dispatched; in the other
the budget is at its cap, and fifty tasks are looked at for one that fits. Beside the time by the
wall clock, the processor time of all threads is shown: on the board with few tasks, and without the
server's on PostgreSQL.
"""

import asyncio
import statistics
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns
from typing import Final

from benchmarks.figure import Figure, at_most, micros
from benchmarks.fill_board import fill
from benchmarks.postgres_place import postgres
from benchmarks.settings import NotHereError, Settings, tell
from earmark.board.task import Priority, TaskDraft
from earmark.clock import SystemClock
from earmark.config.settings import HeartbeatSettings
from earmark.heartbeat.cycle_report import CycleReport
from earmark.heartbeat.heartbeat import Heartbeat
from earmark.heartbeat.runtime import Runtime
from earmark.stores.open import open_ledger
from earmark.testing import ScriptedProvider
from earmark.workspace.workspace import Workspace, open_workspace

AREA: Final = "heartbeat"
_MODEL: Final = "scripted/at-once"
_DISPATCHES: Final = 3
#: How much slower a cycle may be where much has piled up.
_AS_QUICK: Final = at_most(1.5)

#: What a cycle does, and the limit it does it under.
_KINDS: Final = {
    f"a cycle that dispatches {_DISPATCHES}": "1000000 usd per day",
    "a cycle at the cap": "0 usd per day",
}


@dataclass(frozen=True, slots=True)
class _Round:
    """The medians of a round, in nanoseconds."""

    few: float
    many: float
    """By the wall clock, on the board of few tasks and on that of many."""
    cpu: float


_Times = dict[str, list[_Round]]


def measure(settings: Settings) -> list[Figure]:
    """Return how much slower a cycle is on a board of many tasks than on one of few."""
    files = [f"sqlite:///{settings.folder / name}.db" for name in ("few", "many")]
    figures = _store("SQLite", files, settings)
    with ExitStack() as stack:
        try:
            place = stack.enter_context(postgres())
        except NotHereError as reason:
            why = f"not measured: {reason}"
            missing = [_growth("PostgreSQL", kind, [], settings, why) for kind in _KINDS]
            return [*figures, *missing]
        schemas = [place.fresh(), place.fresh()]
        return [*figures, *_store("PostgreSQL", schemas, settings, place.flush)]


def _store(
    name: str, urls: list[str], settings: Settings, settle: Callable[[], None] = lambda: None
) -> list[Figure]:
    few, many = settings.tasks
    tell(f"{AREA}: filling {name} boards of {few:,} and {many:,} tasks")
    for url, tasks in zip(urls, settings.tasks, strict=True):
        fill(url, tasks)
    settle()
    times: _Times = {kind: [] for kind in _KINDS}
    with ExitStack() as stack:
        loop = stack.enter_context(asyncio.Runner())
        for kind, limit in _KINDS.items():
            pair = [stack.enter_context(_beating(loop, url, limit)) for url in urls]
            for number in range(settings.rounds):
                tell(f"{AREA}: {name}: {kind}: round {number + 1} of {settings.rounds}")
                times[kind].append(_round(loop, pair, settings.turns))
    growths = [_growth(name, kind, times[kind], settings) for kind in _KINDS]
    return [*growths, *(_cpu(name, kind, times[kind]) for kind in _KINDS)]


def _round(loop: asyncio.Runner, pair: list["_Beating"], turns: int) -> _Round:
    """Time cycles on the two boards, in turns."""
    taken: tuple[list[int], list[int]] = ([], [])
    cpu: list[int] = []
    for turn in range(turns):
        # Now one first, now the other: a disk that slows down does so for both.
        for which in (0, 1) if turn % 2 else (1, 0):
            wall_ns, cpu_ns = pair[which].cycle(loop)
            taken[which].append(wall_ns)
            if which == 0:
                cpu.append(cpu_ns)
    few, many = (statistics.median(each) for each in taken)
    return _Round(few, many, statistics.median(cpu))


class _Beating:
    """A heartbeat on a filled board."""

    def __init__(self, workspace: Workspace, beat: Heartbeat, *, dispatches: int) -> None:
        self._workspace = workspace
        self._beat = beat
        self._dispatches = dispatches

    def cycle(self, loop: asyncio.Runner) -> tuple[int, int]:
        """Return the nanoseconds of one cycle, by the wall clock and of processor time.

        Its tasks are there before, and more urgent than all.
        """
        for number in range(self._dispatches):
            draft = TaskDraft(title=f"now {number}", priority=Priority.P1)
            self._workspace.board.add(draft, actor="benchmark")
        began, cpu_began = perf_counter_ns(), process_time_ns()
        report = loop.run(self._beat.cycle())
        took = perf_counter_ns() - began, process_time_ns() - cpu_began
        self._check(report)
        return took

    def _check(self, report: CycleReport) -> None:
        done = [each.outcome for each in report.dispatched]
        state = "idle" if self._dispatches else "at_cap"
        if (report.state, done) != (state, ["completed"] * self._dispatches) or report.errors:
            raise RuntimeError(f"not the cycle that was to be measured: {report.line()}")


@contextmanager
def _beating(loop: asyncio.Runner, url: str, limit: str) -> Generator[_Beating]:
    """Run a heartbeat under *limit* on the board at *url*; a first cycle has read what there is."""
    dispatches = 0 if limit.startswith("0 ") else _DISPATCHES
    name = f"agent-{dispatches}"
    settings = HeartbeatSettings(
        agent=name, budget=f"c8/{name}", model=_MODEL, max_dispatches=_DISPATCHES
    )
    clock = SystemClock()
    house = Runtime(providers={"scripted": ScriptedProvider(clock=clock)})
    with open_ledger(url) as ledger, open_workspace(ledger) as workspace:
        ledger.set_budget(settings.budget, limits=[limit])
        beat = Heartbeat(workspace, settings, house, clock=clock)
        loop.run(beat.start())
        try:
            beating = _Beating(workspace, beat, dispatches=dispatches)
            beating.cycle(loop)
            yield beating
        finally:
            loop.run(beat.stop())


def _growth(
    store: str, kind: str, rounds: list[_Round], settings: Settings, why: str = ""
) -> Figure:
    few, many = settings.tasks
    return Figure(
        area=AREA,
        what=f"{store}: {kind}: {many:,} tasks / {few:,}",
        samples=tuple(each.many / each.few for each in rounds),
        target=_AS_QUICK,
        detail=why or _medians(rounds),
    )


def _medians(rounds: list[_Round]) -> str:
    few, many = (
        statistics.median(ns) for ns in ([r.few for r in rounds], [r.many for r in rounds])
    )
    return f"{micros(many)} / {micros(few)}"


def _cpu(store: str, kind: str, rounds: list[_Round]) -> Figure:
    return Figure(
        area=AREA,
        what=f"{store}: {kind}, ms of processor time",
        samples=tuple(each.cpu / 1e6 for each in rounds),
        detail="all threads",
    )
