"""The guard: bound → reserve → call → settle, the one way money is spent.

Whatever happens to a call, its reservation is booked by what is known of its cost:

    a reply with its cost             settled to that cost, above the hold too
    a reply without                   presumed: the whole hold counts as spent
    CallFailed, billed "no"           released
    CallFailed, billed "yes"          settled to its cost
    CallFailed, billed "unknown"      presumed
    a time-out, any other exception   presumed
    a stream stopped at its hold      presumed; the hold is at most two steps ahead of the stream
    cancelled before it was sent      released
    cancelled while it ran            presumed, also where its loop was closed

Between any two steps a crash leaves the hold counted, until its deadline presumes it. That deadline
is later than the call can last, so no running call is ever presumed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from msgspec import structs

from earmark.admission.call import Call, Grant, Reply
from earmark.admission.charge import Charge, Receipt, Recorder
from earmark.admission.entrance import Entrance, Held, Order
from earmark.admission.finish import booked
from earmark.admission.policy import (
    STRICT,
    Elastic,
    Policy,
    Soft,
    choices,
    growth,
    in_force,
    more,
)
from earmark.admission.quantile import P99, OutputQuantiles, reply_length
from earmark.clock import NANOS_PER_SECOND, Clock, parse_duration
from earmark.errors import BudgetExceeded, CallFailed, EarmarkError, InvalidAmount, StoreUnavailable
from earmark.ids import new_key
from earmark.ledger import requests
from earmark.ledger.answers import reservation_of
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.requests import Duration
from earmark.ledger.undo import book_abandoned
from earmark.ledger.values import Presume, Release, Reservation, Settle, TableRows
from earmark.money import Money
from earmark.pricing.bound import Bound
from earmark.pricing.usage import Usage

__all__ = ["Charge", "Guard", "Receipt", "Recorder"]

#: How long a call waits in line, and how long it may take, unless told otherwise.
DEFAULT_WAIT: Final = "5min"
DEFAULT_TIMEOUT: Final = "10min"
#: A hold outlives its call's time-out by this much: the time there is to book it.
GRACE_NS: Final = 60 * NANOS_PER_SECOND
#: Seconds before each repeat of a booking that a store could not take.
BOOKING_PAUSES_S: Final = (0.0, 0.1, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """A call on its way, and what its booking will need."""

    call: Call
    bound: Bound
    held: Held
    route: str
    timeout_s: float
    waited_ns: int
    started: int
    recorder: Recorder | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How a call ended: with everything a record of it says, so that a repeat says the same."""

    at: int
    failure: BaseException | None = None
    usage: Usage | None = None
    model: str | None = None
    note: str = ""


