"""Callers that reserve and settle in a loop on one hot budget tree, and what they get done."""

import asyncio
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from time import perf_counter_ns, process_time_ns
from typing import Final
from unittest.mock import patch

from benchmarks.figure import micros, quantile
from earmark.clock import NANOS_PER_SECOND
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Decision, Operation

BUDGETS: Final = ("acme", "acme/research", "acme/research/agent-7")
LEAF: Final = BUDGETS[-1]
LIMIT: Final = "1000000 usd per day"
HOLD: Final = "0.10"
COST: Final = "0.042"
#: The share of a measurement that runs before it counts.
_WARM_UP: Final = 0.2

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


# Without a `repr`: `asyncio.Runner` makes one of each result, which is long where callers are many.
@dataclass(slots=True, repr=False)
class Load:
    """What callers get done; every reserve and every settle is one operation."""

    start: int
    stop: int
    callers: list[list[int]] = field(default_factory=list[list[int]])
    """Of each caller, when it began and when each of its operations ended; kept as they come."""
    cpu_ns: int = 0
    """Of the whole process and measurement, warm-up included, all threads."""
    batches: int = 0
    """How many the store was given, warm-up included."""

    def caller(self) -> Callable[[], int]:
        """Return what a caller calls when it begins and after each operation: it tells the time."""
        moments: list[int] = []
        self.callers.append(moments)
        now, keep = perf_counter_ns, moments.append

        def tick() -> int:
            moment = now()
            keep(moment)
            return moment

        return tick

    def latencies(self) -> list[int]:
        """Return the nanoseconds of each operation that ended in time, the shortest first."""
        took = [
            ended - began
            for moments in self.callers
            for began, ended in pairwise(moments)
            if self.start <= ended <= self.stop
        ]
        # However slow the machine, there is no rate of nothing: then the first operation counts,
        # and every caller has one.
        return sorted(took) or [self.callers[0][1] - self.callers[0][0]]

    @property
    def operations(self) -> int:
        """All operations, those of the warm-up included."""
        return sum(len(moments) - 1 for moments in self.callers)

    @property
    def rate(self) -> float:
        """Durable operations per second."""
        return len(self.latencies()) * NANOS_PER_SECOND / (self.stop - self.start)

    @property
    def cpu_per_operation(self) -> float:
        """Nanoseconds of processor time an operation took, in all threads together."""
        return self.cpu_ns / max(self.operations, 1)

    @property
    def batch(self) -> float:
        """How many operations a batch had, on the average."""
        return self.operations / max(self.batches, 1)

    def describe(self) -> str:
        """Return the latencies' quantiles in words."""
        ordered = self.latencies()
        named = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
        return ", ".join(f"{name} {micros(quantile(ordered, q))}" for name, q in named.items())


def make_budgets(ledger: Ledger) -> None:
    """Make the path of three budgets that every caller spends on."""
    for budget in BUDGETS:
        ledger.set_budget(budget, limits=[LIMIT])


def one_caller(ledger: Ledger, seconds: float) -> Load:
    """Reserve and settle in this thread."""
    load = _load(seconds)
    with _observed(ledger, load):
        _loop(ledger, load)
    return load


def threads(ledger: Ledger, callers: int, seconds: float) -> Load:
    """Reserve and settle in *callers* threads."""
    load = _load(seconds)
    with _observed(ledger, load):
        crew = [threading.Thread(target=_loop, args=(ledger, load)) for _ in range(callers)]
        for each in crew:
            each.start()
        for each in crew:
            each.join()
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


@contextmanager
def _observed(ledger: Ledger, load: Load) -> Generator[None]:
    """Note the processor time of what runs inside, and how many batches the store is given."""
    apply = ledger.store.apply

    def counted(batch: Sequence[Operation], now: int) -> Sequence[Decision]:
        # An empty one only sweeps deadlines.
        load.batches += bool(batch)
        return apply(batch, now)

    with patch.object(ledger.store, "apply", counted):
        cpu = process_time_ns()
        yield
        load.cpu_ns = process_time_ns() - cpu


def _load(seconds: float) -> Load:
    now = perf_counter_ns()
    start = now + int(seconds * _WARM_UP * NANOS_PER_SECOND)
    return Load(start, start + int(seconds * NANOS_PER_SECOND))


def _loop(ledger: Ledger, load: Load) -> None:
    tick = load.caller()
    tick()
    now = load.start
    while now < load.stop:
        hold = ledger.reserve(LEAF, HOLD)
        tick()
        ledger.settle(hold.key, COST)
        now = tick()


async def _tasks(ledger: Ledger, callers: int, seconds: float) -> Load:
    load = _load(seconds)
    books = ledger.as_async()

    async def caller() -> None:
        tick = load.caller()
        tick()
        now = load.start
        while now < load.stop:
            hold = await books.reserve(LEAF, HOLD)
            tick()
            await books.settle(hold.key, COST)
            now = tick()

    with _observed(ledger, load):
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(caller())
    return load
