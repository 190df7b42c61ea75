"""The guard: bound → reserve → call → settle, the one way money is spent.

Whatever happens to a call, its reservation is booked by what is known of its cost:

    a reply with its cost             settled to that cost, above the hold too
    a reply without a cost            presumed: the larger of the hold and the known cost is spent,
                                      and no less than the output produced can cost
    CallFailed, billed "no"           released
    CallFailed, billed "yes"          settled to its cost
    CallFailed, billed "unknown"      presumed
    a time-out, any other exception   presumed
    a ticket that was not ended       presumed
    a stream stopped at its hold      presumed; the hold is at most two steps ahead of the stream
    cancelled before it was sent      released
    cancelled while it ran            presumed, also where its loop was closed

Between any two steps a crash leaves the hold counted, until its deadline presumes it. That deadline
is later than the call can last, so no running call is ever presumed.
"""

import asyncio
import logging
from collections.abc import Generator, Mapping
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self, Unpack, overload

from msgspec.structs import replace

from earmark.admission.admission import Admission, CallTerms, wait_limit_ns
from earmark.admission.call import Call, Grant, Reply, input_counter
from earmark.admission.call_hold import CallHold, HoldRequest
from earmark.admission.charge import Charge, HoldQuote, Receipt, Recorder, check_recorder
from earmark.admission.ending import (
    ending_from_failure,
    ending_from_interruption,
    ending_from_reply,
)
from earmark.admission.ledger_adapters import TaskLedger, ThreadLedger, run_sync
from earmark.admission.policy import STRICT, Policy
from earmark.admission.quantile import OutputQuantiles
from earmark.admission.request import (
    DEFAULT_TIMEOUT,
    DEFAULT_WAIT,
    OpenOptions,
    Request,
)
from earmark.admission.ticket import AsyncTicket, Ticket
from earmark.apis.client_errors import exception_types
from earmark.clock import NANOS_PER_SECOND, Clock, parse_duration, time_limit
from earmark.errors import BudgetExceeded, CallFailed, EarmarkError, KeyReused
from earmark.errors.inputs import wrong_argument
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.ledger.requests import Duration
from earmark.ledger.undo import undo_order
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import Bound

_log = logging.getLogger(__name__)

__all__ = ["AsyncGuard", "Charge", "Guard", "Opening", "Receipt", "Recorder"]

#: How long a provider may take to count an input.
COUNT_TIMEOUT_S: Final = 5.0


class Guard:
    """Lets calls spend on budgets, and no more than those hold; share one, so that it learns.

    `Guard(ledger)` of an `AsyncLedger` is an `AsyncGuard`: the same methods, to be awaited, and
    `spend`, which makes a `Call`. A `Call` is awaited, so that there is none for threads: where a
    block is too long, docs/guard.md has it as a decorator.
    """

    @overload
    def __new__(
        cls,
        ledger: Ledger,
        *,
        policy: Policy = ...,
        book: PriceBook | None = ...,
        clock: Clock | None = ...,
        quantiles: OutputQuantiles | None = ...,
    ) -> Self: ...

    @overload
    def __new__(
        cls,
        ledger: AsyncLedger,
        *,
        policy: Policy = ...,
        book: PriceBook | None = ...,
        clock: Clock | None = ...,
        quantiles: OutputQuantiles | None = ...,
    ) -> "AsyncGuard": ...

    def __new__(
        cls,
        ledger: Ledger | AsyncLedger,
        *,
        policy: Policy = STRICT,
        book: PriceBook | None = None,
        clock: Clock | None = None,
        quantiles: OutputQuantiles | None = None,
    ) -> "Self | AsyncGuard":
        """Spend from *ledger* by *policy*, at the prices of *book*.

        Args:
            ledger: Of `earmark.open` or `earmark.open_async`.
            policy: `Strict()` holds the worst case and clamps; `Elastic()` grows a stream's hold;
                `Soft()` holds what is expected, so that overruns are possible.
            book: Prices; the price list alone unless given.
            clock: Times how long calls wait and take; the ledger's unless given.
            quantiles: How long replies are, shared between guards where given.
        """
        if isinstance(ledger, AsyncLedger):
            return AsyncGuard(ledger, policy=policy, book=book, clock=clock, quantiles=quantiles)
        if not isinstance(ledger, Ledger):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
            raise wrong_argument("the ledger", ledger, "what earmark.open or open_async opens")
        guard = super().__new__(cls)
        guard._ledger = ledger
        guard._admission = Admission(ThreadLedger(ledger), policy, book, clock, quantiles)
        return guard

    _ledger: Ledger
    _admission: Admission

    def open(
        self,
        under: str,
        request: Mapping[str, Any] | Bound | None = None,
        **options: Unpack[OpenOptions],
    ) -> Ticket:
        """Hold the most a call can cost, on the budget *under* and those above it; durable.

        Nothing is sent: send `Ticket.body`, in which the output limit stands, and end the ticket.
        What does not fit is clamped, waited for and refused, as the policy says. Interrupted
        (Ctrl-C), it holds nothing.

        Args:
            under: The path of the budget that pays.
            request: The request's JSON body, also with an SDK's objects in it, bounded by the
                table of its API; or a bound, such as `ModelBound`; or nothing, with `up_to`.
            options: What else is known of the call: `help(earmark.OpenOptions)` lists each.

        Raises:
            BudgetExceeded: It does not fit, or (`unpriced`) nothing bounds a part of it.
            NoBudget: No budget on the path has a limit.
            KeyReused: The key opened a reservation before, which is open: that call is another's.
            ReservationClosed: As `KeyReused`, and it is closed.
            InvalidUsage: It is no request of this API.
            StoreError: The books could not be written.
        """
        bounded, terms = self._admission.read(under, request, options)
        hold_request = self._admission.hold_request(bounded, terms)
        try:
            hold = run_sync(self._admission.hold(bounded, hold_request, terms))
            return Ticket(bounded.priced_at(self._admission.clock.instant()), hold)
        except KeyboardInterrupt:
            # The caller did not get the ticket, so it cannot end it.
            undo_order(self._ledger.committer, hold_request.key, hold_request.name)
            raise


