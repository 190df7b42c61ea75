"""One scenario for every package that guards spending, Earmark's included; needs only Python.

*Guarded calls*: callers call one after the other, on one budget with room for all of them. A
guarded call asks, calls a provider that answers at once, and books what it cost.

*The crowd*: callers call at the same time, each for $1, on a budget of $10. No call ends before
every caller was let through or turned away, as when a provider takes seconds: so many dollars are
spent as callers were let through.

A package's script (`benchmarks.peer_NAME`) opens its guard and hands it to `answer`. It is run by
the Python of an environment that has the package, reads an `Order` and prints an `Outcome`, both in
JSON.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Final

#: More than is ever spent while calls are counted.
ROOMY_USD: Final = 1_000_000
#: Whoever has not answered by then never will.
PATIENCE_S: Final = 60.0

Call = Callable[[Callable[[], None]], None]
"""Makes one guarded call of $1 to the provider it is given, or raises."""
AsyncCall = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


class Refused(Exception):
    """The budget has no room for the call; any other exception is a failure of the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a package's script is told."""

    mode: str = ""
    """Which of the package's ways, where it has several."""
    place: str
    """A folder, or the URL of a server."""
    tag: str
    """Set before names, so that rounds share nothing."""
    seconds: float = 1.0
    callers: int = 64
    limit_usd: int = 10


@dataclass(slots=True)
class Rate:
    """What callers got done."""

    per_s: float = 0.0
    """Guarded calls per second, from the ask to the booking."""
    failed: int = 0


@dataclass(slots=True)
class Crowd:
    """What became of the callers of a crowd."""

    spent_usd: int = 0
    refused: int = 0
    failed: int = 0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a package's script prints."""

    version: str
    alone: Rate = field(default_factory=Rate)
    together: Rate = field(default_factory=Rate)
    crowd: Crowd = field(default_factory=Crowd)


Open = Callable[[Order, str, int], AbstractContextManager[Call]]
"""Opens a guard on a new budget: the order, the budget's name and its limit in USD."""
OpenAsync = Callable[[Order, str, int], AbstractAsyncContextManager[AsyncCall]]


def read_order() -> Order:
    """Return the order that stdin gives."""
    return Order(**json.load(sys.stdin))


def answer(
    version: str, order: Order, *, threads: Open | None = None, tasks: OpenAsync | None = None
) -> None:
    """Carry out *order* and print the outcome."""
    if threads is not None:
        outcome = in_threads(version, order, threads)
    else:
        assert tasks is not None, "a package is driven by threads or by tasks"
        outcome = asyncio.run(in_tasks(version, order, tasks))
    print(json.dumps(asdict(outcome)))


# Threads ------------------------------------------------------------------------------------------


def in_threads(version: str, order: Order, start: Open) -> Outcome:
    """Return what callers that are threads get done."""
    outcome = Outcome(version=version)
    for name, callers in (("alone", 1), ("together", order.callers)):
        with start(order, f"{order.tag}-{name}", ROOMY_USD) as call:
            setattr(outcome, name, _rate(call, callers, order.seconds))
    with start(order, f"{order.tag}-crowd", order.limit_usd) as call:
        outcome.crowd = _crowd(call, order.callers)
    return outcome


def _rate(call: Call, callers: int, seconds: float) -> Rate:
    together = threading.Barrier(callers)
    counts: list[tuple[int, int, float]] = []

    def caller() -> None:
        _tried(call)  # opens what a first call opens
        together.wait(PATIENCE_S)
        began = perf_counter()
        done = failed = 0
        while perf_counter() - began < seconds:
            made = _tried(call)
            done, failed = done + made, failed + (not made)
        counts.append((done, failed, perf_counter() - began))

    _all_at_once([caller] * callers)
    return _counted(counts)


def _tried(call: Call) -> bool:
    try:
        call(lambda: None)
    except Exception:  # noqa: BLE001 - whatever a package raises, the call was not made and booked
        return False
    return True


def _counted(counts: list[tuple[int, int, float]]) -> Rate:
    return Rate(
        per_s=sum(done for done, _, _ in counts) / max(took for _, _, took in counts),
        failed=sum(failed for _, failed, _ in counts),
    )


class Meeting:
    """A provider whose calls end together: once nobody is left who might still call."""

    def __init__(self, callers: int) -> None:
        self.calls = 0
        self._undecided = callers
        self._changed = threading.Condition()

    def call(self) -> None:
        """Be called: the caller was let through."""
        with self._changed:
            self.calls += 1
            self._decide()
            if not self._changed.wait_for(lambda: self._undecided == 0, PATIENCE_S):
                raise RuntimeError(f"{self._undecided} callers were never answered")

    def turn_away(self) -> None:
        """Count a caller who does not call."""
        with self._changed:
            self._decide()

    def _decide(self) -> None:
        self._undecided -= 1
        self._changed.notify_all()


def _crowd(call: Call, callers: int) -> Crowd:
    meeting, said = Meeting(callers), Crowd()
    together = threading.Barrier(callers)

    def caller() -> None:
        called = False

        def provider() -> None:
            nonlocal called
            called = True
            meeting.call()

        together.wait(PATIENCE_S)
        try:
            call(provider)
        except Refused:
            said.refused += 1
        except Exception as error:  # noqa: BLE001 - counted and told
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            said.failed += 1
        if not called:
            meeting.turn_away()

    _all_at_once([caller] * callers)
    said.spent_usd = meeting.calls
    return said


def _all_at_once(callers: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=caller) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# Tasks --------------------------------------------------------------------------------------------


async def in_tasks(version: str, order: Order, start: OpenAsync) -> Outcome:
    """Return what callers that are tasks of one event loop get done."""
    outcome = Outcome(version=version)
    for name, callers in (("alone", 1), ("together", order.callers)):
        async with start(order, f"{order.tag}-{name}", ROOMY_USD) as call:
            setattr(outcome, name, await _rate_of_tasks(call, callers, order.seconds))
    async with start(order, f"{order.tag}-crowd", order.limit_usd) as call:
        outcome.crowd = await _crowd_of_tasks(call, order.callers)
    return outcome


async def _rate_of_tasks(call: AsyncCall, callers: int, seconds: float) -> Rate:
    await asyncio.gather(*(_tried_in_task(call) for _ in range(callers)))
    began = perf_counter()

    async def caller() -> tuple[int, int, float]:
        done = failed = 0
        while perf_counter() - began < seconds:
            made = await _tried_in_task(call)
            done, failed = done + made, failed + (not made)
        return done, failed, perf_counter() - began

    return _counted(await asyncio.gather(*(caller() for _ in range(callers))))


async def _nothing() -> None:
    pass


async def _tried_in_task(call: AsyncCall) -> bool:
    try:
        await call(_nothing)
    except Exception:  # noqa: BLE001 - whatever a package raises, the call was not made and booked
        return False
    return True


async def _crowd_of_tasks(call: AsyncCall, callers: int) -> Crowd:
    said, undecided, decided = Crowd(), callers, asyncio.Event()

    def decide() -> None:
        nonlocal undecided
        undecided -= 1
        if not undecided:
            decided.set()

    async def caller() -> None:
        called = False

        async def provider() -> None:
            nonlocal called
            called = True
            said.spent_usd += 1
            decide()
            await asyncio.wait_for(decided.wait(), PATIENCE_S)

        try:
            await call(provider)
        except Refused:
            said.refused += 1
        except Exception as error:  # noqa: BLE001 - counted and told
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            said.failed += 1
        if not called:
            decide()

    await asyncio.gather(*(caller() for _ in range(callers)))
    return said
