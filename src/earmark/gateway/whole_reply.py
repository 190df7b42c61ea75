"""Passes a whole reply back once what it cost is booked, an error of the provider's too."""

from typing import Final

import aiohttp

from earmark.admission.ticket import AsyncTicket
from earmark.errors import InvalidUsage
from earmark.gateway.answers import raw_headers, send_answer
from earmark.gateway.headers import to_client
from earmark.gateway.hold_headers import hold_headers
from earmark.gateway.kept_ids import NewIds
from earmark.gateway.key_mask import masked_headers, masked_texts
from earmark.gateway.sender import read_reply
from earmark.gateway.stream import UNREAD
from earmark.ledger.async_ledger import AsyncLedger
from earmark.serving.asgi import Send

#: What no client is sent after.
REDIRECTS: Final = range(300, 400)


async def pass_reply(
    ledger: AsyncLedger,
    response: aiohttp.ClientResponse,
    ticket: AsyncTicket,
    new: NewIds | None,
    secret: bytes,
    send: Send,
) -> None:
    """Settle a whole reply, note in the same commit what it names, and then pass it back."""
    body = await read_reply(response, secret)
    if new is not None:
        new.read_body(body)
    try:
        if not ticket.is_priced:
            raise InvalidUsage(detail=UNREAD)  # noqa: TRY301 - as a reply without a usage
        await ticket.settle(body, headers=masked_texts(dict(response.headers), secret))
    except InvalidUsage as error:
        await ticket.presume(error.detail)
    await _send_back(ledger, response, ticket, body, secret, send)


async def pass_error(
    ledger: AsyncLedger,
    response: aiohttp.ClientResponse,
    ticket: AsyncTicket,
    secret: bytes,
    send: Send,
) -> None:
    """Book an HTTP error by what it says of its cost, and pass it back; not the provider's key."""
    body = await read_reply(response, secret)
    headers = masked_texts(dict(response.headers), secret)
    failure = await ticket.fail(response.status, headers, body)
    if response.status in REDIRECTS:
        # Followed by the client, it would take the prompt elsewhere.
        raise failure
    await _send_back(ledger, response, ticket, body, secret, send)


async def _send_back(
    ledger: AsyncLedger,
    response: aiohttp.ClientResponse,
    ticket: AsyncTicket,
    body: bytes,
    secret: bytes,
    send: Send,
) -> None:
    """Send a whole reply as it came, with what it was held and booked at."""
    own = await hold_headers(ticket, ledger)
    headers = to_client(masked_headers(response.raw_headers, secret), keeps_length=True)
    await send_answer(send, response.status, headers + raw_headers(own.items()), body)
