"""The handle of one call that is under way: `Ticket` for threads, `AsyncTicket` for tasks.

    guard.open(…) → ticket: send ticket.body → ticket.produced(n) … → ticket.settle(reply)

Every end of a ticket is booked, once; `earmark.admission.ending` has the rules. Both classes share
`_TicketBase` and differ only in how they wait for the ledger.
"""

import asyncio
import sys
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final, Self, overload

from earmark.admission.call_hold import CallHold
from earmark.admission.charge import Charge
from earmark.admission.ending import (
    HTTP_ERRORS,
    Ending,
    check_error_status,
    decode_json,
    ending_from_body,
    ending_from_failure,
    ending_from_interruption,
    ending_from_partial_reply,
    normalized_headers,
    readable_headers,
    to_jsonable,
)
from earmark.admission.ledger_adapters import run_sync
from earmark.admission.request import Request
from earmark.apis.client_errors import http_response, never_sent
from earmark.apis.failures import Rejection, connection_failure, exception_failure, http_failure
from earmark.apis.reply_cost import request_id_of
from earmark.apis.streams import (
    ClosingEvent,
    EndReason,
    ReplyStream,
    StreamPiece,
    open_stream,
)
from earmark.apis.written_output import holds_work
from earmark.errors import CallFailed, EarmarkError, InvalidUsage, KeyReused
from earmark.errors.inputs import shown
from earmark.ledger.values import Reservation
from earmark.money import AmountLike, Money
from earmark.pricing.json_values import mapping
from earmark.pricing.usage import Usage

_NO_END: Final = "the ticket's block ended without a settlement"
_UNFINISHED: Final = "the stream ended before the reply did"

#: What a reply is settled by: the provider's JSON body, decoded or not, an SDK's reply object, the
#: counted units, or the cost in USD.
Settled = Mapping[str, Any] | bytes | Usage | AmountLike


