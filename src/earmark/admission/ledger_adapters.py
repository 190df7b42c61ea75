"""Adapters of `Ledger` and `AsyncLedger` to one port, over which the guard's logic is written once.

That logic is coroutines over `AnyLedger`. With `TaskLedger` they suspend; with `ThreadLedger`
nothing ever suspends, and `run_sync` runs such a coroutine to its end on the caller's thread.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from earmark.admission.cancellation import finish
from earmark.clock import Clock
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.ledger.undo import book_abandoned, undo_abandoned, undo_async
from earmark.ledger.values import Decision, Operation, Reserve
from earmark.ledger.waiting import BeforeWaiting, Blocked, Through, Turns

T = TypeVar("T")
HoldAttempt = Callable[[], Awaitable[Through[T] | Blocked[Awaitable[T]]]]
BookingWork = Callable[[], Coroutine[Any, Any, T]]


class AnyLedger(Protocol):
    """A ledger that threads or tasks use."""

    @property
    def clock(self) -> Clock:
        """Where its time comes from."""
        ...

    @property
    def turns(self) -> Turns:
        """Who waits for budget, in their order."""
        ...

    async def submit(self, operation: Operation) -> Decision:
        """Return the decision once it is durable; queued before this first suspends."""
        ...

    async def reserve(self, operation: Reserve) -> Decision:
        """Submit *operation*; if the wait is cut short, the reservation it opened is released."""
        ...

    async def run_queued(
        self, budget: str, attempt: HoldAttempt[T], *, wait_ns: int, before_waiting: BeforeWaiting
    ) -> T:
        """Return the result of *attempt*, in the ledger's queue for *wait_ns*; see `Turns`."""
        ...

    async def finish(self, work: BookingWork[T]) -> T:
        """Return the result of *work*, which is idempotent; a cancellation is raised after it."""
        ...

    def abandon(self, operation: Operation) -> None:
        """Submit *operation* without waiting for its answer in this task."""
        ...

    async def pause(self, seconds: float) -> None:
        """Return after *seconds*."""
        ...


class TaskLedger:
    """An `AsyncLedger`: every step may suspend, and be cancelled there."""

    __slots__ = ("_ledger",)

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger

    @property
    def clock(self) -> Clock:
        """Where its time comes from."""
        return self._ledger.clock

    @property
    def turns(self) -> Turns:
        """Who waits for budget, in their order."""
        return self._ledger.turns

    async def submit(self, operation: Operation) -> Decision:
        """Return the decision once it is durable."""
        return await self._ledger.sync.committer.submit_async(operation)

    async def reserve(self, operation: Reserve) -> Decision:
        """Submit *operation*; cancelled or abandoned, the reservation it opened is released."""
        committer = self._ledger.sync.committer
        try:
            return await committer.submit_async(operation)
        except asyncio.CancelledError:
            await undo_async(committer, operation)
            raise
        except GeneratorExit:
            undo_abandoned(committer, operation)
            raise

    async def run_queued(
        self, budget: str, attempt: HoldAttempt[T], *, wait_ns: int, before_waiting: BeforeWaiting
    ) -> T:
        """Return the result of *attempt*, in the ledger's queue."""
        return await self.turns.task(
            budget, attempt, wait_ns=wait_ns, before_waiting=before_waiting
        )

    async def finish(self, work: BookingWork[T]) -> T:
        """Return the result of *work*, however often the task is cancelled meanwhile."""
        return await finish(work)

    def abandon(self, operation: Operation) -> None:
        """Submit *operation* in a thread."""
        book_abandoned(self._ledger.sync.committer, operation)

    async def pause(self, seconds: float) -> None:
        """Sleep on the ledger's clock."""
        await self.clock.sleep(seconds)


class ThreadLedger:
    """A `Ledger`: every step blocks the thread, and nothing suspends."""

    __slots__ = ("_ledger",)

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @property
    def clock(self) -> Clock:
        """Where its time comes from."""
        return self._ledger.clock

    @property
    def turns(self) -> Turns:
        """Who waits for budget, in their order."""
        return self._ledger.turns

    async def submit(self, operation: Operation) -> Decision:
        """Return the decision once it is durable."""
        return self._ledger.committer.submit(operation)

    async def reserve(self, operation: Reserve) -> Decision:
        """Submit *operation*; after an interrupt, `Guard.open` releases what it opened."""
        return self._ledger.committer.submit(operation)

    async def run_queued(
        self, budget: str, attempt: HoldAttempt[T], *, wait_ns: int, before_waiting: BeforeWaiting
    ) -> T:
        """Return the result of *attempt*, in the ledger's queue."""

        def blocking() -> Through[T] | Blocked[T]:
            outcome = run_sync(attempt())
            if isinstance(outcome, Through):
                return outcome
            give_up = outcome.give_up
            return Blocked(outcome.refusal, lambda: run_sync(give_up()), outcome.line)

        return self.turns.thread(budget, blocking, wait_ns=wait_ns, before_waiting=before_waiting)

    async def finish(self, work: BookingWork[T]) -> T:
        """Return the result of *work*; after an interrupt the caller may repeat it."""
        return await work()

    def abandon(self, operation: Operation) -> None:
        """Submit *operation*."""
        self._ledger.committer.submit(operation)

    async def pause(self, seconds: float) -> None:
        """Block the thread."""
        threading.Event().wait(seconds)


def run_sync(work: Awaitable[T]) -> T:
    """Return the result of *work*, which awaits only `ThreadLedger` and so never suspends."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("work for threads suspended")
