"""The runner: what a stage that does nothing costs beside a bare asyncio task.

A run is timed whole: check, plan, its budget, its lines, its statement; the composition itself is
made before. The stage declares to cost nothing, so no reservation is made for it; what one that is
paid costs is shown beside it. Both sides are timed in processor time and in alternation; of each
the fastest run of a round counts, the one that other work on the machine disturbed least.
"""

import asyncio
import gc
import statistics
import tempfile
import tracemalloc
from collections.abc import Awaitable, Callable
from time import process_time_ns
from typing import Any, Final

from benchmarks.figure import Figure, Target, at_most, micros
from benchmarks.raw import Stage as Function
from benchmarks.raw import deep_tasks, wide_tasks
from benchmarks.settings import Settings, tell
from earmark.composition.ast import Composition, Const, Fanout, Node, Sequential, Stage
from earmark.runs.runner import run_async
from earmark.stages.kinds.python import PythonStage, stage
from earmark.stores.open import open_async_ledger

AREA: Final = "runner"
_BUDGET: Final = "agents"
_TURNS: Final = 4
#: Of a paid stage on SQLite: seven tenths of what one took in November 2026, 92 bare tasks.
_PAID: Final = at_most(64)

Shape = Callable[[str, int], Composition]
Bare = Callable[[Function, int], Awaitable[None]]


async def nothing(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """Return what came in."""
    return value


FREE: Final = stage(name="nothing")(nothing)
PAID: Final = stage(name="nothing-paid", cost="0.0001")(nothing)


def wide(name: str, many: int) -> Composition:
    """Return *many* stages side by side."""
    targets: tuple[Node, ...] = tuple(Stage(name) for _ in range(many))
    return Composition(description="wide", root=Fanout(source=Const(None), targets=targets))


def deep(name: str, many: int) -> Composition:
    """Return *many* stages one after the other."""
    return Composition(description="deep", root=Sequential(tuple(Stage(name) for _ in range(many))))


_SHAPES: Final[dict[str, tuple[Shape, Bare]]] = {
    "wide": (wide, wide_tasks),
    "deep": (deep, deep_tasks),
}


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the runner."""
    figures: list[Figure] = []
    for name, (shape, bare) in _SHAPES.items():
        few, many = settings.stages, settings.stages_most
        tell(f"runner: {few:,} and {many:,} stages, {name}")
        figures.append(_against_tasks(name, shape, bare, settings))
        figures += _linear(name, shape, settings)
    memory = _paid("memory store", lambda: "memory:", settings, None)
    return [*figures, memory, _paid("SQLite", lambda: _new_file(settings), settings, _PAID)]


def _against_tasks(name: str, shape: Shape, bare: Bare, settings: Settings) -> Figure:
    many = settings.stages
    pairs = [
        _fastest(lambda: _run(FREE, shape, many), lambda: _tasks(bare, many))
        for _ in range(settings.rounds)
    ]
    ours, raw = (statistics.median(each) / many for each in zip(*pairs, strict=True))
    return Figure(
        area=AREA,
        what=f"{many:,} stages {name}: a stage / a bare asyncio task",
        samples=tuple(a / b for a, b in pairs),
        target=at_most(8),
        detail=f"{micros(ours)} / {micros(raw)}",
    )


def _linear(name: str, shape: Shape, settings: Settings) -> list[Figure]:
    few, many = settings.stages, settings.stages_most
    times = [
        _fastest(lambda: _run(FREE, shape, few), lambda: _run(FREE, shape, many))
        for _ in range(settings.rounds)
    ]
    sizes = [(_peak(shape, few), _peak(shape, many)) for _ in range(settings.rounds)]
    each = statistics.median(b for _, b in times) / many
    bytes_each = statistics.median(b for _, b in sizes) / many
    what = f"of a stage at {many:,} / at {few:,} {name}"
    return [
        _growth(f"time {what}", times, many / few, f"{micros(each)} a stage at {many:,}"),
        _growth(f"memory {what}", sizes, many / few, f"{bytes_each / 1024:.1f} KiB a stage, peak"),
    ]


def _growth(what: str, pairs: list[tuple[int, int]], times: float, detail: str) -> Figure:
    return Figure(
        area=AREA,
        what=what,
        samples=tuple(b / a / times for a, b in pairs),
        target=at_most(1.25),
        detail=detail,
    )


def _paid(store: str, new: Callable[[], str], settings: Settings, target: Target | None) -> Figure:
    many = settings.stages
    pairs = [
        _fastest(lambda: _run(PAID, wide, many, new()), lambda: _tasks(wide_tasks, many))
        for _ in range(settings.rounds)
    ]
    ours = statistics.median(a for a, _ in pairs) / many
    return Figure(
        area=AREA,
        what=f"{many:,} paid stages wide, {store}: a stage / a bare asyncio task",
        samples=tuple(a / b for a, b in pairs),
        target=target,
        detail=f"{micros(ours)}: bound, reserve, call, settle",
    )


def _new_file(settings: Settings) -> str:
    return f"sqlite:///{tempfile.mkdtemp(dir=settings.folder)}/books.db"


def _fastest(one: Callable[[], int], other: Callable[[], int]) -> tuple[int, int]:
    """Return the shortest time of each of two, run in alternation."""
    pairs = [(one(), other()) for _ in range(_TURNS)]
    return min(a for a, _ in pairs), min(b for _, b in pairs)


def _tasks(bare: Bare, many: int) -> int:
    """Return the nanoseconds of *many* bare tasks."""

    async def timed() -> int:
        began = process_time_ns()
        await bare(nothing, many)
        return process_time_ns() - began

    return _quiet(timed)


def _run(kind: PythonStage, shape: Shape, many: int, url: str = "memory:") -> int:
    """Return the nanoseconds of one run of *many* stages, on the books at *url*."""
    return _quiet(lambda: _timed_run(kind, shape(kind.spec.name, many), url))


def _quiet(measured: Callable[[], Awaitable[int]]) -> int:
    # What others left behind is collected now; what is made while the clock runs, then.
    gc.collect()

    async def once() -> int:
        return await measured()

    return asyncio.run(once())


async def _timed_run(kind: PythonStage, composition: Composition, url: str = "memory:") -> int:
    async with open_async_ledger(url) as ledger:
        await ledger.set_budget(_BUDGET, limits=["1000 usd per day"])
        began = process_time_ns()
        await run_async(
            composition, None, ledger=ledger, under=_BUDGET, budget="100", stages=[kind]
        )
        return process_time_ns() - began


def _peak(shape: Shape, many: int) -> int:
    """Return the most bytes that one run of *many* stages had allocated at a time."""
    composition = shape(FREE.spec.name, many)
    gc.collect()
    tracemalloc.start()
    try:
        asyncio.run(_timed_run(FREE, composition))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
