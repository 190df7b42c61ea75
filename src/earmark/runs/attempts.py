"""Attempts at stages: their input, their turn, their payment, their lines in the statement."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from earmark.admission.call import Call, Grant
from earmark.admission.cancellation import run_to_completion
from earmark.admission.guard import AsyncGuard, Charge
from earmark.clock import Clock
from earmark.composition.nodes import RemoteStage, Stage
from earmark.errors import CallFailed, EarmarkError, NotFound, Refusal, StoreError, TooManyRepeats
from earmark.ledger.async_ledger import AsyncLedger
from earmark.money import Money
from earmark.runs.attempt import BookedAttempt, Leaf, StageAttempt, of_charge, of_reservation
from earmark.runs.cache import PureCache, cache_key
from earmark.runs.events import OnEvent, RunEvent, StageEnded, StageRetried, StageStarted
from earmark.runs.journal import JournalWriter
from earmark.runs.prepare import Prepared
from earmark.runs.recording import Recording
from earmark.runs.routing import overlay_config
from earmark.runs.shared_timeout import SharedTimeout
from earmark.runs.statement_line import NOTHING, LineOutcome, StatementLine
from earmark.runs.type_checked_call import checked_call
from earmark.stages.kinds.jsontext import Json
from earmark.stages.kinds.kind import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptTerms:
    """What holds for every attempt of a run."""

    run_id: str
    budget: str
    """The run's own budget, which every hold is on."""
    concurrency: int
    """How many attempts may be under way at once."""
    timeout_s: float
    wait_s: float | None
    """How long an attempt may wait in line for budget; None asks once."""
    max_repeats: int
    """How many attempts may repeat an earlier one of their place, over all retries together."""


