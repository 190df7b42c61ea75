"""Figures every durable store has: its callers and its processes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.figure import Figure, Target, at_least, micros, per_s, quantile, spread
from benchmarks.load import Load, LoopFactory, tasks
from benchmarks.steady import Steady
from benchmarks.worker import Crew, run_crew
from earmark.ledger.ledger import Ledger

FEW: Final = 16
MANY: Final = 256
PROCESSES: Final = 4


@dataclass(frozen=True, slots=True)
class Crews:
    """One process with all callers, and several that share them."""

    one: Crew
    many: Crew


def drive_tasks(ledger: Ledger, seconds: float, *, callers: int, loop: LoopFactory | None) -> Load:
    """Let *callers* tasks reserve and settle; the order of the arguments is that of a case."""
    return tasks(ledger, callers, seconds, loop)


def crews(one: str, many: str, seconds: float) -> Crews:
    """Measure one process on the books at *one*, and several on those at *many*."""
    return Crews(
        run_crew(one, 1, MANY, seconds),
        run_crew(many, PROCESSES, MANY // PROCESSES, seconds),
    )


def tail_figure(area: str, name: str, loads: Sequence[Load]) -> Figure:
    """Return how far the slowest operations are from the usual one."""
    return Figure(
        area=area,
        what=f"{name}: p99.9 / p50",
        samples=tuple(_tail(load) for load in loads),
        detail="tail latency" if loads else "not measured: no round was kept",
    )


def process_figures(
    area: str, measured: Steady[Crews], *, share: float, fairness: Target | None
) -> Iterable[Figure]:
    """Return what several processes do of what one does, and how evenly."""
    rounds = measured.values
    yield Figure(
        area=area,
        what=f"{PROCESSES} processes x {MANY // PROCESSES}: share of 1 process x {MANY}",
        samples=tuple(each.many.rate / each.one.rate for each in rounds),
        target=at_least(share),
        detail=measured.detail(lambda: _together(rounds)),
    )
    yield Figure(
        area=area,
        what=f"{PROCESSES} processes: (fastest - slowest) / mean",
        samples=tuple(spread(each.many.rates) for each in rounds),
        target=fairness,
        detail="fairness between processes",
    )


def described(loads: Sequence[Load]) -> str:
    """Return the middle one of *loads* in words."""
    middle = sorted(loads, key=lambda load: load.rate)[len(loads) // 2]
    cpu = median(load.cpu_per_operation for load in loads)
    return f"{per_s(middle.rate)}, {middle.describe()}, CPU {micros(cpu)} per op"


def _together(rounds: Sequence[Crews]) -> str:
    many, one = median(each.many.rate for each in rounds), median(each.one.rate for each in rounds)
    p99 = median(each.many.p99_ns for each in rounds)
    return f"{per_s(many)} of {per_s(one)}, p99 {micros(p99)}"


def _tail(load: Load) -> float:
    ordered = load.latencies()
    return quantile(ordered, 0.999) / quantile(ordered, 0.5)
