"""Passes a stream of events back as it comes, and counts what it costs on its way."""

import asyncio
from contextlib import suppress
from typing import Final

import aiohttp

from earmark.admission.charge import Charge
from earmark.admission.ticket import AsyncTicket
from earmark.apis.streams import ClosingEvent
from earmark.errors import BudgetExceeded, InvalidUsage, ReservationClosed
from earmark.gateway.answers import raw_headers, send_body, send_head
from earmark.gateway.events import EventSplitter, RawEvent, encoded, is_last
from earmark.gateway.headers import to_client
from earmark.gateway.json_array import ArraySplitter, encoded_elements
from earmark.gateway.kept_ids import NewIds
from earmark.gateway.key_mask import StreamMask, masked, masked_headers
from earmark.gateway.peer import Peer
from earmark.pricing.json_values import mapping
from earmark.serving.asgi import Send

#: The media type of a stream of events, and of one that is a JSON array.
EVENTS: Final = "text/event-stream"
ARRAY: Final = "application/json"
#: How long a provider is waited for that said its last word, and how much more it may say: its
#: connection serves the next request if it ends by then.
_TAIL_S: Final = 1.0
_LONGEST_TAIL: Final = 1 << 16
UNREAD: Final = "the request bounded itself, and nothing reads what its reply cost"


def content_type_of(response: aiohttp.ClientResponse) -> str:
    """Return the media type of a reply, without its parameters."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


class CutShort(Exception):
    """The hold of a stream cannot grow any further; what came until then was passed on."""

    def __init__(self, passed: bytes) -> None:
        super().__init__()
        self.passed = passed


class StreamPass:
    """One stream on its way from a provider to a client.

    The event by which its client knows that it ended waits until the stream is settled: whoever has
    read it to its end finds its cost in the books. That the provider closes is not waited for.
    """

    def __init__(
        self,
        ticket: AsyncTicket,
        new: NewIds | None,
        *,
        hides_usage: bool,
        is_array: bool,
        secret: bytes,
    ) -> None:
        self._ticket = ticket
        self._new = new
        self._hides_usage = hides_usage
        self._splitter = ArraySplitter(secret) if is_array else EventSplitter(secret)
        self._waiting: list[bytes] = []
        """The last event, and what came after it in the same piece."""

    @property
    def has_ended(self) -> bool:
        """Whether the event came by which its client knows that it ended."""
        return bool(self._waiting)

    async def feed(self, chunk: bytes) -> bytes:
        """Count what *chunk* says; return what passes on.

        Raises:
            CutShort: Its hold cannot grow.
            InvalidUsage: It is no stream of events.
        """
        passed: list[bytes] = []
        for event in self._splitter.feed(chunk):
            if self._waiting or event.ends_stream or is_last(event.data):
                await self._count(event, self._waiting)
            else:
                await self._count(event, passed)
        if not passed:
            # Bytes that are no whole event show as well that it goes on.
            await self._ticket.produced(0)
        return b"".join(passed)

    async def end(self) -> bytes:
        """Count what came after the last whole event; return it after what waits."""
        for event in self._splitter.end():
            await self._count(event, self._waiting)
        return b"".join(self._waiting)

    async def _count(self, event: RawEvent, passed: list[bytes]) -> None:
        if event.data is None:
            passed.append(event.raw)
            await self._ticket.produced(0)
            return
        if self._new is not None:
            self._new.read(event.data)
        try:
            piece = await self._ticket.feed(event.data, event.name)
        except (BudgetExceeded, ReservationClosed):
            raise CutShort(b"".join([*passed, event.raw])) from None
        if not (piece.is_usage_only and self._hides_usage):
            passed.append(event.raw)


async def pass_stream(
    response: aiohttp.ClientResponse,
    ticket: AsyncTicket,
    own: dict[str, str],
    new: NewIds | None,
    peer: Peer,
    send: Send,
    *,
    hides_usage: bool,
    secret: bytes,
) -> None:
    """Pass the events of *response* to the client as they come, and settle by what they say.

    A client that goes away: where that stops billing and the hold has grown with the stream, the
    connection to the provider is closed; else it is read to its end, for the exact bill.
    """
    headers = to_client(masked_headers(response.raw_headers, secret), keeps_length=False)
    await send_head(send, response.status, headers + raw_headers(own.items()))
    if ticket.grows:
        peer.on_gone = response.close
        if peer.gone:
            response.close()
    is_array = content_type_of(response) != EVENTS
    passing = StreamPass(ticket, new, hides_usage=hides_usage, is_array=is_array, secret=secret)
    try:
        async for chunk in response.content.iter_any():
            passed = await passing.feed(chunk)
            if passed:
                await send_body(send, passed, more=True)
            if passing.has_ended:
                break
        rest = await passing.end()
    except CutShort as cut:
        response.close()
        events = [each for each in ticket.closing_events() if not (hides_usage and _is_usage(each))]
        closing = encoded_elements(events) if is_array else encoded(events)
        await ticket.presume("the hold of the stream could not grow: it was ended here")
        await send_body(send, cut.passed + closing)
        return
    except aiohttp.ClientError:
        if not (peer.gone and ticket.grows):
            raise
        await ticket.presume("the client left, and the stream was closed")
        return
    finally:
        peer.on_gone = None
    await _settle(ticket)
    await send_body(send, rest, more=True)
    await _pass_tail(response, secret, send)
    await send_body(send, b"")


async def _pass_tail(response: aiohttp.ClientResponse, secret: bytes, send: Send) -> None:
    """Pass what comes after the last event, until the stream or the patience with it ends."""
    size = 0
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(_TAIL_S):
            async for late in response.content.iter_any():
                size += len(late)
                if size > _LONGEST_TAIL:
                    return
                await send_body(send, masked(late, secret), more=True)


async def pass_unread_stream(
    response: aiohttp.ClientResponse,
    ticket: AsyncTicket,
    own: dict[str, str],
    send: Send,
    *,
    secret: bytes,
) -> None:
    """Pass the events of *response* to the client as they come, unread, and presume its hold."""
    headers = to_client(masked_headers(response.raw_headers, secret), keeps_length=False)
    await send_head(send, response.status, headers + raw_headers(own.items()))
    mask = StreamMask(secret)
    async for chunk in response.content.iter_any():
        await ticket.produced(0)  # its hold lives as long as bytes flow
        await send_body(send, mask.feed(chunk), more=True)
    await ticket.presume(UNREAD)
    await send_body(send, mask.end())


def _is_usage(event: ClosingEvent) -> bool:
    """Return whether *event* is the chunk of a chat stream that has its usage and nothing else."""
    return not mapping(event[1]).get("choices", True)


async def _settle(ticket: AsyncTicket) -> Charge:
    try:
        return await ticket.settle()
    except InvalidUsage as error:  # not one event came
        return await ticket.presume(error.detail)