class StageAttempts:
    """Makes a run's attempts: so many at once, each on its own reservation, each with its line.

    A line is written before its attempt returns, so whoever sees an output finds its line: that of
    a paid attempt in the transaction that books it, where the journal lies in the ledger's store.
    """

    def __init__(
        self,
        prepared: Prepared,
        terms: AttemptTerms,
        *,
        ledger: AsyncLedger,
        guard: AsyncGuard,
        tools: Tools,
        journal_writer: JournalWriter,
        clock: Clock,
        gate: Callable[[Call], Call],
        on_event: OnEvent | None = None,
    ) -> None:
        self._prepared = prepared
        self._terms = terms
        self._ledger = ledger
        self._guard = guard
        self._tools = tools
        self._journal_writer = journal_writer
        self._clock = clock
        self._on_event = on_event
        self._gate = gate
        self._slots = asyncio.Semaphore(terms.concurrency)
        self._cache = PureCache()
        self._numbers: dict[str, int] = {}
        self._visited: set[str] = set()
        self._repeats = 0
        self._spent = 0
        self._free_grant = _free_grant(terms.timeout_s)
        self._timeouts: dict[float, SharedTimeout] = {}

    async def run(self, node: Stage | RemoteStage, path: str, value: Json) -> Json:
        """Attempt the stage *node* once, or take its output from the cache; see `Attempts`."""
        self._count(path)
        leaf = self._prepared.leaf(node, path)
        if leaf.config is not None:
            value = overlay_config(value, leaf.config, leaf.input_type)
        key = cache_key(leaf.stage_id, value) if leaf.pure else None
        if key is None:
            return await self._in_slot(leaf, value)
        # The turn is taken inside: who waits for another's output must not keep it from running.
        output, cached = await self._cache.get(key, partial(self._in_slot, leaf, value))
        if cached:
            await self._write(self._begin(leaf).line(LineOutcome.CACHED))
        return output

    def _count(self, path: str) -> None:
        """Refuse one repeat too many: nested retries multiply, and free stages have no budget."""
        if path not in self._visited:
            self._visited.add(path)
            return
        if self._repeats >= self._terms.max_repeats:
            raise TooManyRepeats(path=path or "/", most=self._terms.max_repeats)
        self._repeats += 1

    def close(self) -> None:
        """Let go of the timers; nothing is under way any more."""
        for timeout in self._timeouts.values():
            timeout.close()

    def retried(self, event: StageRetried) -> None:
        """Tell that a part of the graph is about to be tried again."""
        self._emit(event)

    async def _in_slot(self, leaf: Leaf, value: Json) -> Json:
        await self._slots.acquire()
        release_slot = self._slots.release
        attempt = self._begin(leaf)
        recorded = self._journal_writer.shares_ledger_store and not leaf.free
        recording = Recording(attempt, self._journal_writer) if recorded else None
        try:
            if self._on_event is not None:
                self._emit(StageStarted(path=leaf.path, stage=leaf.name, attempt=attempt.number))
            call = checked_call(leaf, value, self._tools)
            if leaf.free:
                output, booked = await self._free(attempt, call)
            else:
                output, booked = await self._paid(attempt, call, recording)
        except (asyncio.CancelledError, EarmarkError) as error:
            release_slot = self._release_later
            try:
                # To the end: cancelled once more, it still gets the line of what was booked.
                _, cancelled = await run_to_completion(self._end(attempt, error, recording))
                if cancelled is not None:
                    raise cancelled from error
            except StoreError as trouble:
                # Broken books end a retry, but do not hide a refusal or a cancellation.
                if isinstance(error, CallFailed):
                    raise
                error.add_note(f"its line could not be written: {trouble}")
            if isinstance(error, CallFailed):
                raise attempt.failed(error) from error
            raise
        finally:
            release_slot()
        line = _line(attempt, None, booked, recording)
        if booked is not None or self._on_event is not None:
            await self._write(line, recording)
        elif self._journal_writer.add(line):
            await self._journal_writer.flush()
        return output

    def _release_later(self) -> None:
        # A failure first cancels those who wait beside it; only then is its turn another's.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._slots.release)

    async def _free(self, attempt: StageAttempt, call: Call) -> tuple[Json, BookedAttempt | None]:
        timeout = self._shared_timeout(attempt.leaf)
        task = timeout.enter()
        cancellations = task.cancelling()
        try:
            reply = await call.send(self._free_grant)
        except asyncio.CancelledError:
            # Cancelled by somebody else as well, it is cancelled: that must not be swallowed.
            if not timeout.is_late(task) or task.uncancel() > cancellations:
                raise
            detail = f"no answer within {self._timeout(attempt.leaf):g} s"
            raise CallFailed(detail=detail, billed="no", retryable=True) from None
        finally:
            timeout.leave(task)
        if reply.cost:
            return reply.value, await self._book_late(attempt, reply.cost)
        return reply.value, BookedAttempt(note=reply.note) if reply.note else None

    async def _paid(
        self, attempt: StageAttempt, call: Call, recording: Recording | None
    ) -> tuple[Json, BookedAttempt | None]:
        attempt.bound = call.bound
        receipt = await self._guard.spend(
            self._terms.budget,
            self._gate(call),
            key=attempt.key,
            wait=self._terms.wait_s,
            timeout=self._timeout(attempt.leaf),
            labels=attempt.labels,
            recorder=recording,
        )
        return receipt.reply.value, of_charge(receipt.charge)

    async def _book_late(self, attempt: StageAttempt, cost: Money) -> BookedAttempt:
        # Declared free, it says that it cost something: money already spent is always booked.
        budget, key = self._terms.budget, attempt.key
        await self._ledger.reserve(budget, 0, key=key, labels=attempt.labels)
        return of_reservation(await self._ledger.settle(key, cost))

    async def _end(
        self, attempt: StageAttempt, error: BaseException, recording: Recording | None
    ) -> None:
        booked = await self._booked(attempt, error)
        if isinstance(error, Refusal):
            error.add_note(f"at {attempt.leaf.path or '/'} of run {self._terms.run_id}")
        await self._write(_line(attempt, error, booked, recording), recording)

    async def _booked(self, attempt: StageAttempt, error: BaseException) -> BookedAttempt:
        """Return what the books say of an attempt that ended with *error*."""
        if isinstance(error, CallFailed):
            if isinstance(error.charge, Charge):
                return of_charge(error.charge)
            if attempt.leaf.free and error.cost:
                return await self._book_late(attempt, error.cost)
        if attempt.bound is None:
            return BookedAttempt()  # it never came to a reservation
        try:
            return of_reservation(await self._ledger.reservation(attempt.key))
        except NotFound:
            return BookedAttempt()

    async def _write(self, line: StatementLine, recording: Recording | None = None) -> None:
        """Write a line, unless that was done as its attempt was booked, and tell of it."""
        line = self._journal_writer.numbered(line)
        self._spent += line.settled.in_nanos
        if (recording is None or not recording.durable) and self._journal_writer.add(line):
            await self._journal_writer.flush()
        if self._on_event is not None:
            self._emit(StageEnded(line=line, spent=Money.nanos(self._spent)))

    def _emit(self, event: RunEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _begin(self, leaf: Leaf) -> StageAttempt:
        number = self._numbers.get(leaf.path, 0) + 1
        self._numbers[leaf.path] = number
        return StageAttempt(leaf, number, self._terms.run_id, self._clock)

    def _shared_timeout(self, leaf: Leaf) -> SharedTimeout:
        limit = self._timeout(leaf)
        timeout = self._timeouts.get(limit)
        if timeout is None:
            timeout = self._timeouts[limit] = SharedTimeout(limit)
        return timeout

    def _timeout(self, leaf: Leaf) -> float:
        timeout_s = leaf.kind.timeout_s
        return self._terms.timeout_s if timeout_s is None else timeout_s


def _line(
    attempt: StageAttempt,
    error: BaseException | None,
    booked: BookedAttempt | None,
    recording: Recording | None,
) -> StatementLine:
    """Return the line of an attempt that ended with *error*, or without one.

    It is the one that was written as it was booked: a cancellation that arrives during the booking
    makes no other ending of it.
    """
    recorded = None if recording is None else recording.line
    if recorded is not None and recorded.state == ("" if booked is None else booked.state):
        return recorded
    return attempt.ending(error, booked)


def ungated(call: Call) -> Call:
    """Return *call* as it is: nothing but its budget may keep it from being sent."""
    return call


async def _never(_: int) -> None:
    """Free calls hold nothing that could grow."""


def _free_grant(timeout_s: float) -> Grant:
    return Grant(max_output_tokens=None, timeout_s=timeout_s, available=NOTHING, produced=_never)
