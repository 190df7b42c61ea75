"""The ledger as the guard asks it, from threads and from tasks: the guard's own logic is one.

That logic is written as coroutines over `AnyLedger`. With `TaskLedger` they suspend; with
`ThreadLedger` nothing ever suspends, and `completed` runs such a coroutine to its end on the
caller's thread.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from earmark.admission.finish import booked
from earmark.clock import Clock
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.ledger.undo import book_abandoned, undo_abandoned, undo_async
from earmark.ledger.values import Decision, Operation, Reserve
from earmark.ledger.waiting import BeforeWaiting, Blocked, Through, Turns

T = TypeVar("T")
Attempt = Callable[[], Awaitable[Through[T] | Blocked[Awaitable[T]]]]
Work = Callable[[], Coroutine[Any, Any, T]]


class AnyLedger(Protocol):
    """One ledger, asked from threads or from tasks."""

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
        """Submit *operation*; cut short, what it opened is released."""
        ...

    async def in_turn(
        self, budget: str, attempt: Attempt[T], *, wait_ns: int, before_waiting: BeforeWaiting
    ) -> T:
        """Return what *attempt* gives, in line with others for *wait_ns*; see `Turns`."""
        ...

    async def booked(self, work: Work[T]) -> T:
        """Return what *work*, which is idempotent, gives; a cancellation is raised after it."""
        ...

    def abandon(self, operation: Operation) -> None:
        """Do *operation* where nobody can wait for it."""
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
        """Submit *operation*; cancelled or abandoned meanwhile, what it opened is released."""
        committer = self._ledger.sync.committer
        try:
            return await committer.submit_async(operation)
        except asyncio.CancelledError:
            await undo_async(committer, operation)
            raise
        except GeneratorExit:
            undo_abandoned(committer, operation)
            raise

    async def in_turn(
        self, budget: str, attempt: Attempt[T], *, wait_ns: int, before_waiting: BeforeWaiting
    ) -> T:
        """Return what *attempt* gives, in line with others."""
        return await self.turns.task(
            budget, attempt, wait_ns=wait_ns, before_waiting=before_waiting
        )

    async def booked(self, work: Work[T]) -> T:
        """Return what *work* gives, however often the task is cancelled meanwhile."""
        return await booked(work)

    def abandon(self, operation: Operation) -> None:
        """Do *operation* in a thread."""
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

    async def in_turn(
        self, budget: str, attempt: Attempt[T], *, wait_ns: int, before_waiting: BeforeWaiting
    ) -> T:
        """Return what *attempt* gives, in line with others."""

        def blocking() -> Through[T] | Blocked[T]:
            outcome = completed(attempt())
            if isinstance(outcome, Through):
                return outcome
            give_up = outcome.give_up
            return Blocked(outcome.refusal, lambda: completed(give_up()), outcome.line)

        return self.turns.thread(budget, blocking, wait_ns=wait_ns, before_waiting=before_waiting)

    async def booked(self, work: Work[T]) -> T:
        """Return what *work* gives; after an interrupt it may be asked again."""
        return await work()

    def abandon(self, operation: Operation) -> None:
        """Do *operation*."""
        self._ledger.committer.submit(operation)

    async def pause(self, seconds: float) -> None:
        """Block the thread."""
        threading.Event().wait(seconds)


def completed(work: Awaitable[T]) -> T:
    """Return what *work* gives, which awaits nothing but `ThreadLedger` and so never suspends."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("work for threads suspended")