class _TicketBase:
    """A call under way: its request, its hold, its stream."""

    __slots__ = ("_entered", "_handled", "_hold", "_request", "_stream", "body")

    def __init__(self, request: Request, hold: CallHold) -> None:
        self._request = request
        self._hold = hold
        # Handled before this call: in the chain of its client's exceptions it is no attempt.
        self._handled = sys.exception()
        self._entered = Lock()
        self._stream: ReplyStream | None = None
        self.body: dict[str, Any] = request.body_for(hold.amounts.max_output_tokens)
        """What to send: a copy of the request with its output limit in it, which nothing done to
        the request changes; empty for a declared amount."""

    def __repr__(self) -> str:
        end = "open" if self.charge is None else self.charge.state
        return f"{type(self).__name__}({self.key!r}, {end}, {self.hold} usd)"

    @property
    def key(self) -> str:
        """The key of its reservation."""
        return self._hold.reservation.key

    @property
    def hold(self) -> Money:
        """What is held for it, growth included."""
        return self._hold.reservation.amount

    @property
    def reservation(self) -> Reservation:
        """Its reservation, as of the last answer of the ledger."""
        return self._hold.reservation

    @property
    def is_priced(self) -> bool:
        """Whether its reply has a price, so that it can be fed and settled by what it counts."""
        return self._request.priced is not None

    @property
    def max_output_tokens(self) -> int | None:
        """The output limit to send, per choice; `None` for a declared amount."""
        return self._hold.amounts.max_output_tokens

    @property
    def clamped_to(self) -> int | None:
        """`max_output_tokens` where that is less than was requested, else `None`."""
        return self._hold.amounts.max_output_tokens if self._hold.amounts.clamped else None

    @property
    def grows(self) -> bool:
        """Whether its hold grows with its stream, and is not the most there can be yet."""
        return self._hold.grows

    @property
    def charge(self) -> Charge | None:
        """How it was booked; `None` while it is open."""
        return self._hold.charge

    def closing_events(self, reason: EndReason = "max_output_tokens") -> list[ClosingEvent]:
        """Return the events that end its stream here, for a client to read it as cut and whole."""
        return [] if self._stream is None else self._stream.closing_events(reason)

    def _enter(self) -> None:
        if self._hold.ending is not None or not self._entered.acquire(blocking=False):
            raise KeyReused(
                key=self.key, field="a ticket", first="entered or ended", now="to be entered"
            )

    def _feed(self, event: object, name: str) -> tuple[StreamPiece, int]:
        """Add *event* to the stream; return its piece, and the most tokens produced so far."""
        api, priced, most = self._request.api, self._request.priced, self.max_output_tokens
        if priced is None:
            raise InvalidUsage(detail="a declared amount has no stream that can be read")
        if self._stream is None:
            self._stream = open_stream(api, choices=priced.choices, encoding=priced.encoding)
        piece, tokens = self._stream.feed(to_jsonable(event), name), self._stream.produced_tokens
        return piece, tokens if most is None else min(tokens, most * priced.choices)

    def _reply_ending(
        self,
        reply: object,
        units: Mapping[str, int] | None,
        headers: Mapping[str, str] | None,
    ) -> Ending:
        headers = normalized_headers(headers)
        if reply is not None:
            return ending_from_body(reply, self._request.priced, units=units, headers=headers)
        if self._stream is None:
            raise InvalidUsage(detail="give the reply, its usage or its cost to settle by")
        if self._stream.finished:
            return ending_from_body(self._stream.reply(), self._request.priced, headers=headers)
        # A usage before the end is that of a part.
        return self._presumption(_UNFINISHED)

    def _presumption(
        self,
        note: object,
        failure: BaseException | None = None,
        *,
        partial: Mapping[str, Any] | None = None,
    ) -> Ending:
        """Return the presumption of the call, at no less than the cost of its stream's usage.

        Without a stream, *partial* is the part of its reply that arrived.
        """
        note = note if isinstance(note, str) else shown(note)
        if self._request.is_free:
            return Ending(booking="settle", cost=Money(), note=note, failure=failure)
        ending = Ending(booking="presume", note=note, failure=failure)
        priced = self._request.priced
        if self._stream is not None:
            partial = self._stream.partial_reply()
        if partial is None or priced is None:
            return ending
        return ending_from_partial_reply(partial, priced, ending)

    def _unended(self, exception: BaseException | None) -> Ending:
        """Return the ending of a ticket whose block was left before it ended."""
        if exception is None:
            return self._presumption(_NO_END)
        return self._presumption(ending_from_interruption(exception).note, exception)

    def _failure(
        self, status: int | BaseException, headers: Mapping[str, str] | None, body: object
    ) -> CallFailed:
        """Return how the call failed, by the HTTP error of its response or by an exception."""
        if not isinstance(status, BaseException):
            return self._rejection(status, headers, body)
        if headers is not None or body is not None:
            raise InvalidUsage(detail="an exception has its own headers and body: give it alone")
        error, answer = status, http_response(status, handled=self._handled)
        if answer is not None and answer.status in HTTP_ERRORS:
            failure = self._rejection(answer.status, readable_headers(answer.headers), answer.body)
            if failure.billed == "no" and not answer.is_first:
                failure.billed = "unknown"
            return failure
        unsent = answer is None and never_sent(error, handled=self._handled)
        if unsent and not self._was_answered:
            return connection_failure(self._provider, error)
        body = None if answer is None else answer.body
        return self._with_known_cost(exception_failure(self._provider, error), body)

    def _rejection(
        self, status: int, headers: Mapping[str, str] | None, body: object
    ) -> CallFailed:
        headers, answer = normalized_headers(headers), decode_json(body)
        failure = http_failure(
            Rejection(
                provider=self._provider,
                host=self._request.host,
                status=check_error_status(status),
                headers=headers,
                body=answer,
            )
        )
        failure.request_id = request_id_of({}, headers)
        if failure.billed == "no" and (self._was_answered or holds_work(mapping(answer))):
            failure.billed = "unknown"
        return self._with_known_cost(failure, answer)

    def _with_known_cost(self, failure: CallFailed, answer: object) -> CallFailed:
        """Return *failure* with the known cost of its stream, or of its *answer*."""
        if self._request.is_free:
            failure.billed = "no"
            return failure
        partial = mapping(decode_json(answer))
        shows_work = holds_work(partial)
        if self._stream is not None or (shows_work and self._request.priced is not None):
            known = self._presumption("", partial=partial if shows_work else None)
            failure.usage, failure.known_cost = known.usage, known.cost
            failure.unknown, failure.model = known.unknown, known.model
            failure.request_id = failure.request_id or known.request_id
        return failure

    @property
    def _provider(self) -> str:
        return self._request.provider or self._request.name

    @property
    def _was_answered(self) -> bool:
        """Whether a reply began: its input was processed by then, even without output."""
        return self._stream is not None or self._hold.produced_tokens > 0

    def _release_ending(self) -> Ending:
        if self._was_answered:
            began = f"a call whose reply began ({self._hold.produced_tokens} tokens) was sent"
            raise InvalidUsage(detail=f"{began}: settle or presume it")
        return Ending(booking="release")


