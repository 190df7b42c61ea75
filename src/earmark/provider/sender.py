"""Sends one request over HTTP and hands on the reply, whole or as events; for every API.

Nothing is sent twice: each physical attempt is a reservation of its own. Nothing is sent elsewhere:
redirects are not followed, because a reply may not decide which server gets key and prompt.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from ssl import SSLContext
from typing import Any, Final, cast

import httpx2

from earmark.apis import failures
from earmark.apis.client_errors import no_connection
from earmark.apis.counters import larger_members
from earmark.apis.event_stream import EventDecoder, ServerEvent
from earmark.errors import CallFailed, InvalidUsage
from earmark.provider.server import Server

_SUCCESS: Final = range(200, 300)
#: The most bytes of a reply that is not streamed; generated images come in bodies of many millions.
LARGEST_REPLY: Final = 256 << 20
#: An error's body is read for its codes alone.
_LARGEST_ERROR: Final = 1 << 20
#: As many connections as OpenAI's client opens; who waits for a budget waits there, not here.
_LIMITS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
#: Proxies are those of the environment, as for other programs of its user; but what is on this
#: machine is asked directly: no proxy reaches it, and its prompts are not for one.
_ON_THIS_MACHINE: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")
#: Compressed events would wait in a proxy's buffer, and a small reply may unpack to a large one.
_HEADERS: Final = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "user-agent": "earmark",
}


@dataclass(slots=True)
class Incoming:
    """A reply whose status says success, not read yet; usable within `Sender.post` alone."""

    provider: str
    pieces: int = 0
    """The events that came."""
    _response: httpx2.Response = field(repr=False, kw_only=True)
    _largest: int = field(repr=False, kw_only=True)

    @property
    def is_json(self) -> bool:
        """Whether it is one JSON body; some servers answer so where a stream was asked for."""
        kind = self._response.headers.get("content-type", "").partition(";")[0]
        return kind.strip().lower() == "application/json"

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, by names in any case."""
        return self._response.headers

    async def json(self) -> dict[str, Any]:
        """Return the whole body, a JSON object.

        Raises:
            CallFailed: It is none, or larger than is read.
        """
        body = await _read_limited(self._response, self._largest)
        if body is None:
            raise failures.malformed_reply_failure(
                self.provider, f"more than {self._largest} bytes"
            )
        return self._object(body)

    async def events(self) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """Yield the name and the decoded data of each event, until `[DONE]` or the end.

        Raises:
            CallFailed: An event is no JSON object, or has no end.
        """
        decoder = EventDecoder()
        try:
            async for chunk in self._response.aiter_bytes():
                for event in decoder.feed(chunk):
                    if _is_last(event):
                        return
                    yield event.name, self._object(event.data)
                    self.pieces += 1
            for event in decoder.end():
                if not _is_last(event):
                    yield event.name, self._object(event.data)
        except InvalidUsage as error:
            raise failures.malformed_reply_failure(self.provider, error.detail) from None

    def _object(self, text: bytes | str) -> dict[str, Any]:
        after = f" ({self.pieces} pieces were)" if self.pieces else ""
        try:
            value = json.loads(text, object_pairs_hook=larger_members)
        except (ValueError, RecursionError):
            raise failures.malformed_reply_failure(
                self.provider, f"what is no JSON{after}"
            ) from None
        if not isinstance(value, dict):
            raise failures.malformed_reply_failure(
                self.provider, f"something that is no JSON object{after}"
            )
        return cast("dict[str, Any]", value)


class Sender:
    """One HTTP client, opened at the first call and opened anew in another event loop."""

    def __init__(self, server: Server, *, largest_reply: int = LARGEST_REPLY) -> None:
        self._server = server
        self._largest = largest_reply
        self._client: httpx2.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def post(
        self, url: str, body: Mapping[str, Any], timeout_s: float
    ) -> AsyncGenerator[Incoming]:
        """Post *body* and give the reply; sends at most once.

        Leaving the block closes the connection unless the reply was read to its end, which tells
        the provider to stop; so does a cancellation.

        Args:
            url: Where; the server's own, see `Server.url`.
            body: What is sent as JSON.
            timeout_s: The longest silence of the other side.

        Raises:
            CallFailed: It was not sent, it was rejected, or the reply is lost: while it is awaited,
                and while it is read in the block.
        """
        content = self._encoded(body)
        incoming: Incoming | None = None
        try:
            async with self._open().stream(
                "POST",
                url,
                content=content,
                headers={**_HEADERS, **self._server.headers()},
                timeout=timeout_s,
            ) as response:
                if response.status_code not in _SUCCESS:
                    raise await self._rejection(response)
                incoming = Incoming(
                    self._server.provider, _response=response, _largest=self._largest
                )
                yield incoming
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            raise self._failure(error, incoming) from None

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _open(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            try:
                self._client, self._loop = _client(), loop
            except (ImportError, ValueError, OSError, httpx2.InvalidURL) as error:
                detail = (
                    f"no connection to provider '{self._server.provider}' can be opened"
                    f" ({type(error).__name__}): check the environment's proxies and certificates"
                )
                raise CallFailed(detail=detail, billed="no") from None
        return self._client

    def _encoded(self, body: Mapping[str, Any]) -> bytes:
        try:
            return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            provider = self._server.provider
            detail = f"a request to provider '{provider}' is no JSON ({type(error).__name__})"
            raise CallFailed(detail=detail, billed="no") from None

    async def _rejection(self, response: httpx2.Response) -> CallFailed:
        try:
            content = await _read_limited(response, _LARGEST_ERROR)
        except httpx2.HTTPError:
            # The status is known, and says more than the loss of its body.
            content = None
        try:
            body: object = json.loads(content or b"")
        except (ValueError, RecursionError):
            body = ""
        return failures.http_failure(
            failures.Rejection(
                provider=self._server.provider,
                host=self._server.hostname,
                status=response.status_code,
                headers=response.headers,
                body=body,
            )
        )

    def _failure(self, error: Exception, incoming: Incoming | None) -> CallFailed:
        provider = self._server.provider
        if incoming is not None:
            return failures.lost_reply_failure(provider, error, pieces=incoming.pieces)
        # What is sent here is whole: nothing that could not be written left.
        if isinstance(error, httpx2.LocalProtocolError) or no_connection(error):
            return failures.connection_failure(provider, error, host=self._server.host)
        return failures.lost_reply_failure(provider, error)


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        verify=_trusted(),
        follow_redirects=False,
        limits=_LIMITS,
        mounts=dict.fromkeys(_ON_THIS_MACHINE),
    )


@cache
def _trusted() -> SSLContext:
    # To read all certificates takes longer than to connect.
    return httpx2.create_ssl_context()


async def _read_limited(response: httpx2.Response, largest: int) -> bytes | None:
    """Return the body, or `None` where it is larger than *largest*."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > largest:
            return None
    return bytes(content)


def _is_last(event: ServerEvent) -> bool:
    # The end of a stream of Chat Completions, which is no JSON.
    return event.data.startswith("[DONE]")
