"""Connections: how much of a request's head is read, and how long it is waited for.

The server's own protocol reads a head of any size and waits for ever: a few hundred connections
that say nothing would be all that a process may have open, and nobody would be answered any more.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of a request's first line and headers.
LARGEST_HEAD: Final = 64 * 1024
#: How long a head may take, from its connection or from its first byte.
HEAD_S: Final = 20.0

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Heads(HttpToolsProtocol):
    """One connection, which is closed when a head is too large or does not come."""

    _size = 0
    _timer: asyncio.TimerHandle | None = None
    """Runs while a head is waited for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as in the class above
        """Wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what is read of a head so far may be too much."""
        super().data_received(data)
        if self._timer is None or self.transport.is_closing():
            return
        self._size += len(data)
        if self._size > LARGEST_HEAD:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Wait for the rest of the head."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """Have the head; its request is answered."""
        self._stop()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._stop()
        self._size = 0
        self._timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