class Ticket(_TicketBase):
    """The hold of one call on a `Ledger`, from `Guard.open` to its one end.

    Send `body`, report a stream's progress, and end it by `settle`, `fail`, `presume` or `release`.
    Each end is durable when it returns and books once: repeated with the same content it gives the
    same charge, with other content it raises `KeyReused`. As a block, a ticket that was not ended
    inside, or was left by an exception, is presumed: its whole hold counts as spent until somebody
    settles its key truly. So it is at its deadline, should the process die.
    """

    __slots__ = ()

    def produced(self, tokens: int) -> None:
        """Report that a stream has produced so many output *tokens* so far, of all choices.

        An elastic hold grows ahead of the stream, and a hold's deadline moves on while its stream
        does. Call it for each piece: nearly always it costs nothing.

        The largest number counts. A call that is presumed, is so at no less than that many tokens
        can cost, above the hold too. A usage with less than an eighth of them is not believed but
        presumed (the first 64 are no evidence), so give a count of tokens, not of characters.

        Raises:
            BudgetExceeded: The hold cannot grow: stop the stream, and leave the block or `presume`.
            ReservationClosed: The same, of an elastic hold that is past its deadline (no call came
                for as long as `timeout`, and a minute) or was closed by its key.
            InvalidUsage: *tokens* is no count.
            StoreError: The books could not be written: the hold did not grow; call again, or stop.
                A deadline that could not be moved raises nothing.
        """
        run_sync(self._hold.produced(tokens, counted=True))

    def feed(self, event: object, name: str = "") -> StreamPiece:
        """Read one event of the reply's stream, decoded or an SDK's; *name* is its `event:` field.

        Returns the text it wrote. Its output counts as by `produced`, by its bytes, as a token has
        at least one, and up to `max_output_tokens`. That may be six times the tokens, so it makes
        no usage doubtful, and what an elastic hold could not grow to is not presumed. Once the
        stream has ended, `settle()` settles by what its events add up to.

        Raises:
            BudgetExceeded, ReservationClosed, StoreError: As `produced`.
            InvalidUsage: A declared amount has no stream.
        """
        piece, tokens = self._feed(event, name)
        run_sync(self._hold.produced(tokens))
        return piece

    def settle(
        self,
        reply: Settled | Any = None,  # noqa: ANN401 - also an SDK's object, whose type is its own
        *,
        units: Mapping[str, int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Charge:
        """Book what the call cost, by its *reply*, at the prices of when it was let in.

        It is booked in full, also above the hold. Where the reply leaves the cost in doubt (no
        usage, a counter nobody priced, another model, far fewer tokens than were `produced`), the
        larger of the hold and what is known counts, presumed: `Charge.note` says why, and the
        output may be used.

        Args:
            reply: The provider's body, decoded or as bytes, or an SDK's reply object; or the
                `Usage`; or the cost in USD. What was fed, if not given.
            units: Counts that the reply does not tell, `{"calls": 2}`; else they are as held.
            headers: The reply's headers: they name the request.

        Raises:
            KeyReused: The ticket ended otherwise.
            InvalidUsage, InvalidAmount: *reply* is nothing to settle by; the ticket stays open.
            StoreError: The books could not be written: call again.
        """
        return run_sync(self._hold.end(self._reply_ending(reply, units, headers)))

    @overload
    def fail(self, error: BaseException, /) -> CallFailed: ...

    @overload
    def fail(
        self, status: int, headers: Mapping[str, str] | None = None, body: object = None
    ) -> CallFailed: ...

    def fail(
        self,
        status: int | BaseException,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> CallFailed:
        """Book that the call failed, by the exception its client raised or the HTTP error *status*.

        What providers describe as a rejection before any work is released, and so is what is known
        not to have been sent. Everything else is presumed: any other exception, any error after the
        reply began or whose body holds output or a usage, and where the exception shows an attempt
        before it. Give the exception that sending `body` raised, and no other. The failure, to be
        raised, says which by `billed`, whether another try may help by `retryable` and
        `retry_after`, and has the `charge`.

        Raises:
            InvalidUsage: *status* is no error, or a header no text; the ticket stays open.
            KeyReused, StoreError: As `settle`.
        """
        failure = self._failure(status, headers, body)
        failure.charge = run_sync(self._hold.end(ending_from_failure(failure)))
        return failure

    def presume(self, note: str = "") -> Charge:
        """Book that the call's cost is unknown, *note* saying why: the whole hold is spent.

        The note is kept, up to 200 characters of it: give no key and no prompt. No less is spent
        than the usage of the fed stream costs, and the output that was `produced` can cost.

        Raises:
            KeyReused, StoreError: As `settle`.
        """
        return run_sync(self._hold.end(self._presumption(note)))

    def release(self) -> Charge:
        """Release the hold: the call was never sent, or is certainly not billed.

        Raises:
            InvalidUsage: Its reply began: an event was fed, or output was produced.
            KeyReused, StoreError: As `settle`.
        """
        return run_sync(self._hold.end(self._release_ending()))

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, _: object, exception: BaseException | None, __: object) -> None:
        run_sync(self._hold.close(self._unended(exception)))


class AsyncTicket(_TicketBase):
    """The `Ticket` of an `AsyncLedger`; cancelled while it books, it is booked first."""

    __slots__ = ()

    async def produced(self, tokens: int) -> None:
        """Report that a stream has produced so many output *tokens*; see `Ticket.produced`."""
        await self._hold.produced(tokens, counted=True)

    async def feed(self, event: object, name: str = "") -> StreamPiece:
        """Read one decoded event of the reply's stream; see `Ticket.feed`."""
        piece, tokens = self._feed(event, name)
        await self._hold.produced(tokens)
        return piece

    async def settle(
        self,
        reply: Settled | Any = None,  # noqa: ANN401 - also an SDK's object, whose type is its own
        *,
        units: Mapping[str, int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Charge:
        """Book what the call cost, by its *reply*; see `Ticket.settle`."""
        return await self._hold.end(self._reply_ending(reply, units, headers))

    @overload
    async def fail(self, error: BaseException, /) -> CallFailed: ...

    @overload
    async def fail(
        self, status: int, headers: Mapping[str, str] | None = None, body: object = None
    ) -> CallFailed: ...

    async def fail(
        self,
        status: int | BaseException,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> CallFailed:
        """Book that the call failed, by an exception or an HTTP error; see `Ticket.fail`."""
        failure = self._failure(status, headers, body)
        failure.charge = await self._hold.end(ending_from_failure(failure))
        return failure

    async def presume(self, note: str = "") -> Charge:
        """Book that the call's cost is unknown; see `Ticket.presume`."""
        return await self._hold.end(self._presumption(note))

    async def release(self) -> Charge:
        """Release the hold: the call was never sent, or is certainly not billed."""
        return await self._hold.end(self._release_ending())

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(self, _: object, exception: BaseException | None, __: object) -> None:
        if isinstance(exception, GeneratorExit):
            self._hold.abandon(self._unended(exception))
            return
        try:
            await self._hold.close(self._unended(exception))
        except EarmarkError as error:
            if isinstance(exception, asyncio.CancelledError):
                # A swallowed cancellation would be lost to the task that cancelled.
                raise exception from error
            raise