class Guard:
    """Makes calls on budgets; share one between tasks, so that it learns from all their replies."""

    def __init__(
        self,
        ledger: AsyncLedger,
        *,
        policy: Policy = STRICT,
        clock: Clock | None = None,
        quantiles: OutputQuantiles | None = None,
    ) -> None:
        """Spend from *ledger* by *policy*; *quantiles* are shared between guards where given."""
        self._ledger = ledger
        self._policy = policy
        self._clock = clock or ledger.clock
        self._quantiles = quantiles or OutputQuantiles()
        self._entrance = Entrance(ledger)

    async def spend(
        self,
        under: str,
        call: Call,
        *,
        key: str | None = None,
        wait: Duration | None = DEFAULT_WAIT,
        timeout: Duration = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - kept by the injected clock
        labels: Mapping[str, str] | None = None,
        recorder: Recorder | None = None,
    ) -> Receipt:
        """Make *call*, paid by the budget *under* and those above it; at most once.

        Args:
            under: The budget's path.
            call: What to make; bounded, not yet sent.
            key: Names this one attempt; another attempt needs another. A new one if not given.
            wait: How long to wait in line for budget; `None` asks once.
            timeout: How long the call may take once it is sent.
            labels: Kept with the reservation; `stage` also tells routes of one model apart.
            recorder: Keeps a record of the call in the transaction that books it.

        Raises:
            BudgetExceeded: It was not sent, for that reason; or it was a stream, stopped because
                its hold could not grow, and the hold is presumed.
            NoBudget: No budget on the path has a limit; it was not sent.
            KeyReused: The key opened a reservation before, which is open; it was not sent again.
            ReservationClosed: As `KeyReused`, and it is closed.
            CallFailed: It failed; `charge` says how that was booked.
            StoreError: The books could not be written; a hold that stands stays counted.
            asyncio.CancelledError: Once the cancelled call is booked; from the store's error, where
                it could not be.
        """
        timeout_ns = parse_duration(timeout)
        order = self._order(under, call, key, timeout_ns + GRACE_NS, labels or {})
        began = self._clock.elapsed()
        wait_ns = 0 if wait is None else parse_duration(wait)
        held = await self._entrance.enter(order, wait_ns=wait_ns)
        started = self._clock.elapsed()
        sent = _Sent(
            call=call,
            bound=order.bound,
            held=held,
            route=order.labels.get("stage", ""),
            timeout_s=timeout_ns / NANOS_PER_SECOND,
            waited_ns=started - began,
            started=started,
            recorder=recorder,
        )
        return await self._make(sent, self._grant(order, held, timeout_ns))

    def _order(
        self, under: str, call: Call, key: str | None, ttl_ns: int, labels: Mapping[str, str]
    ) -> Order:
        try:
            bound = call.bound
        except BudgetExceeded as refusal:
            # Only here is it known whose money an unpriced call would have been.
            refusal.budget = refusal.budget or under
            raise
        quantile = self._policy.quantile if isinstance(self._policy, Soft) else P99
        return Order(
            key=key or new_key(self._clock),
            budget=under,
            bound=bound,
            policy=in_force(self._policy, bound, streams=call.streams),
            expected=self._quantiles.expected(
                call.name, labels.get("stage", ""), parts_per_million=quantile
            ),
            ttl_ns=ttl_ns,
            labels=labels,
        )

    def _grant(self, order: Order, held: Held, timeout_ns: int) -> Grant:
        ask, produced = held.ask, _nothing_to_grow
        if isinstance(order.policy, Elastic) and ask.covered != ask.max_output_tokens:
            produced = _Stream(self._ledger, order.policy, order, held).produced
        return Grant(
            max_output_tokens=ask.max_output_tokens,
            timeout_s=timeout_ns / NANOS_PER_SECOND,
            available=ask.hold,
            produced=produced,
        )

    async def _make(self, sent: _Sent, grant: Grant) -> Receipt:
        try:
            reply = await self._send(sent, grant)
        except CallFailed as failure:
            ended = self._ended(failure, usage=failure.usage)
            failure.charge = await booked(partial(self._book_failure, sent, failure, ended))
            raise
        except TimeoutError as error:
            detail = f"{sent.call.name} gave no answer within {sent.timeout_s:g} s"
            raise await self._presumed(sent, detail) from error
        except (asyncio.CancelledError, EarmarkError) as error:
            await booked(partial(self._settle, sent, None, self._ended(error)))
            raise
        except GeneratorExit:
            book_abandoned(self._ledger.sync.committer, Presume(sent.held.reservation.key))
            raise
        except Exception as error:
            # Its type only: the text of a foreign exception may hold a prompt or a key.
            detail = f"{sent.call.name} raised {type(error).__name__}"
            raise await self._presumed(sent, detail) from error
        if reply.usage is not None:
            self._learn(sent, reply.usage)
        ended = self._ended(None, usage=reply.usage, model=reply.model, note=reply.note)
        return Receipt(reply, await booked(partial(self._settle, sent, reply.cost, ended)))

    def _ended(
        self,
        failure: BaseException | None,
        *,
        usage: Usage | None = None,
        model: str | None = None,
        note: str = "",
    ) -> _Ended:
        at = self._clock.elapsed()
        return _Ended(at=at, failure=failure, usage=usage, model=model, note=note)

    async def _send(self, sent: _Sent, grant: Grant) -> Reply:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:

            async def expire() -> None:
                await self._clock.sleep(sent.timeout_s)
                limit.reschedule(loop.time())

            alarm = asyncio.ensure_future(expire())
            try:
                return await sent.call.send(grant)
            finally:
                alarm.cancel()

    async def _book_failure(self, sent: _Sent, failure: CallFailed, ended: _Ended) -> Charge:
        if failure.billed == "no":
            release = Release(sent.held.reservation.key)
            return await self._book(sent, release, replace(ended, usage=None))
        return await self._settle(sent, failure.cost if failure.billed == "yes" else None, ended)

    async def _presumed(self, sent: _Sent, detail: str) -> CallFailed:
        failure = CallFailed(detail=detail, billed="unknown", retryable=True)
        failure.charge = await booked(partial(self._settle, sent, None, self._ended(failure)))
        return failure

    async def _settle(self, sent: _Sent, cost: Money | None, ended: _Ended) -> Charge:
        """Book *cost*, or the whole hold where nobody knows it."""
        key, usage = sent.held.reservation.key, ended.usage
        if cost is not None:
            units = None if usage is None else {"tokens": usage.tokens}
            try:
                return await self._book(sent, requests.settle(key, cost, units), ended)
            except InvalidAmount as error:
                note = f"{ended.note}; {error}" if ended.note else str(error)
                ended = replace(ended, note=note)
        return await self._book(sent, Presume(key), ended)

    async def _book(
        self, sent: _Sent, operation: Settle | Release | Presume, ended: _Ended
    ) -> Charge:
        """Do *operation*, and record in its transaction how the call ended."""
        recorder = sent.recorder
        if recorder is None:
            return _charge(sent, await self._submit(operation), ended)

        def also(rows: TableRows, done: Reservation) -> None:
            recorder.write(rows, _charge(sent, done, ended), ended.failure)

        try:
            done = await self._submit(structs.replace(operation, also=also))
        except StoreUnavailable:
            raise
        except EarmarkError:
            # What cannot be recorded was still spent. Was it refused for itself, it is again.
            return _charge(sent, await self._submit(operation), ended)
        recorder.written()
        return _charge(sent, done, ended)

    async def _submit(self, operation: Settle | Release | Presume) -> Reservation:
        """Do *operation*, again where the store could not be written: it is idempotent."""
        for pause in BOOKING_PAUSES_S:
            try:
                return reservation_of(await self._ledger.submit(operation))
            except StoreUnavailable:
                await self._clock.sleep(pause)
        return reservation_of(await self._ledger.submit(operation))

    def _learn(self, sent: _Sent, usage: Usage) -> None:
        wanted = sent.bound.max_output_tokens
        if wanted is None:
            return
        produced = usage.get("output_tokens") // choices(sent.bound)
        granted = sent.held.ask.max_output_tokens
        self._quantiles.observe(
            sent.call.name, sent.route, reply_length(produced, granted=granted, wanted=wanted)
        )


