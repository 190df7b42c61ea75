"""How tasks and threads wait for their turn, and how changes by other processes are noticed."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar, Unpack

from earmark.budget.path import ancestors
from earmark.clock import NANOS_PER_SECOND, Clock, from_datetime
from earmark.errors import BudgetExceeded, EarmarkError, Reason, StoreClosed
from earmark.ledger.answers import as_error, reservation_of
from earmark.ledger.queue import AdmissionQueue, QueueLine
from earmark.ledger.store import PreviewOptions
from earmark.ledger.values import Accepted, Amounts, Decision, Refused, Reservation, Reserve

#: How often a waiting thread looks at the clock, and the watch at a store that failed.
LOOK_EVERY_S: Final = 0.05
#: For how long a store is asked at a time to tell of commits; the watch ends at most so late.
WATCH_FOR_S: Final = 0.2
_LOOK_EVERY_NS: Final = int(LOOK_EVERY_S * NANOS_PER_SECOND)

#: What no store tells: the first look finds a change, for there may have been one before it.
_NEVER: Final = -1

_ONLY_TAKES: Final = frozenset({"reserve", "extend"})

PreviewOf = Callable[..., list[Refused | None]]
"""`earmark.ledger.store.Store.preview`."""

ReservationOf = Callable[[str], Reservation | None]
"""`earmark.ledger.store.Store.reservation`."""

BeforeWaiting = Callable[[], bool]
"""Returns whether an attempt repeats one that was accepted: it is made at once, out of line.

