"""Connections: how long a request may take to arrive, how large its head is, how many may wait.

The server's own protocol reads a head of any size and waits for ever for a request to be complete:
a few hundred connections that send a byte now and then would be all that a process may have open,
and nobody would be answered any more. Here a head and a body each have a total time, and of each
address only so many connections may be without a complete request: the one that has waited longest
is closed in favour of a new one.
"""

import asyncio
import logging
import resource
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from earmark.serving.request_parser import RequestParser

#: Bytes of a request's first line and headers.
LARGEST_HEAD: Final = 64 * 1024
#: An ASGI extension: `scope["extensions"][BREAK_OFF]["now"]()` closes the connection of a request
#: whose answer cannot be completed, so that its client sees that it is incomplete.
BREAK_OFF: Final = "earmark.break_off"
#: The share of the process's file descriptors that connections may take; the store needs some too.
_SHARE: Final = 0.75
#: An attack must not fill the log: one line in so many seconds.
_LOG_EVERY_S: Final = 60.0
#: An IPv6 client usually has all addresses of such a network.
_IPV6_PREFIX: Final = 64

_LOG: Final = logging.getLogger("earmark.serving")
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
_OTHER_CODING: Final = (
    "transfer-encoding is not exactly 'chunked': send the body as it is, chunked or with its length"
)
_TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"content-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
)


def most_connections() -> int:
    """Return how many connections this process may have open, from its limit of descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else round(soft * _SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What a connection may take before its request is complete."""

    head_s: float = 20.0
    """Seconds for a request's head, from the connection or the last answer."""
    body_s: float = 30.0
    """Seconds for its body."""
    pending_per_address: int = 500
    """Connections of one address without a complete request."""
    total: int = 1 << 20
    """Connections of all addresses, whatever they do."""

    def widest(self, other: "ConnectionLimits") -> "ConnectionLimits":
        """Return limits within which a connection may be one that either would let be."""
        return ConnectionLimits(
            head_s=max(self.head_s, other.head_s),
            body_s=max(self.body_s, other.body_s),
            pending_per_address=max(self.pending_per_address, other.pending_per_address),
            total=max(self.total, other.total),
        )