class AsyncGuard:
    """The `Guard` of an `AsyncLedger`; made by `Guard(ledger)`."""

    def __init__(
        self,
        ledger: AsyncLedger,
        *,
        policy: Policy = STRICT,
        book: PriceBook | None = None,
        clock: Clock | None = None,
        quantiles: OutputQuantiles | None = None,
    ) -> None:
        """Spend from *ledger* by *policy*; see `Guard`."""
        self._admission = Admission(TaskLedger(ledger), policy, book, clock, quantiles)

    def open(
        self,
        under: str,
        request: Mapping[str, Any] | Bound | None = None,
        **options: Unpack[OpenOptions],
    ) -> "Opening":
        """Hold the most a call can cost: `await` it, or enter it by `async with`; once.

        See `Guard.open`. It is bounded now and held then. Cancelled on its way, it holds nothing.
        """
        bounded, terms = self._admission.read(under, request, options)
        return Opening(
            self._admission, bounded, self._admission.hold_request(bounded, terms), terms
        )

    def quote(
        self, under: str, request: Mapping[str, Any] | Bound, **options: Unpack[OpenOptions]
    ) -> HoldQuote:
        """Return what `open` would hold for *request* now, if it did not wait; holds nothing.

        It reads the books on the caller's thread, and says nothing of what changes afterwards.

        Raises:
            BudgetExceeded: `unpriced`, or more than `at_most`.
            NoBudget: No budget on the path has a limit.
            InvalidUsage: It is no request of this API.
        """
        bounded, terms = self._admission.read(under, request, options)
        return self._admission.quote(bounded, self._admission.hold_request(bounded, terms))

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
            timeout: How long the call may take once it is sent. A model's call is bounded by prices
                until `ModelRequest.within_s`: give it *wait* and *timeout* together.
            labels: Kept with the reservation; `stage` also tells routes of one model apart.
            recorder: Keeps a record of the call in the transaction that books it.

        Raises:
            BudgetExceeded: It was not sent, for that reason; or it was a stream, stopped because
                its hold could not grow, and the hold is presumed.
            NoBudget: No budget on the path has a limit; it was not sent.
            KeyReused, ReservationClosed: The key opened a reservation before; nothing was sent.
            CallFailed: It failed; `charge` says how that was booked.
            StoreError: The books could not be written; a hold that stands stays counted.
            asyncio.CancelledError: Once the cancelled call is booked; from the store's error, where
                it could not be.
        """
        terms = CallTerms(
            under=under,
            key=key,
            wait_ns=wait_limit_ns(wait),
            timeout_ns=parse_duration(timeout),
            labels=labels or {},
            recorder=check_recorder(recorder),
        )
        try:
            request = Request(name=call.name, bound=call.bound, streams=call.streams)
        except BudgetExceeded as refusal:
            refusal.budget = refusal.budget or under
            raise
        hold_request = self._admission.hold_request(request, terms)
        call, hold_request = await self._with_provider_count(call, hold_request)
        hold = await self._admission.hold(request, hold_request, terms)
        return await self._send(call, hold, terms.timeout_ns / NANOS_PER_SECOND)

    async def _with_provider_count(
        self, call: Call, hold_request: HoldRequest
    ) -> tuple[Call, HoldRequest]:
        """Return both with the bound of the provider's count, where the bound by bytes is refused.

        The provider is asked once, before anything is held; if that fails the bound stays.
        """
        count = input_counter(call)
        if count is None or not self._admission.would_be_refused(hold_request):
            return call, hold_request
        try:
            async with time_limit(self._admission.clock, COUNT_TIMEOUT_S):
                counted = await count(COUNT_TIMEOUT_S)
        except (CallFailed, TimeoutError) as error:
            why = error if isinstance(error, CallFailed) else type(error).__name__
            _log.warning(
                "%s is bounded by its bytes, its input was not counted: %s", call.name, why
            )
            return call, hold_request
        return counted, replace(hold_request, bound=counted.bound)

    async def _send(self, call: Call, hold: CallHold, timeout_s: float) -> Receipt:
        partial: list[Reply] = []
        grant = Grant(
            max_output_tokens=hold.amounts.max_output_tokens,
            timeout_s=timeout_s,
            available=hold.amounts.hold,
            produced=hold.produced,
            partial=partial.append,
        )
        try:
            async with time_limit(self._admission.clock, timeout_s):
                reply = await call.send(grant)
        except CallFailed as failure:
            failure.charge = await hold.end(ending_from_failure(failure))
            raise
        except TimeoutError as error:
            detail = f"{call.name} gave no answer within {timeout_s:g} s"
            raise await _presume(hold, detail, partial) from error
        except (asyncio.CancelledError, EarmarkError) as error:
            await hold.end(ending_from_interruption(error, partial))
            raise
        except GeneratorExit as error:
            hold.abandon(ending_from_interruption(error, partial))
            raise
        except Exception as error:
            detail = f"{call.name} raised {exception_types(error)}"
            raise await _presume(hold, detail, partial) from error
        return Receipt(reply, await hold.end(ending_from_reply(reply)))


class Opening:
    """A ticket on its way: `await` it, or enter it by `async with`; once."""

    __slots__ = ("_admission", "_awaited", "_hold_request", "_request", "_terms", "_ticket")

    def __init__(
        self, admission: Admission, request: Request, hold_request: HoldRequest, terms: CallTerms
    ) -> None:
        self._admission = admission
        self._request = request
        self._hold_request = hold_request
        self._terms = terms
        self._awaited = Lock()
        self._ticket: AsyncTicket | None = None

    def __await__(self) -> Generator[Any, Any, AsyncTicket]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncTicket:
        self._ticket = await self._open()
        return await self._ticket.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._ticket is not None, "a block is entered before it is left"
        await self._ticket.__aexit__(kind, exception, traceback)

    @property
    def model(self) -> str:
        """What it is priced under, `provider/model`; empty for a declared amount."""
        return self._request.labels.get("model", "")

    @property
    def is_declared(self) -> bool:
        """Whether its caller said what it costs at most, so that no count lowers that."""
        return self._request.bound.max_output_tokens is None

    def would_be_refused(self) -> bool:
        """Return whether its first amounts do not fit now; reads only."""
        return self._admission.would_be_refused(self._hold_request)

    async def _open(self) -> AsyncTicket:
        if not self._awaited.acquire(blocking=False):
            raise KeyReused(
                key=self._hold_request.key,
                field="a ticket",
                first="opened",
                now="to be opened again",
            )
        try:
            hold = await self._admission.hold(self._request, self._hold_request, self._terms)
        except EarmarkError:
            self._awaited.release()
            raise
        return AsyncTicket(self._request.priced_at(self._admission.clock.instant()), hold)


async def _presume(hold: CallHold, detail: str, partial: list[Reply]) -> CallFailed:
    failure = CallFailed(detail=detail, note=detail, billed="unknown", retryable=True)
    failure.charge = await hold.end(ending_from_interruption(failure, partial))
    return failure
