"""Sends one request to a provider: once, to the address it was given, and nowhere else."""

import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from earmark.config.values import is_loopback
from earmark.gateway.headers import Pairs
from earmark.gateway.key_mask import masked

#: The most bytes of a reply that is no stream; generated images come in bodies of many millions.
LARGEST_REPLY: Final = 256 << 20
_CONNECT_S: Final = 30.0
#: A larger body is written piece by piece, so that it does not stop the loop.
_IN_ONE_PIECE: Final = 1 << 20
#: Servers close idle connections sooner or later; one that is closed when a request is sent on it
#: leaves a cost that nobody knows.
_KEPT_ALIVE_S: Final = 10.0
_AUTOMATIC: Final = ("accept", "accept-encoding", "content-type", "user-agent")


class ReplyTooLarge(Exception):
    """A reply that is no stream is larger than is read."""


@dataclass(slots=True)
class SendProgress:
    """How far the sending of one request came."""

    began: bool = False
    """Whether any byte of it may have been sent; set before the first one is."""


class UpstreamSender:
    """One HTTP client; made, used and closed in one event loop."""

    def __init__(self, silence_s: float) -> None:
        """Give up after *silence_s* seconds without a byte of the other side."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=silence_s)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_ALIVE_S),
            timeout=timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_AUTOMATIC,
            trace_configs=[_progress_trace()],
        )
        self._proxies = getproxies()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        headers: Pairs,
        body: bytes,
        progress: SendProgress | None = None,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a request and give the reply, whose status says anything; at most once.

        Leaving the block closes the connection unless the reply was read to its end. *progress*
        says how far it came, if it raises.
        """
        large = len(body) > _IN_ONE_PIECE
        async with self._session.request(
            method,
            # Encoded already: nothing of it is read anew.
            URL(url, encoded=True),
            headers=headers,
            data=io.BytesIO(body) if large else body or None,
            allow_redirects=False,
            proxy=self._proxy(url),
            trace_request_ctx=progress,
        ) as response:
            yield response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()

    def _proxy(self, url: str) -> str | None:
        """Return the environment's proxy, as for other programs; none to this machine."""
        if not self._proxies:
            return None
        parts = urlsplit(url)
        host = parts.hostname or ""
        if is_loopback(host) or proxy_bypass(host):
            return None
        return self._proxies.get(parts.scheme) or self._proxies.get("all")


def _progress_trace() -> aiohttp.TraceConfig:
    """Return what notes that a request begins to be written: signalled before its first byte."""

    async def note(_: object, context: SimpleNamespace, __: object) -> None:
        progress = context.trace_request_ctx
        if isinstance(progress, SendProgress):
            progress.began = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(note)
    return trace


async def read_reply(response: aiohttp.ClientResponse, secret: bytes = b"") -> bytes:
    """Return the whole body of *response*, with asterisks in the place of *secret*.

    Raises:
        ReplyTooLarge: It is larger than is read.
    """
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > LARGEST_REPLY:
            raise ReplyTooLarge
        parts.append(part)
    return masked(parts[0] if len(parts) == 1 else b"".join(parts), secret)
