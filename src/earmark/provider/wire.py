"""The official SDKs used for their wire: JSON out, JSON back, failures turned into `CallFailed`.

Their typed models are not used, because a bill is read from the body as it was sent. Their retries
are off, because every physical attempt is a reservation of its own.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from earmark.apis import failures
from earmark.errors import CallFailed

#: Sent where no key is configured, so that an SDK never takes one from the environment by accident:
#: that key would go to a server it was not meant for.
NO_KEY: Final = "none"

_NEVER_SENT: Final = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
    httpx2.InvalidURL,
    UnicodeEncodeError,
)
#: The first status that is no success; a redirect is not followed, so it is none either.
_FIRST_REFUSAL: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a provider answers, and with which key."""

    provider: str
    base_url: str = field(repr=False)
    """May hold a password, so it is not shown; `host` is."""
    api_key: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """The host and port alone: no path, no user, no password."""
        parts = urlsplit(self.base_url)
        return parts.netloc.rpartition("@")[2]

    @property
    def key(self) -> str:
        """What is sent as the key."""
        return self.api_key or NO_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """What the two SDKs have in common; made by a function that imports one of them."""

    client: Any
    stream: type[Any]
    error: type[Exception]
    """The root of the SDK's own exceptions."""
    status_error: type[Exception]
    connection_error: type[Exception]


def _options(timeout_s: float) -> dict[str, Any]:
    """Return the SDKs' options of one request; a reply may not send key and prompt elsewhere."""
    return {"timeout": timeout_s, "follow_redirects": False}


class Wire:
    """One SDK client, opened at the first call and opened anew in another event loop."""

    def __init__(self, server: Server, connect: Callable[[Server], Sdk]) -> None:
        self._server = server
        self._connect = connect
        self._sdk: Sdk | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, path: str, body: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Post *body* and return the JSON object of the answer; sends at most once.

        Raises:
            CallFailed: It was not sent or was rejected, or the answer is lost or no object.
        """
        sdk = self._open()
        try:
            answer = await sdk.client.post(
                path, cast_to=object, body=body, options=_options(timeout_s)
            )
        except (sdk.error, httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise self._failure(sdk, error, 0) from None
        return self._object(answer)

    async def stream(
        self, path: str, body: Mapping[str, Any], timeout_s: float
    ) -> AsyncGenerator[dict[str, Any]]:
        """Post *body* and yield the JSON objects of the event stream; sends at most once.

        Closing the generator closes the connection, which tells the provider to stop.

        Raises:
            CallFailed: As `ask`; also when the stream breaks: half a stream is no answer.
        """
        sdk = self._open()
        pieces = 0
        try:
            async with await sdk.client.post(
                path,
                cast_to=object,
                body=body,
                options=_options(timeout_s),
                stream=True,
                stream_cls=sdk.stream,
            ) as events:
                async for event in events:
                    yield self._object(event)
                    pieces += 1
        except (sdk.error, httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            raise self._failure(sdk, error, pieces) from None

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        sdk, self._sdk = self._sdk, None
        if sdk is not None and self._loop is asyncio.get_running_loop():
            await sdk.client.close()

    def _open(self) -> Sdk:
        loop = asyncio.get_running_loop()
        if self._sdk is None or self._loop is not loop:
            self._sdk, self._loop = self._connect(self._server), loop
        return self._sdk

    def _object(self, answer: object) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise failures.garbled(self._server.provider, "something that is no JSON object")
        return answer  # pyright: ignore[reportUnknownVariableType] - JSON, checked where it is read

    def _failure(self, sdk: Sdk, error: Exception, pieces: int) -> CallFailed:
        provider = self._server.provider
        if isinstance(error, sdk.status_error):
            status: Any = error
            if status.status_code >= _FIRST_REFUSAL:
                return failures.rejected(
                    failures.Rejection(
                        provider=provider,
                        host=self._server.host,
                        status=status.status_code,
                        headers=status.response.headers,
                        body=status.body,
                    )
                )
        cause = error.__cause__ if isinstance(error, sdk.connection_error) else error
        if isinstance(cause, _NEVER_SENT):
            return failures.unreachable(provider, self._server.host, cause)
        if cause is None or isinstance(cause, httpx2.HTTPError | httpx2.StreamError | OSError):
            return failures.lost(provider, cause or error, pieces=pieces)
        if isinstance(cause, ValueError):
            return failures.garbled(provider, f"what is no JSON ({pieces} pieces were)")
        return failures.broken_off(provider, failures.error_words(getattr(cause, "body", None)))
