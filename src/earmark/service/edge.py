"""What every request passes: a known host, a body of a size, and browsers told to be strict."""

from collections.abc import Collection
from typing import Final

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earmark.service.auth import host_of
from earmark.service.problems import Problem

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
_DIGITS: Final = 10
_STRICT: Final = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_UNKEPT: Final = [(b"cache-control", CACHING.encode())]
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class Edge:
    """ASGI middleware around everything, error answers included."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        """Answer requests for *hosts*: names, `*.example.com`, or `*` for every one."""
        self._app = app
        self._names = frozenset(host.lower() for host in hosts if not host.startswith("*"))
        self._endings = tuple(host[1:].lower() for host in hosts if host.startswith("*."))
        self._any = "*" in hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its host is known; a page of another site cannot pose as one."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"]
                known = any(name == b"cache-control" for name, _ in given)
                # Routes set none of these; were they there twice, the stricter one would count.
                message["headers"] = [*given, *_STRICT, *([] if known else _UNKEPT)]
            await send(message)

        headers = Headers(scope=scope)
        wrong = self._wrong_host(headers.getlist("host")) or _too_large(headers)
        await (wrong.answer() if wrong else self._app)(scope, _limited(receive), strict)

    def _wrong_host(self, given: list[str]) -> Problem | None:
        host = host_of(given[0]).lower() if len(given) == 1 else ""
        if not host:
            return Problem(400, "input_error", "the request names no host, or not just one")
        if self._any or host in self._names or host.endswith(self._endings):
            return None
        detail = "this service does not answer to that host name: see [service] allowed_hosts"
        return Problem(421, "wrong_host", detail)


def _too_large(headers: Headers) -> Problem | None:
    length = headers.get("content-length", "0")
    if length.isdecimal() and len(length) < _DIGITS and int(length) <= LARGEST_BODY:
        return None
    return Problem(413, "too_large", _MOST)


def _limited(receive: Receive) -> Receive:
    """Return *receive*, which ends a body that comes in pieces when they are too much."""
    size = 0

    async def measured() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > LARGEST_BODY:
            # FastAPI passes this one on; of any other it would say that the body cannot be read.
            raise HTTPException(413, _MOST)
        return message

    return measured
