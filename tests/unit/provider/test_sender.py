"""One request over HTTP: sent once, to its server alone, and given up when nobody wants it."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest

from earmark.apis.dialects import DIALECTS
from earmark.clock import SystemClock
from earmark.errors import CallFailed
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import open_provider
from earmark.provider.sender import Sender
from earmark.provider.server import Server
from support.calls import ask, grant, send
from support.last_resort import LAST_RESORT_S
from support.stub_server import Scene, StubServer, chunks, completion, watched

BOOK = PriceBook({"stub/m": {"input_mtok": "1", "output_mtok": "10"}})
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
COST = Money("0.0003")


def opened(url: str, **more: Any) -> Any:
    """Open the provider on a server."""
    settings: dict[str, Any] = {"api": "openai", "book": BOOK, "clock": SystemClock(), **more}
    return open_provider("stub", base_url=f"{url}/v1", **settings)


def test_this_machine_is_asked_without_a_proxy(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local model's prompts do not go through the environment's proxy; others' do."""
    with StubServer() as proxy:
        proxy.play(Scene(body=completion(USAGE)))
        stub.play(Scene(body=completion(USAGE)))
        for variable in ("HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        for url in (stub.url, stub.url.replace("127.0.0.1", "localhost")):
            assert send(opened(url), ask("stub/m")).cost == COST
        assert (len(stub.requests), proxy.requests) == (2, [])
        assert send(opened("http://elsewhere.example"), ask("stub/m")).cost == COST
        assert [each.path for each in proxy.requests] == [
            "http://elsewhere.example/v1/chat/completions"
        ]


def test_a_proxy_that_cannot_be_used_costs_nothing(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment nobody can connect with is told, and nothing was sent."""
    monkeypatch.setenv("HTTP_PROXY", "gopher://me:pw-1@proxy.example")
    with pytest.raises(CallFailed, match="check the environment's proxies") as raised:
        send(opened(stub.url), ask("stub/m"))
    assert (raised.value.billed, raised.value.retryable) == ("no", False)
    assert "pw-1" not in str(raised.value)


def test_a_reply_is_asked_for_uncompressed(stub: StubServer) -> None:
    """A proxy that compresses keeps events back; what comes compressed all the same is read."""
    packed = gzip.compress(completion(USAGE))
    stub.play(Scene(body=packed, headers={"content-encoding": "gzip"}))
    assert send(opened(stub.url), ask("stub/m")).cost == COST
    assert stub.requests[0].headers["accept-encoding"] == "identity"
    assert stub.requests[0].headers["content-type"] == "application/json"


def test_a_compressed_reply_that_is_broken_may_have_been_billed(stub: StubServer) -> None:
    """What cannot be unpacked was answered all the same."""
    stub.play(Scene(body=b"no gzip", headers={"content-encoding": "gzip"}))
    with pytest.raises(CallFailed) as raised:
        send(opened(stub.url), ask("stub/m"))
    assert raised.value.billed == "unknown"


@pytest.mark.parametrize(
    "error", [httpx2.ConnectError, httpx2.PoolTimeout, httpx2.LocalProtocolError]
)
@pytest.mark.parametrize(("begins", "billed"), [(False, "no"), (True, "unknown")])
def test_no_error_after_a_reply_began_says_that_nothing_was_sent(
    error: type[httpx2.TransportError],
    begins: bool,  # noqa: FBT001 - a column of the table
    billed: str,
) -> None:
    """What fails before a reply costs nothing; the same error in the middle of one may have."""

    class Broken(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncGenerator[bytes]:
            yield b'{"id": '
            raise error("broken")

    class Transport(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if begins:
                return httpx2.Response(200, stream=Broken())
            raise error("never sent", request=request)

    class BrokenSender(Sender):
        def _open(self) -> httpx2.AsyncClient:
            return httpx2.AsyncClient(transport=Transport())

    async def post() -> None:
        async with BrokenSender(server).post("http://stub.example", {}, 1) as incoming:
            await incoming.json()

    server = Server(provider="stub", dialect=DIALECTS["openai"], base_url="http://stub.example")
    with pytest.raises(CallFailed) as raised:
        asyncio.run(post())
    assert raised.value.billed == billed


def test_a_server_that_does_not_stream_is_read_whole(stub: StubServer) -> None:
    """Some servers answer a request for a stream with one body: it is billed by its usage."""
    stub.play(Scene(body=completion(USAGE)))
    reply = send(opened(stub.url), ask("stub/m", stream=True))
    assert (reply.value, reply.cost) == ("ok", COST)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b""])
def test_events_are_read_however_they_are_written(stub: StubServer, end: bytes) -> None:
    """Line ends, comments, a byte order mark, a last event without its end, cut byte by byte."""
    events = chunks(["Grüße ", "🎉"], USAGE)[:-1]
    lines = [event.rstrip(b"\n") for event in events]
    text = "\ufeff: a comment\n\n".encode() + (end or b"\n\n").join(lines) + end
    stub.play(Scene(events=[bytes([byte]) for byte in text]))
    reply = send(opened(stub.url), ask("stub/m", stream=True))
    assert (reply.value, reply.cost) == ("Grüße 🎉", COST)


def test_what_is_no_json_is_not_sent(stub: StubServer) -> None:
    """A request that cannot be written cost nothing."""
    stub.play(Scene(body=completion(USAGE)))
    for value in (float("nan"), "\ud800"):
        request = ask("stub/m", options={"metadata": {"a": value}})
        with pytest.raises(CallFailed) as raised:
            send(opened(stub.url), request)
        assert (raised.value.billed, raised.value.retryable) == ("no", False)
    assert stub.requests == []


def test_no_log_holds_key_or_prompt(stub: StubServer, caplog: pytest.LogCaptureFixture) -> None:
    """At the most talkative level of every library, for a reply, an error and no connection."""
    caplog.set_level(logging.DEBUG)
    stub.play(Scene(body=completion(USAGE)), Scene(status=401, body=b'{"error": {"code": "x"}}'))
    provider = opened(stub.url, api_key="sk-secret")
    assert send(provider, ask("stub/m", "hush hush")).cost == COST
    for url in (stub.url, "http://127.0.0.1:1"):
        with pytest.raises(CallFailed) as raised:
            send(opened(url, api_key="sk-secret"), ask("stub/m", "hush hush"))
        assert "sk-secret" not in f"{raised.value!r} {raised.value.__context__!r}"
    assert caplog.records
    assert "sk-secret" not in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize("how", ["cancelled", "stopped"])
def test_a_stream_nobody_wants_is_closed_at_once(how: str) -> None:
    """Cancelled by its caller or stopped by its hold: the provider is hung up on, to stop it."""

    async def make(url: str) -> None:
        begun = asyncio.Event()

        async def produced(tokens: int) -> None:
            del tokens
            begun.set()
            if how == "stopped":
                raise _StopError

        provider = opened(url)
        call = provider.call(ask("stub/m", stream=True)).send(grant(produced=produced))
        task = asyncio.create_task(call)
        await begun.wait()
        if how == "cancelled":
            task.cancel()
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else _StopError):
            await task
        # Not by closing the provider: the connection itself is given up.
        assert await asyncio.to_thread(gone.wait, LAST_RESORT_S)
        await provider.aclose()

    with watched(chunks(["a"], None, finish=None)) as (url, gone):
        asyncio.run(make(url))


def test_a_stream_ends_at_its_last_event(stub: StubServer) -> None:
    """A server that keeps the connection open after `[DONE]` does not keep the call."""
    del stub
    with watched(chunks(["a"], USAGE)) as (url, gone):
        assert send(opened(url), ask("stub/m", stream=True)).cost == COST
        assert gone.wait(LAST_RESORT_S)


def test_the_providers_name_of_a_request_is_kept(stub: StubServer) -> None:
    """From the headers, else from the body: whole and streamed replies say which they were."""
    named = {"x-request-id": "req-1"}
    for scene, stream, expected in (
        (Scene(body=completion(USAGE), headers=named), False, "req-1"),
        (Scene(body=completion(USAGE)), False, "chatcmpl-1"),
        (Scene(events=chunks(["a"], USAGE)), True, "chatcmpl-1"),
    ):
        stub.play(scene)
        assert send(opened(stub.url), ask("stub/m", stream=stream)).request_id == expected


def test_an_unknown_counter_leaves_the_cost_of_the_known_ones(stub: StubServer) -> None:
    """The cost is unknown, and what is known of it is passed on."""
    stub.play(Scene(body=completion({**USAGE, "new_thing": 7})))
    reply = send(opened(stub.url), ask("stub/m"))
    assert (reply.cost, reply.known_cost) == (None, COST)
    assert "new_thing = 7" in reply.note


def test_a_body_without_end_is_given_up(stub: StubServer) -> None:
    """A server cannot fill the memory; what it sent may have been billed."""

    async def read(largest: int) -> dict[str, Any]:
        server = Server(provider="stub", dialect=DIALECTS["openai"], base_url=stub.url)
        sender = Sender(server, largest_reply=largest)
        try:
            async with sender.post(stub.url, {}, LAST_RESORT_S) as incoming:
                return await incoming.json()
        finally:
            await sender.aclose()

    body = json.dumps({"x": "y" * 200}).encode()
    stub.play(Scene(body=body))
    assert asyncio.run(read(len(body))) == json.loads(body)
    with pytest.raises(CallFailed, match="more than 100 bytes") as raised:
        asyncio.run(read(100))
    assert raised.value.billed == "unknown"


class _StopError(Exception):
    pass