class Connections:
    """The open connections of one server; its methods belong to the event loop's thread."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: set[HttpConnection] = set()
        # Without a complete request; the one that has waited longest is first.
        self._pending: dict[HttpConnection, None] = {}
        self._pending_by_address: dict[str, dict[HttpConnection, None]] = {}
        self._logged_at: float | None = None

    def protocol(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "HttpConnection":
        """Return the protocol of a new connection, as uvicorn asks for it."""
        return HttpConnection(self, config, server_state, app_state, _loop)

    def opened(self, connection: "HttpConnection") -> bool:
        """Count *connection*; return whether there is room, for which a pending one is closed."""
        if len(self._open) >= self.limits.total:
            if not self._pending:
                self._log("all connections are in use: a new one was refused")
                return False
            self._close(next(iter(self._pending)), "all connections are in use")
        self._open.add(connection)
        return True

    def pending(self, connection: "HttpConnection") -> None:
        """Note that *connection* waits for the rest of a request, from now on."""
        self.complete(connection)
        address = connection.address
        of_address = self._pending_by_address.setdefault(address, {})
        if len(of_address) >= self.limits.pending_per_address:
            why = f"{len(of_address)} connections of {address} have no complete request"
            self._close(next(iter(of_address)), why)
            of_address = self._pending_by_address.setdefault(address, {})
        of_address[connection] = self._pending[connection] = None

    def complete(self, connection: "HttpConnection") -> None:
        """Note that *connection* waits no longer for a request."""
        if connection not in self._pending:
            return
        del self._pending[connection]
        of_address = self._pending_by_address[connection.address]
        del of_address[connection]
        if not of_address:
            del self._pending_by_address[connection.address]

    def closed(self, connection: "HttpConnection") -> None:
        """Forget *connection*."""
        self.complete(connection)
        self._open.discard(connection)

    def _close(self, connection: "HttpConnection", why: str) -> None:
        self.closed(connection)
        # Not `close`, which waits until the client has taken what was written.
        connection.transport.abort()
        self._log(f"{why}: the one that has waited longest was closed")

    def _log(self, sentence: str) -> None:
        now = asyncio.get_running_loop().time()
        if self._logged_at is None or now - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = now
            _LOG.warning("%s", sentence)


class HttpConnection(HttpToolsProtocol):
    """One connection, which is closed when a request is too large or does not arrive in time."""

    def __init__(
        self,
        connections: Connections,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = False  # whoever listens to it: a URL may hold a token
        self.parser = RequestParser(self)
        self._connections = connections
        self.address = ""
        """Of the client, for counting; an IPv6 network for all of its addresses."""
        self._in_head = True
        self._received = 0
        """Bytes of an incomplete head."""
        self._parsed = 0
        """Bytes of its lines so far."""
        self._in_body = False
        self._fault = ""
        """What a head says that is not taken."""
        self._unanswered = 0
        """Requests whose head is complete and whose response is not; more than 1 if pipelined."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as in the class above
        """Wait for the first head, if there is room for one more connection."""
        super().connection_made(transport)
        self.address = network_of(self.client[0]) if self.client else ""
        if self._connections.opened(self):
            self._wait(self._connections.limits.head_s)
        else:
            transport.write(_TOO_MANY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop()
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what was read of an incomplete head so far may be too much."""
        # What comes before a head in the same piece belongs to the request before it.
        counts = self._in_head
        super().data_received(data)
        if counts and self._in_head and not self.transport.is_closing():
            self._received += len(data)
            if self._received > LARGEST_HEAD:
                self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, or whose head is too large."""
        if max(self._received, self._parsed) <= LARGEST_HEAD:
            super().send_400_response(self._fault or msg)
            return
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Wait for the rest of the head."""
        super().on_message_begin()
        self._in_head = True
        self._received = self._parsed = 0
        if not self._unanswered:
            self._wait(self._connections.limits.head_s)

    def on_url(self, url: bytes) -> None:
        """Count it; a head may also arrive in one piece."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it; one after a body is passed over: nothing checked it with the head."""
        if self._in_head:
            super().on_header(name, value)
        self._count(len(name) + len(value) + len(b": \r\n"))

    def on_headers_complete(self) -> None:
        """Wait for the body, if this is the request to be answered next.

        Raises:
            ValueError: It asks for a tunnel, or its body has a coding beside chunks.
        """
        named = [value for name, value in self.headers if name == b"transfer-encoding"]
        if any(value.strip().lower() != b"chunked" for value in named):
            # The parser takes any list that ends so, and undoes the last alone.
            self._fault = _OTHER_CODING
            raise ValueError(_OTHER_CODING)  # ends the parser, and then `send_400_response`
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("no tunnels")  # ends the parser, and then `send_400_response`
            return  # this head comes again, without its offer
        self._in_head, self._in_body = False, True
        self._unanswered += 1
        super().on_headers_complete()
        self.scope["extensions"] = {BREAK_OFF: {"now": partial(self._break_off, self.cycle)}}
        if self._unanswered == 1:
            self._wait(self._connections.limits.body_s)

    def on_message_complete(self) -> None:
        """Have the whole request; where it was answered before, wait for the next."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._in_body = False
        if self._unanswered:
            self._stop()
        else:
            self._wait(self._connections.limits.head_s)

    def on_response_complete(self) -> None:
        """Wait for what is incomplete: the next request's head, or its body."""
        self._unanswered -= 1
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._in_body and self._unanswered:
            self._wait(self._connections.limits.body_s)
        elif not self._in_body and not self._unanswered:
            self._wait(self._connections.limits.head_s)
        # Else it was answered before its body was here, whose time goes on, or the next is here.

    def _break_off(self, cycle: RequestResponseCycle) -> None:
        # What was written is sent; for the server its client is gone.
        cycle.disconnected = True
        cycle.message_event.set()
        self.transport.close()

    def _count(self, size: int) -> None:
        self._parsed += size
        if self._parsed > LARGEST_HEAD:
            raise ValueError("head too large")  # ends the parser, and then `send_400_response`

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._connections.pending(self)
        self._timer = self.loop.call_later(seconds, self._end)

    def _stop(self) -> None:
        self._connections.complete(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        # A client that does not take what was written has as long again.
        if self.transport.is_closing():
            self.transport.abort()
            return
        self.transport.close()
        self._wait(self._connections.limits.head_s)


@lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """Return what connections from *host* are counted under."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped or ip_network((address, _IPV6_PREFIX), strict=False))
