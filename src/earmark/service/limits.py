"""Limits of every request: a known host, a body of bounded size and time, strict headers."""

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earmark.service.problems import ProblemError
from earmark.serving.hosts import HostNames, named_host

#: Nothing from elsewhere and nothing inline: a task's text can never become a script.
CONTENT_POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: Where a route says nothing else: what is true now is not to be kept.
CACHING: Final = "no-store"
#: Bytes of a request's body.
LARGEST_BODY: Final = 1 << 20
_MOST: Final = f"a request has at most {LARGEST_BODY:,} bytes"
#: Asked for under whatever name an orchestrator has for this machine; they tell nobody anything.
PROBES: Final = frozenset({"/livez", "/readyz", "/health"})
#: Of these one value counts: which of two a proxy between has checked is not known.
_SINGLE: Final = ("authorization", "idempotency-key")
_DIGITS: Final = 10
_LONGEST_LOGGED: Final = 100
_LOG: Final = logging.getLogger("earmark.service")
_RULES: Final = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_UNKEPT: Final = [(b"cache-control", CACHING.encode())]


class RequestLimits:
    """ASGI middleware around everything, error answers included."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], body_s: float) -> None:
        """Answer requests for *hosts*: names, `*.example.com`, or `*` for every one.

        A body may take *body_s* seconds, however it is divided.
        """
        self._app = app
        self._body_s = body_s
        self._hosts = HostNames(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its host is known; a page of another site cannot pose as one."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        wrong = (
            self._wrong_host(headers.getlist("host"), scope["path"])
            or _repeated(headers)
            or _too_large(headers)
        )
        answer = wrong.answer() if wrong else self._app
        if scope["method"] == "HEAD":
            # Whatever can be got can be asked for without its body: monitors do.
            scope, send = {**scope, "method": "GET"}, _headless(send)
        await answer(scope, _limited(scope, receive, self._body_s), _strict(send))

    def _wrong_host(self, host_headers: list[str], path: str) -> ProblemError | None:
        host = named_host(host_headers)
        if not host:
            return ProblemError(400, "input_error", "the request names no host, or not just one")
        if host in self._hosts or path in PROBES:
            return None
        detail = "this service does not answer to that host name: see [service] allowed_hosts"
        return ProblemError(421, "wrong_host", detail)


def _strict(send: Send) -> Send:
    """Return *send*, which tells browsers to be strict."""

    async def strict(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"]
            known = any(name == b"cache-control" for name, _ in headers)
            # Routes set none of these; were they there twice, the stricter one would count.
            message["headers"] = [*headers, *_RULES, *([] if known else _UNKEPT)]
        await send(message)

    return strict


def _headless(send: Send) -> Send:
    """Return *send*, which sends an answer's head and nothing after it."""
    done = False

    async def headless(message: Message) -> None:
        nonlocal done
        if message["type"] == "http.response.start":
            await send(message)
        elif not done:
            done = True
            # A stream's body has no end: it is over here, and the stream hears of it.
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return headless


def _repeated(headers: Headers) -> ProblemError | None:
    for name in _SINGLE:
        if len({value.strip() for value in headers.getlist(name)}) > 1:
            detail = f"the header '{name}' comes twice with different values: send one"
            return ProblemError(400, "repeated_header", detail)
    return None


def _too_large(headers: Headers) -> ProblemError | None:
    length = headers.get("content-length", "0")
    if length.isdecimal() and len(length) < _DIGITS and int(length) <= LARGEST_BODY:
        return None
    return ProblemError(413, "too_large", _MOST)


def _limited(scope: Scope, receive: Receive, body_s: float) -> Receive:
    """Return *receive*, which ends a body that is too large, too slow, or broken off."""
    size = 0
    complete = False
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + body_s

    async def measured() -> Message:
        nonlocal size, complete
        try:
            # After the body, only the end of the connection is waited for.
            async with asyncio.timeout_at(None if complete else ends_at):
                message = await receive()
        except TimeoutError:
            slow = f"the request did not arrive within {body_s:g} s"
            raise HTTPException(408, slow, {"Connection": "close"}) from None
        if message["type"] == "http.disconnect" and not complete:
            _LOG.warning(
                "%s %r: the connection ended before the request was complete", *_target(scope)
            )
        size += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if size > LARGEST_BODY:
            # FastAPI passes this one on; of any other it would say that the body cannot be read.
            raise HTTPException(413, _MOST)
        return message

    return measured


def _target(scope: Scope) -> tuple[str, str]:
    return scope["method"], scope["path"][:_LONGEST_LOGGED]