Raises the refusal of an attempt that cannot go through in time. It reads and changes nothing.
"""

WaitForChange = Callable[[Collection[str], int, float], int]
"""`earmark.ledger.store.Store.watch`."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Through(Generic[T_co]):
    """An attempt went through."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Blocked(Generic[T_co]):
    """An attempt was refused, and the caller would rather wait than give up."""

    refusal: BudgetExceeded
    give_up: Callable[[], T_co]
    """What to do when no time is left: raise the refusal, or ask for less. For tasks: awaitable."""
    line: QueueLine = "held"
    """`spent` where only the end of the window can help, so that nobody is held up."""


def blocked_by(
    refusal: BudgetExceeded, give_up: Callable[[], T], *, instant: int, left_ns: int
) -> Blocked[T] | None:
    """Return how to wait, from *instant* for at most *left_ns*, or nothing if that cannot help.

    What is held may come back; what is spent comes back when its window ends. `too_large`, `paused`
    and `unpriced` take a person.
    """
    if refusal.reason is Reason.HELD:
        return Blocked(refusal, give_up)
    resets = refusal.resets_at
    if refusal.reason is not Reason.EXHAUSTED or resets is None:
        return None
    in_time = from_datetime(resets) - instant < left_ns
    return Blocked(refusal, give_up, "spent") if in_time else None


class Turns:
    """The queue of one store in this process; shared by its façades, threads and tasks."""

    def __init__(
        self,
        clock: Clock,
        wait: WaitForChange,
        preview: PreviewOf | None = None,
        reservation: ReservationOf | None = None,
    ) -> None:
        """Wait by *clock*; *wait* tells when any process commits to the store.

        Where *preview* can be asked, who is behind others is refused at once if it never fits;
        where *reservation* can, who repeats an accepted reserve does not wait.
        """
        self._clock = clock
        self._preview = preview
        self._reservation = reservation
        self._closed: str | None = None
        self._queue = AdmissionQueue()
        self._watch = Watch(self._queue, wait)

    def note(self, decisions: Iterable[Decision | None]) -> None:
        """Let those try again for whom *decisions*, just committed here, may have made room."""
        if self._queue.empty:
            return
        for decision in decisions:
            if not isinstance(decision, Accepted):
                continue
            if decision.budget is not None:
                self._queue.reopen((decision.budget.path,))
            elif decision.entry.kind not in _ONLY_TAKES:
                self._queue.wake(ancestors(decision.entry.budget))

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._queue.waiting

    def close(self, store: str) -> None:
        """End every wait, now and later, with `StoreClosed` of *store*."""
        self._closed = store
        self._queue.wake_all()

    def preview(
        self, budget: str, amounts: Amounts, **how: Unpack[PreviewOptions]
    ) -> BudgetExceeded | None:
        """Return how *amounts* on *budget* would be refused as the books are now; reads only.

        Nothing where they fit.
        """
        if self._preview is None:
            return None
        (refused,) = self._preview(budget, (amounts,), self._clock.instant(), **how)
        error = None if refused is None else as_error(refused)
        return error if isinstance(error, BudgetExceeded) else None

    def check_limited(self, budget: str) -> None:
        """Raise `NoBudget` if no budget on the path *budget* has a limit; reads only."""
        if self._preview is not None:
            (refused,) = self._preview(budget, (Amounts(0, 0, 0),), self._clock.instant())
            if refused is not None and refused.why == "no_budget":
                raise as_error(refused)

    def check_waits(self, refused: BudgetExceeded | None, wait_ns: int) -> None:
        """Raise *refused* if waiting for *wait_ns* cannot help."""
        if refused is None:
            return
        instant = self._clock.instant()
        if blocked_by(refused, _raises(refused), instant=instant, left_ns=wait_ns) is None:
            raise refused

    def is_repeat(self, key: str) -> bool:
        """Return whether *key* opened a reservation: asked again, it takes nothing, and has room.

        What it was refused or how it fits today does not matter: it was accepted once, and gets
        that answer for ever.
        """
        return self._reservation is not None and self._reservation(key) is not None

    def _before_waiting(self, operation: Reserve, wait_ns: int) -> bool:
        if self.is_repeat(operation.key):
            return True
        self.check_waits(self.preview(operation.budget, operation.amounts), wait_ns)
        return False

    def admit(
        self, operation: Reserve, submit: Callable[[Reserve], Decision], *, wait_ns: int
    ) -> Reservation:
        """Return what *operation* opened, in line with others for *wait_ns*; blocks the thread."""
        due = self._clock.elapsed() + wait_ns

        def attempt() -> Through[Reservation] | Blocked[Reservation]:
            try:
                return Through(reservation_of(submit(operation)))
            except BudgetExceeded as refusal:
                return self._or_raise(refusal, due, _raises(refusal))

        before_waiting = partial(self._before_waiting, operation, wait_ns)
        return self.thread(
            operation.budget, attempt, wait_ns=wait_ns, before_waiting=before_waiting
        )

    async def admit_async(
        self,
        operation: Reserve,
        submit: Callable[[Reserve], Awaitable[Decision]],
        *,
        wait_ns: int,
    ) -> Reservation:
        """Return what *operation* opened, in line with others for *wait_ns*."""
        due = self._clock.elapsed() + wait_ns

        async def attempt() -> Through[Reservation] | Blocked[Awaitable[Reservation]]:
            try:
                return Through(reservation_of(await submit(operation)))
            except BudgetExceeded as refusal:
                return self._or_raise(refusal, due, _raises_awaited(refusal))

        before_waiting = partial(self._before_waiting, operation, wait_ns)
        return await self.task(
            operation.budget, attempt, wait_ns=wait_ns, before_waiting=before_waiting
        )

    def _or_raise(self, refusal: BudgetExceeded, due: int, give_up: Callable[[], T]) -> Blocked[T]:
        left = due - self._clock.elapsed()
        blocked = blocked_by(refusal, give_up, instant=self._clock.instant(), left_ns=left)
        if blocked is None:
            raise refusal
        return blocked

    async def task(
        self,
        budget: str,
        attempt: Callable[[], Awaitable[Through[T] | Blocked[Awaitable[T]]]],
        *,
        wait_ns: int,
        before_waiting: BeforeWaiting | None = None,
    ) -> T:
        """Return what *attempt* gives once it is not blocked: in FIFO order, for *wait_ns*.

        When the time is up, who is first, or never had a turn, tries once more and then gives up by
        its own means; the others get their last refusal. Who would stand behind others, and repeats
        or is refused by *before_waiting*, does not wait. A cancelled waiter leaves no trace.

        Raises:
            BudgetExceeded: From *attempt*, giving up or *before_waiting*, or the last when the time
                is up.
            StoreClosed: The ledger was closed meanwhile.
        """
        ready = asyncio.Event()
        due = self._clock.elapsed() + wait_ns
        blocked: Blocked[Awaitable[T]] | None = None
        waiter = self._queue.join(budget, _sets(ready))
        try:
            behind = not waiter.trying
            if behind and before_waiting is not None and await asyncio.to_thread(before_waiting):
                due = self._clock.elapsed()  # one attempt, whoever stands before it
            while waiter.trying or due > self._clock.elapsed():
                ready.clear()
                self._check_open()
                if not waiter.trying:
                    self._watch.ensure()
                    await _sleep(self._clock, ready, self._nap(due, blocked))
                    if not ready.is_set():
                        self._queue.retry(waiter)
                    continue
                outcome = await attempt()
                if isinstance(outcome, Through):
                    return outcome.value
                blocked = outcome
                if due <= self._clock.elapsed():
                    return await blocked.give_up()
                self._queue.blocked(waiter, blocked.refusal.budget, blocked.line)
            if blocked is not None and not self._queue.first(waiter):
                raise blocked.refusal
            outcome = await attempt()
            return outcome.value if isinstance(outcome, Through) else await outcome.give_up()
        finally:
            self._queue.leave(waiter)

    def thread(
        self,
        budget: str,
        attempt: Callable[[], Through[T] | Blocked[T]],
        *,
        wait_ns: int,
        before_waiting: BeforeWaiting | None = None,
    ) -> T:
        """Return what *attempt* gives once it is not blocked; `task` for threads."""
        ready = threading.Event()
        due = self._clock.elapsed() + wait_ns
        blocked: Blocked[T] | None = None
        waiter = self._queue.join(budget, ready.set)
        try:
            if not waiter.trying and before_waiting is not None and before_waiting():
                due = self._clock.elapsed()  # one attempt, whoever stands before it
            while waiter.trying or due > self._clock.elapsed():
                ready.clear()
                self._check_open()
                if not waiter.trying:
                    self._watch.ensure()
                    self._block(ready, self._clock.elapsed() + self._nap(due, blocked))
                    if not ready.is_set():
                        self._queue.retry(waiter)
                    continue
                outcome = attempt()
                if isinstance(outcome, Through):
                    return outcome.value
                blocked = outcome
                if due <= self._clock.elapsed():
                    return blocked.give_up()
                self._queue.blocked(waiter, blocked.refusal.budget, blocked.line)
            if blocked is not None and not self._queue.first(waiter):
                raise blocked.refusal
            outcome = attempt()
            return outcome.value if isinstance(outcome, Through) else outcome.give_up()
        finally:
            self._queue.leave(waiter)

    def _check_open(self) -> None:
        # After the event is cleared: a close that comes later sets it.
        if self._closed is not None:
            raise StoreClosed(store=self._closed, detail="closed")

    def _nap(self, due: int, blocked: Blocked[T] | None) -> int:
        """Return how long to sleep if nothing changes: to the deadline or the end of the window."""
        left = due - self._clock.elapsed()
        if blocked is None or blocked.refusal.resets_at is None:
            return left
        reset = from_datetime(blocked.refusal.resets_at) - self._clock.instant()
        # Never zero: somebody older may still stand before it when the window has ended.
        return min(left, max(reset, _LOOK_EVERY_NS))

    def _block(self, ready: threading.Event, until: int) -> None:
        # In slices: the injected clock may not run at the speed of the thread's own.
        while not ready.is_set() and (left := until - self._clock.elapsed()) > 0:
            ready.wait(min(left / NANOS_PER_SECOND, LOOK_EVERY_S))


class Watch:
    """Waits for commits of other processes while somebody waits; no thread lives otherwise."""

    def __init__(self, queue: AdmissionQueue, wait: WaitForChange) -> None:
        self._queue = queue
        self._wait = wait
        self._seen = _NEVER
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ensure(self) -> None:
        """Watch the store until nobody waits any more."""
        with self._lock:
            if self._thread is None:
                self._seen = _NEVER
                self._thread = threading.Thread(target=self._run, name="earmark-watch", daemon=True)
                self._thread.start()

    def poll(self) -> None:
        """Let those who wait try again if the store changed since the last look, or soon does."""
        seen = self._wait(self._queue.trees, self._seen, WATCH_FOR_S)
        if seen != self._seen:
            self._seen = seen
            self._queue.reopen()

    def _run(self) -> None:
        pause = threading.Event()
        while self._goes_on():
            try:
                self.poll()
            except EarmarkError:
                # A store that cannot be read now is asked again.
                pause.wait(LOOK_EVERY_S)

    def _goes_on(self) -> bool:
        with self._lock:
            if not self._queue.waiting:
                self._thread = None
                return False
            return True


def _raises(refusal: BudgetExceeded) -> Callable[[], Reservation]:
    def give_up() -> Reservation:
        raise refusal

    return give_up


def _raises_awaited(refusal: BudgetExceeded) -> Callable[[], Awaitable[Reservation]]:
    async def give_up() -> Reservation:
        raise refusal

    return give_up


def _sets(ready: asyncio.Event) -> Callable[[], None]:
    """Return what sets *ready* of a task of this loop, from any thread."""
    loop = asyncio.get_running_loop()

    def notify() -> None:
        # A closed loop has nobody left to wake.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ready.set)

    return notify


async def _sleep(clock: Clock, ready: asyncio.Event, nanos: int) -> None:
    """Return when *ready* is set or *nanos* have passed on *clock*."""
    alarm = asyncio.ensure_future(clock.sleep(nanos / NANOS_PER_SECOND))
    woken = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait((alarm, woken), return_when=asyncio.FIRST_COMPLETED)
    finally:
        alarm.cancel()
        woken.cancel()
