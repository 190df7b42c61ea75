"""Callers that reserve and settle in a loop on one hot budget tree, and what they get done."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from time import perf_counter_ns, process_time_ns
from typing import Final

from benchmarks.figure import micros, quantile
from earmark.clock import NANOS_PER_SECOND
from earmark.ledger.ledger import Ledger

BUDGETS: Final = ("acme", "acme/research", "acme/research/agent-7")
LEAF: Final = BUDGETS[-1]
LIMIT: Final = "1000000 usd per day"
HOLD: Final = "0.10"
COST: Final = "0.042"
#: The share of a measurement that runs before it counts.
_WARM_UP: Final = 0.2

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@dataclass(slots=True)
class Load:
    """What callers got done; every reserve and every settle is one operation."""

    start: int
    stop: int
    latencies: list[int] = field(default_factory=list[int])
    """Nanoseconds of each operation that ended between *start* and *stop*."""
    done: int = 0
    """Operations of the whole measurement, warm-up included."""
    cpu_ns: int = 0
    """Of the whole process and measurement, all threads."""

    def took(self, began: int, ended: int) -> None:
        """Count an operation."""
        self.done += 1
        # One is always counted, however slow the disk: there is no rate of nothing.
        if self.start <= ended <= self.stop or not self.latencies:
            self.latencies.append(ended - began)

    @property
    def rate(self) -> float:
        """Durable operations per second."""
        return len(self.latencies) * NANOS_PER_SECOND / (self.stop - self.start)

    @property
    def cpu_per_op(self) -> float:
        """Nanoseconds of processor time an operation took, in all threads together."""
        return self.cpu_ns / max(self.done, 1)

    def describe(self) -> str:
        """Return the latencies' quantiles in words."""
        ordered = sorted(self.latencies)
        named = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
        return ", ".join(f"{name} {micros(quantile(ordered, q))}" for name, q in named.items())


def make_budgets(ledger: Ledger) -> None:
    """Make the path of three budgets that every caller spends on."""
    for budget in BUDGETS:
        ledger.set_budget(budget, limits=[LIMIT])


def one_caller(ledger: Ledger, seconds: float) -> Load:
    """Reserve and settle in this thread."""
    load = _load(seconds)
    cpu = process_time_ns()
    _loop(ledger, load)
    load.cpu_ns = process_time_ns() - cpu
    return load


def threads(ledger: Ledger, callers: int, seconds: float) -> Load:
    """Reserve and settle in *callers* threads."""
    load = _load(seconds)
    cpu = process_time_ns()
    crew = [threading.Thread(target=_loop, args=(ledger, load)) for _ in range(callers)]
    for each in crew:
        each.start()
    for each in crew:
        each.join()
    load.cpu_ns = process_time_ns() - cpu
    return load


def tasks(ledger: Ledger, callers: int, seconds: float, loop: LoopFactory | None = None) -> Load:
    """Reserve and settle in *callers* tasks of one event loop, asyncio's own unless given."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(_tasks(ledger, callers, seconds))


def fastest_loop() -> tuple[str, LoopFactory | None]:
    """Return uvloop where it is installed, else asyncio's own loop, and its name."""
    if find_spec("uvloop") is None:
        return "asyncio", None
    import uvloop  # an optional package: https://pypi.org/project/uvloop

    return "uvloop", uvloop.new_event_loop


def _load(seconds: float) -> Load:
    now = perf_counter_ns()
    start = now + int(seconds * _WARM_UP * NANOS_PER_SECOND)
    return Load(start, start + int(seconds * NANOS_PER_SECOND))


def _loop(ledger: Ledger, load: Load) -> None:
    now, took = perf_counter_ns, load.took
    while (began := now()) < load.stop:
        hold = ledger.reserve(LEAF, HOLD)
        between = now()
        took(began, between)
        ledger.settle(hold.key, COST)
        took(between, now())


async def _tasks(ledger: Ledger, callers: int, seconds: float) -> Load:
    load = _load(seconds)
    books = ledger.as_async()
    now, took = perf_counter_ns, load.took

    async def caller() -> None:
        while (began := now()) < load.stop:
            hold = await books.reserve(LEAF, HOLD)
            between = now()
            took(began, between)
            await books.settle(hold.key, COST)
            took(between, now())

    cpu = process_time_ns()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    load.cpu_ns = process_time_ns() - cpu
    return load
