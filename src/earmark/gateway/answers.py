"""Answers over ASGI: the gateway's own, and the refusals of each API in its form."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from earmark.apis.refusals import RefusalResponse, error_response, refusal
from earmark.errors import EarmarkError
from earmark.gateway.denied import Denied
from earmark.serving.asgi import AsgiScope, Send
from earmark.serving.connections import BREAK_OFF

RawHeaders = list[tuple[bytes, bytes]]


async def send_head(send: Send, status: int, headers: RawHeaders) -> None:
    """Begin an answer."""
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def send_body(send: Send, body: bytes, *, more: bool = False) -> None:
    """Send a part of an answer; the last one, unless there is *more*."""
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def send_answer(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """Send a whole answer."""
    await send_head(send, status, headers)
    await send_body(send, body)


def break_off(scope: AsgiScope) -> None:
    """Close the connection of a request whose answer cannot be completed."""
    extension = scope.get("extensions", {}).get(BREAK_OFF)
    if extension is not None:  # else the server does so once the application returns
        extension["now"]()


async def send_json(
    send: Send, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> None:
    """Send a JSON object."""
    encoded = json.dumps(body).encode()
    head = {"content-type": "application/json", **(headers or {})}
    length = (b"content-length", str(len(encoded)).encode())
    await send_answer(send, status, [*raw_headers(head.items()), length], encoded)


def raw_headers(pairs: Iterable[tuple[str, str]]) -> RawHeaders:
    """Return headers as they are sent."""
    return [(name.encode("ascii"), value.encode("ascii", "replace")) for name, value in pairs]


def refused(api: str, error: Exception, client: str, status: int | None = None) -> RefusalResponse:
    """Return how *api* says *error* to a client that names itself *client*.

    What its budget refuses has the *status* of its token, where that has one.
    """
    if isinstance(error, Denied):
        answer = error_response(api, error.status, error.code, error.message)
        return RefusalResponse(answer.status, {**answer.headers, **error.headers}, answer.body)
    return refusal(api, error, client, status=status)


def is_expected(error: Exception) -> bool:
    """Return whether *error* says something to the client, and is no fault of this program."""
    return isinstance(error, Denied | EarmarkError)
