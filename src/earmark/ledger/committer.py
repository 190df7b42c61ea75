"""How operations reach a store: one commit for all that arrived during the one before.

`DirectCommitter` applies each operation at once (memory). `GroupCommitter` gathers: there is no
timer, the running commit is the window in which the next batch forms. A lone synchronous caller
commits on its own thread; everybody else is served by the committer's thread.
"""

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from itertools import islice
from typing import Final, Protocol, final

from earmark.clock import Clock
from earmark.errors import (
    ClockStepped,
    EarmarkError,
    SchemaMismatch,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from earmark.ledger.commit_time import CommitTime
from earmark.ledger.owner_process import OwnerProcess
from earmark.ledger.store import Store
from earmark.ledger.values import Decision, Operation, Presume, Release, Settle

#: Larger batches gain little and make everybody in them wait for the last.
LARGEST_BATCH: Final = 512
#: Callers are held back at this many queued operations, so that memory stays bounded.
LONGEST_QUEUE: Final = 100_000


#: Before every entry: a store commits at the instant of its last one then.
_LAST_ENTRY: Final = 0

Committed = Callable[[Sequence[Decision]], None]


def _ignore_decisions(_: Sequence[Decision]) -> None: ...


class Committer(Protocol):
    """Takes operations from any thread or task; answers when they are durable."""

    committed: Committed
    """Told of each batch once it is durable, before the callers are answered."""
    time: CommitTime
    """The time of commits: one for all who ask, so that all know since when a clock is off."""

    def submit(self, operation: Operation) -> Decision:
        """Return the decision once it is durable; blocks the thread."""
        ...

    async def submit_async(self, operation: Operation) -> Decision:
        """Return the decision once it is durable; cancelling the wait does not undo it."""
        ...

    def close(self) -> None:
        """Commit what is queued, then refuse everything."""
        ...


class DirectCommitter:
    """Applies each operation at once, on the caller's thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.committed: Committed = _ignore_decisions
        self._store = store
        self.time = CommitTime(clock, store.name)
        self._closed = False

    def submit(self, operation: Operation) -> Decision:
        """Return the decision."""
        if self._closed:
            raise _closed(self._store)
        try:
            now = self.time.now()
        except ClockStepped:
            if not _closes(operation):
                raise
            now = _LAST_ENTRY
        decisions = self._store.apply((operation,), now)
        self.committed(decisions)
        return decisions[0]

    async def submit_async(self, operation: Operation) -> Decision:
        """Return the decision; never suspends."""
        return self.submit(operation)

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True


@final
class _PendingResult:
    """Where a thread waits for its decision."""

    __slots__ = ("decision", "error", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.decision: Decision | None = None
        self.error: EarmarkError | None = None

    def open(self, decision: Decision | None, error: EarmarkError | None) -> None:
        """Answer; the first answer counts, and an interrupted call is completed by the next."""
        if self.decision is None and self.error is None:
            self.decision = decision
            self.error = error
        try:
            self.lock.release()
        except RuntimeError:
            return

    def answer(self) -> Decision:
        self.lock.acquire()
        if self.error is not None:
            raise self.error
        assert self.decision is not None, "a gate opens with a decision or an error"
        return self.decision


# A plain pair for each operation: with hundreds of tasks, an object of its own would show.
_ResultSlot = _PendingResult | asyncio.Future[Decision]
_Submission = tuple[Operation, _ResultSlot]

#: The store cannot be used, whatever it is asked.
_EVERYBODYS: Final = (StoreUnavailable, StoreClosed, StoreCorrupt, SchemaMismatch)


class GroupCommitter:
    """Gathers operations into batches; one commit at a time, in the order of arrival.

    A caller's thread may be interrupted (Ctrl-C) at any line while it commits for others: those
    whose operations it took are answered `StoreUnavailable`, which says that the outcome is not
    known; the others are left to the committer's thread.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self.committed: Committed = _ignore_decisions
        self._store = store
        self.time = CommitTime(clock, store.name)
        self._queue: deque[_Submission] = deque()
        # Reentrant, so that whoever is interrupted can tell whether it was acquired: only its
        # owner can release it. No thread acquires it twice, see `_check`.
        self._commit_lock = threading.RLock()
        self._owner = 0
        """The thread that commits; written by the thread that has `_commit_lock`."""
        self._taken: list[_Submission] = []
        """The waiters of the running commit; only for the thread that has `_commit_lock`."""
        self._bell = threading.Lock()
        self._bell.acquire()
        self._asleep = False
        self._closed = False
        self._process = OwnerProcess()
        self._thread = threading.Thread(target=self._run, name="earmark-commit", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation) -> Decision:
        """Return the decision once it is durable; blocks the thread.

        Interrupted by an exception such as `KeyboardInterrupt`, the operation may be done or not.
        """
        self._check()
        try:
            # With nobody committing, commit here: a hand-over to the thread costs more than the
            # rules, and so does a place in the queue.
            if not self._queue and self._commit_lock.acquire(False):  # noqa: FBT003 - by name costs as much
                self._owner = threading.get_ident()
                decisions = _decide_alone(operation, self._store, self.time)
                self.committed(decisions)
                self._owner = 0
                # Who queued meanwhile has rung by himself.
                self._commit_lock.release()
                return decisions[0]
        except BaseException as error:
            self._recover(error)
            raise
        return self._submit_queued(operation)

    def _submit_queued(self, operation: Operation) -> Decision:
        if self._store.is_in_transaction:
            # Whoever commits waits for this thread's own transaction to end.
            detail = "this thread is in the middle of a transaction: call once that has ended"
            raise StoreUnavailable(store=self._store.name, detail=detail)
        gate = _PendingResult()
        try:
            self._queue.append((operation, gate))
            if self._commit_lock.acquire(blocking=False):
                self._commit()
                self._commit_lock.release()
            if self._queue:
                self._ring()
            if self._closed:
                self._refuse_late()
            return gate.answer()
        except BaseException as error:
            if gate.error is not error:
                self._recover(error)
            raise

    async def submit_async(self, operation: Operation) -> Decision:
        """Return the decision once it is durable; cancelling the wait does not undo it."""
        self._check()
        future = asyncio.get_running_loop().create_future()
        self._queue.append((operation, future))
        if self._asleep:
            self._ring()
        if self._closed:
            self._refuse_late()
        return await future

    def close(self) -> None:
        """Commit what is queued, then refuse everything."""
        self._closed = True
        if self._process.is_this:
            self._ring()
            self._thread.join()
            self._refuse_late()

    def _refuse_late(self) -> None:
        """Answer those who came while the thread was ending: nobody else would."""
        while self._queue and not self._thread.is_alive():
            try:
                waiter = self._queue.popleft()
            except IndexError:
                return
            _fail([waiter], _closed(self._store))

    def _check(self) -> None:
        if self._closed or self._process.id != os.getpid():
            self._process.check(self._store.name, closed=True)
        if len(self._queue) >= LONGEST_QUEUE:
            raise StoreUnavailable(
                store=self._store.name,
                detail=f"{LONGEST_QUEUE} operations are waiting: ask again later",
            )
        if self._owner and self._owner == threading.get_ident():
            # A signal handler or a finaliser: the commit it interrupted would wait for itself.
            detail = "this thread is in the middle of a commit: call from another thread"
            raise StoreUnavailable(store=self._store.name, detail=detail)

    def _ring(self) -> None:
        # A bell rung twice is rung once: the sleeper looks at the whole queue.
        self._asleep = False
        try:
            self._bell.release()
        except RuntimeError:
            return

    def _run(self) -> None:
        while True:
            while self._queue:
                try:
                    with self._commit_lock:
                        self._commit()
                except BaseException as error:  # noqa: BLE001 - the thread serves the next batch
                    self._recover(error)
            if self._closed:
                return
            self._asleep = True
            # Looked at again after the flag is up: whoever came before it did not ring.
            if not self._queue and not self._closed:
                self._bell.acquire()
            self._asleep = False

    def _recover(self, error: BaseException) -> None:
        """Answer those whose commit this thread broke off by *error*, and leave the rest to others.

        Safe to call wherever the thread was, with `_commit_lock` or without.
        """
        if self._owner == threading.get_ident():
            _fail(self._taken, _unknown(error, self._store))
            self._taken.clear()
            self._owner = 0
        with contextlib.suppress(RuntimeError):
            self._commit_lock.release()
        self._ring()

    def _commit(self) -> None:
        """Take a batch off the queue, decide it and answer; the caller has `_commit_lock`."""
        self._owner = threading.get_ident()
        taken = self._taken
        count = min(len(self._queue), LARGEST_BATCH)
        # One step for the interpreter: an interrupt finds each waiter in the queue or in the batch.
        taken.extend(islice(iter(self._queue.popleft, None), count))
        if taken:
            self._decide(taken)
            taken.clear()
        self._owner = 0

    def _decide(self, waiters: Sequence[_Submission]) -> None:
        """Decide *waiters* in one commit; where one of them is at fault, the others do not fail.

        What is wrong with the store is everybody's error. Anything else is somebody's: the batch is
        halved, in order, until whoever it is fails alone.
        """
        try:
            now = self.time.now()
        except ClockStepped as error:
            _fail([each for each in waiters if not _closes(each[0])], error)
            waiters = [each for each in waiters if _closes(each[0])]
            if not waiters:
                return
            now = _LAST_ENTRY
        try:
            decisions = self._store.apply([op for op, _ in waiters], now)
        except _EVERYBODYS as error:
            _fail(waiters, error)
        except Exception as error:  # noqa: BLE001 - the answer to whom it belongs
            if len(waiters) == 1:
                _fail(waiters, _as_earmark(error, self._store))
                return
            half = len(waiters) // 2
            self._decide(waiters[:half])
            self._decide(waiters[half:])
        else:
            try:
                self.committed(decisions)
            finally:
                _answer(waiters, decisions)


def _decide_alone(operation: Operation, store: Store, time: CommitTime) -> Sequence[Decision]:
    """Return the decision of *operation*, in a commit of its own; raises what its caller gets."""
    try:
        now = time.now()
    except ClockStepped:
        if not _closes(operation):
            raise
        now = _LAST_ENTRY
    try:
        return store.apply((operation,), now)
    except EarmarkError:
        raise
    except Exception as error:
        raise _as_earmark(error, store) from error


def _closes(operation: Operation) -> bool:
    """Return whether *operation* needs no clock: what it books counts where its hold was opened.

    Refused while the clock is off, the truth about a call would be lost, and its hold presumed.
    """
    return isinstance(operation, Settle | Release | Presume)


def _answer(batch: Iterable[_Submission], decisions: Iterable[Decision]) -> None:
    """Hand each waiter its decision; each event loop is woken once for all of its tasks."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Decision], Decision]]] = {}
    for (_, asker), decision in zip(batch, decisions, strict=True):
        if type(asker) is _PendingResult:
            asker.open(decision, None)
        else:
            loop = asker.get_loop()
            try:
                loops[loop].append((asker, decision))
            except KeyError:
                loops[loop] = [(asker, decision)]
    for loop, answers in loops.items():
        _call(loop, _deliver, answers)


def _fail(batch: Iterable[_Submission], error: EarmarkError) -> None:
    """Hand each waiter that has no answer yet an error of its own, equal to *error*.

    An exception that several threads raise would collect the tracebacks of all of them.
    """
    for _, asker in batch:
        own = copy(error)
        own.__cause__ = error.__cause__
        if isinstance(asker, _PendingResult):
            asker.open(None, own)
        else:
            _call(asker.get_loop(), _deliver_error, asker, own)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object) -> None:
    # The loop may be closed with tasks still waiting: what they asked for is done all the same.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *args)


def _deliver(answers: Iterable[tuple["asyncio.Future[Decision]", Decision]]) -> None:
    for future, decision in answers:
        if not future.done():
            future.set_result(decision)


def _deliver_error(future: "asyncio.Future[Decision]", error: EarmarkError) -> None:
    if not future.done():
        future.set_exception(error)


def _as_earmark(error: Exception, store: Store) -> EarmarkError:
    if isinstance(error, EarmarkError):
        return error
    # Raised while it was decided, nothing of it is kept; after the commit, all of it is.
    detail = f"it failed with {type(error).__name__}: {error}; whether it was kept is not known:"
    detail += " ask again with the same key"
    return StoreError(store=store.name, detail=detail)


def _unknown(error: BaseException, store: Store) -> StoreUnavailable:
    detail = f"interrupted by {type(error).__name__}; the outcome is unknown: ask again"
    return StoreUnavailable(store=store.name, detail=f"{detail} with the same key")


def _closed(store: Store) -> StoreClosed:
    return StoreClosed(store=store.name, detail="closed")
