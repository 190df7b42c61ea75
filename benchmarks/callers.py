"""Figures every durable store has: its callers, its processes, and the raw probe beside them."""

import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from benchmarks.figure import Figure, Target, at_least, micros, per_s, quantile, spread
from benchmarks.load import Load, LoopFactory, tasks
from benchmarks.raw import Syncs
from benchmarks.worker import Crew, run_crew
from earmark.ledger.ledger import Ledger

FEW: Final = 16
MANY: Final = 256
PROCESSES: Final = 4
#: A disk whose syncs are slower than this is busy with something else: its ratios say little.
DISTURBED_P99_NS: Final = 5_000_000


def drive_tasks(ledger: Ledger, seconds: float, *, callers: int, loop: LoopFactory | None) -> Load:
    """Let *callers* tasks reserve and settle; the order of the arguments is that of a case."""
    return tasks(ledger, callers, seconds, loop)


def crews(one: str, many: str, seconds: float) -> tuple[Crew, Crew]:
    """Return one process with all callers on the books at *one*, and several on those at *many*."""
    return (
        run_crew(one, 1, MANY, seconds),
        run_crew(many, PROCESSES, MANY // PROCESSES, seconds),
    )


def tail_figure(area: str, name: str, loads: Sequence[Load]) -> Figure:
    """Return how far the slowest operations are from the usual one."""
    return Figure(
        area=area,
        what=f"{name}: p99.9 / p50",
        samples=tuple(_tail(load) for load in loads),
        detail="tail latency",
    )


def process_figures(
    area: str, one: Sequence[Crew], crew: Sequence[Crew], *, share: float, fairness: Target | None
) -> Iterable[Figure]:
    """Return what several processes do of what one does, and how evenly."""
    together = statistics.median(each.rate for each in crew)
    alone = statistics.median(each.rate for each in one)
    p99 = statistics.median(each.p99_ns for each in crew)
    yield Figure(
        area=area,
        what=f"{PROCESSES} processes x {MANY // PROCESSES}: share of 1 process x {MANY}",
        samples=tuple(many.rate / each.rate for many, each in zip(crew, one, strict=True)),
        target=at_least(share),
        detail=f"{per_s(together)} of {per_s(alone)}, p99 {micros(p99)}",
    )
    yield Figure(
        area=area,
        what=f"{PROCESSES} processes: (fastest - slowest) / mean",
        samples=tuple(spread(each.rates) for each in crew),
        target=fairness,
        detail="fairness between processes",
    )


def probe_figure(area: str, probe: str, syncs: Sequence[Syncs], suffix: str = "") -> Figure:
    """Return how steady the raw *probe* was, which everything else is set against."""
    rates = [each.rate for each in syncs]
    p99 = statistics.median(each.p99_ns for each in syncs)
    said = " (the disk is busy: measure again)" if p99 > DISTURBED_P99_NS else ""
    return Figure(
        area=area,
        what=f"{probe}: change from one probe to the next",
        samples=tuple(max(a, b) / min(a, b) for a, b in pairwise(rates)),
        detail=f"{per_s(statistics.median(rates))},"
        f" p50 {micros(statistics.median(each.p50_ns for each in syncs))},"
        f" p99 {micros(p99)}{said}{suffix}",
    )


def described(loads: Sequence[Load]) -> str:
    """Return the middle one of *loads* in words."""
    middle = sorted(loads, key=lambda load: load.rate)[len(loads) // 2]
    cpu = statistics.median(load.cpu_per_operation for load in loads)
    return f"{per_s(middle.rate)}, {middle.describe()}, CPU {micros(cpu)} per op"


def _tail(load: Load) -> float:
    ordered = load.latencies()
    return quantile(ordered, 0.999) / quantile(ordered, 0.5)