class _Stream:
    """Grows the hold of one stream ahead of what it produces."""

    __slots__ = ("_bound", "_covered", "_key", "_ledger", "_policy")

    def __init__(self, ledger: AsyncLedger, policy: Elastic, order: Order, held: Held) -> None:
        self._ledger = ledger
        self._policy = policy
        self._bound = order.bound
        self._key = order.key
        self._covered = held.ask.covered or 0

    async def produced(self, tokens: int) -> None:
        """Hold what *tokens* produced so far and one step more need; see `Grant.produced`."""
        grown = growth(self._policy, self._bound, self._covered, tokens)
        if grown <= self._covered:
            return
        cost, count = more(self._bound, self._covered, grown)
        units = None if self._bound.tokens() is None else {"tokens": count}
        await self._ledger.extend(self._key, cost, units=units)
        self._covered = grown


async def _nothing_to_grow(_: int) -> None:
    """Most holds are as large as the call can cost."""


def _charge(sent: _Sent, done: Reservation, ended: _Ended) -> Charge:
    ask = sent.held.ask
    return Charge(
        key=done.key,
        budget=done.budget,
        hold=done.amount,
        settled=done.settled or Money(),
        overrun=done.overrun,
        state=done.state,
        usage=ended.usage,
        model=ended.model,
        clamped_to=ask.max_output_tokens if ask.clamped else None,
        waited_ns=sent.waited_ns,
        duration_ns=ended.at - sent.started,
        note=ended.note,
    )
