"""What an exception of a client says of its call: real clients, refused, lost and answered."""

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any

import httpcore
import httpx
import httpx2
import pytest
import requests
from starlette.exceptions import HTTPException

from earmark.apis.client_errors import http_response, never_sent
from support.interrupt import on_a_thread_of_its_own
from support.last_resort import LAST_RESORT_S
from support.lazily import Lazily
from support.stub_server import Scene, StubServer

anthropic, openai = Lazily("anthropic"), Lazily("openai")

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hush"}]}
#: How long a connection is waited for that cannot be made.
SHORT_S = 0.05

Send = Callable[[str, float], object]


def _openai(url: str, timeout_s: float) -> object:
    with openai.OpenAI(base_url=url, api_key="sk", max_retries=0, timeout=timeout_s) as client:
        return client.chat.completions.create(**BODY)


def _anthropic(url: str, timeout_s: float) -> object:
    with anthropic.Anthropic(
        base_url=url, api_key="sk", max_retries=0, timeout=timeout_s
    ) as client:
        return client.messages.create(max_tokens=9, **BODY)


def _openai_task(url: str, timeout_s: float) -> object:
    async def send() -> object:
        async with openai.AsyncOpenAI(
            base_url=url, api_key="sk", max_retries=0, timeout=timeout_s
        ) as client:
            return await client.chat.completions.create(**BODY)

    return asyncio.run(send())


def _httpx_task(url: str, timeout_s: float) -> object:
    async def send() -> object:
        async with httpx.AsyncClient(timeout=timeout_s) as client:
            return await client.post(url, json=BODY)

    return asyncio.run(send())


CLIENTS: dict[str, Send] = {
    "httpx2": lambda url, timeout_s: httpx2.post(url, json=BODY, timeout=timeout_s),
    "httpx": lambda url, timeout_s: httpx.post(url, json=BODY, timeout=timeout_s),
    "httpx's tasks": _httpx_task,
    "openai": _openai,
    "openai's tasks": _openai_task,
    "anthropic": _anthropic,
    "requests": lambda url, timeout_s: requests.post(url, json=BODY, timeout=timeout_s),
}


def _unused_port() -> int:
    """Return a port nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def _full() -> Generator[str]:
    """Listen, and accept nobody: who comes next waits for a connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.settimeout(0)
            with suppress(BlockingIOError):
                each.connect(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for each in waiting:
            each.close()


def _raised(send: Send, url: str, timeout_s: float = LAST_RESORT_S) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any client's
        send(url, timeout_s)
    return raised.value


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "requests"])
@on_a_thread_of_its_own
def test_where_no_connection_was_made_nothing_was_sent(client: str) -> None:
    """Nobody listens, there is no such host, or nobody accepts: each client's error says so."""
    send = CLIENTS[client]
    with _full() as full:
        errors = [
            _raised(send, f"http://127.0.0.1:{_unused_port()}"),
            _raised(send, "http://nowhere.invalid"),
            _raised(send, full, SHORT_S),
        ]
    assert list(map(never_sent, errors)) == [True] * 3
    assert list(map(http_response, errors)) == [None] * 3


@pytest.mark.parametrize("client", CLIENTS)
@on_a_thread_of_its_own
def test_what_was_sent_and_not_answered_is_not_known_to_be_unsent(client: str) -> None:
    """A server that hangs up has the request, whatever it did with it."""
    with StubServer() as stub:
        stub.play(Scene(dies="before"))
        assert not never_sent(_raised(CLIENTS[client], stub.url))
        assert len(stub.requests) == 1


@on_a_thread_of_its_own
def test_the_last_error_of_a_client_that_repeats_says_nothing_of_the_first() -> None:
    """`requests` follows redirects unless told not to, and may repeat: the last may be refused."""
    with StubServer() as stub:
        gone = f"http://127.0.0.1:{_unused_port()}"
        stub.play(Scene(status=307, headers={"Location": gone}))
        assert not never_sent(_raised(CLIENTS["requests"], stub.url))
        assert len(stub.requests) == 1
    assert not never_sent(_raised(CLIENTS["requests"], gone))


@on_a_thread_of_its_own
def test_a_failed_handshake_sent_nothing() -> None:
    """A server that speaks no TLS saw no request."""
    with StubServer() as stub:
        for client in ("httpx2", "httpx", "openai", "openai's tasks"):
            assert never_sent(_raised(CLIENTS[client], stub.url.replace("http", "https")))


def _refused() -> Exception:
    return _raised(CLIENTS["httpx2"], f"http://127.0.0.1:{_unused_port()}")


def _after(first: BaseException, send: Send) -> Exception:
    """Return what *send* raises where it is tried again while *first* is handled."""
    try:
        raise first  # noqa: TRY301 - what was handled is what this is about
    except BaseException:  # noqa: BLE001 - as a program that tries again
        return _raised(send, f"http://127.0.0.1:{_unused_port()}")


def _after_a_time_out() -> Exception:
    """Return what a second attempt raises, made where the first one was too slow."""

    async def twice() -> None:
        async with httpx2.AsyncClient() as client:
            try:
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            except TimeoutError:
                await client.post(f"http://127.0.0.1:{_unused_port()}")

    with pytest.raises(httpx2.TransportError) as raised:
        asyncio.run(twice())
    return raised.value


def _chained(*chain: BaseException) -> BaseException:
    """Return the first of *chain*, each of which was raised while the next one was handled."""
    for outer, inner in pairwise(chain):
        outer.__context__ = inner
    return chain[0]


def _connect(url: str, timeout_s: float) -> None:
    parts = httpx2.URL(url)
    socket.create_connection((parts.host, parts.port or 80), timeout_s).close()


def _retried(kind: Any) -> Exception:
    request = httpx2.Request("POST", "http://x/v1", headers={"x-stainless-retry-count": "1"})
    error = kind(request=request)
    error.__cause__ = httpx2.ConnectError("refused", request=request)
    return error


def _redirected() -> Exception:
    with StubServer() as stub:
        away = f"http://127.0.0.1:{_unused_port()}/v1"
        stub.play(Scene(status=307, headers={"location": away}))
        return _raised(_openai, stub.url)


LIES: dict[str, Callable[[], BaseException]] = {
    "a lost reply before": lambda: _after(httpx2.ReadError("lost"), CLIENTS["openai"]),
    "another client's lost reply before": lambda: _after(
        httpx.ReadTimeout("slow"), CLIENTS["requests"]
    ),
    "a slow attempt before": _after_a_time_out,
    "a lost reply before a slow connection": lambda: _chained(
        httpx.ConnectTimeout("slow"),
        httpcore.ConnectTimeout(),
        TimeoutError(),
        asyncio.CancelledError(),
        httpx.ReadError("lost"),
    ),
    "a socket's lost reply before": lambda: _after(ConnectionResetError(), _connect),
    "a retry of OpenAI's client": lambda: _retried(openai.APIConnectionError),
    "a retry of Anthropic's client": lambda: _retried(anthropic.APIConnectionError),
    "a redirect": _redirected,
    "a body found wrong half-way": lambda: httpx2.LocalProtocolError("too much data"),
    "a wrapper of nothing": lambda: openai.APIConnectionError(
        request=httpx2.Request("POST", "http://x")
    ),
    "a time-out of the program": TimeoutError,
    "a cancellation": asyncio.CancelledError,
    "an exception named alike": type("ConnectError", (Exception,), {}),
}


@pytest.mark.parametrize("lie", LIES)
@on_a_thread_of_its_own
def test_an_attempt_that_shows_is_not_forgotten_over_the_last_one(lie: str) -> None:
    """What the last attempt could not send, one before it may have; what no list has, as well."""
    assert not never_sent(LIES[lie]())


@pytest.mark.parametrize("send", [CLIENTS["openai"], CLIENTS["openai's tasks"], _connect])
@on_a_thread_of_its_own
def test_what_was_handled_before_the_call_is_no_attempt_of_it(send: Send) -> None:
    """A program may turn to another provider where the first one's error is handled."""
    first = httpx2.ReadError("lost")
    assert never_sent(_after(first, send), handled=first)
    assert not never_sent(_after(first, send))
    assert never_sent(_after(_refused(), send))


@pytest.mark.parametrize("client", ["openai", "openai's tasks", "anthropic"])
@on_a_thread_of_its_own
def test_the_error_of_an_sdk_has_the_answer(client: str) -> None:
    """Its status, headers and whole body are those that came, and nothing was sent before."""
    with StubServer() as stub:
        body = b'{"error": {"type": "rate_limit_error"}, "usage": {"prompt_tokens": 9}}'
        stub.play(Scene(status=429, body=body, headers={"retry-after": "2"}))
        found = http_response(_raised(CLIENTS[client], stub.url))
    assert found is not None
    assert (found.status, found.body, found.is_first) == (429, body, True)
    assert httpx2.Headers(found.headers)["retry-after"] == "2"  # type: ignore[arg-type]


def _answered(*scenes: Scene, first: Exception | None = None) -> Any:
    """Return the answer that the last of *scenes* gave to OpenAI's client."""
    with StubServer() as stub:
        stub.play(*scenes)
        if first is None:
            return http_response(_raised(_openai, stub.url))
        return http_response(_after(first, lambda _, timeout_s: _openai(stub.url, timeout_s)))


@on_a_thread_of_its_own
def test_an_answer_to_a_repeated_request_is_told_from_a_first_one() -> None:
    """A redirect, a retry or an attempt before it: the rejection is of the last one only."""
    busy = Scene(status=429, headers={"x-should-retry": "false"})
    assert _answered(busy).is_first
    assert not _answered(Scene(status=307, headers={"location": "/v1/elsewhere"}), busy).is_first
    assert not _answered(busy, first=httpx2.ReadError("lost")).is_first
    assert _answered(busy, first=_refused()).is_first
    request = httpx2.Request("POST", "http://x", headers={"x-stainless-retry-count": "2"})
    response = httpx2.Response(429, request=request)
    again = http_response(openai.RateLimitError("busy", response=response, body=None))
    assert again is not None
    assert not again.is_first


@on_a_thread_of_its_own
def test_an_error_of_the_program_is_no_answer() -> None:
    """A web framework's own error has a status and is no provider's."""
    assert http_response(HTTPException(404)) is None
    assert not never_sent(HTTPException(503))
