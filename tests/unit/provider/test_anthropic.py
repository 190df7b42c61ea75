"""The Messages API provider against a server that plays real bodies."""

import json
from typing import Any

import pytest

from earmark.admission.call import ModelRequest, Provider, Reply
from earmark.clock import SystemClock
from earmark.errors import CallFailed, InvalidConfig
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import open_provider
from support.calls import ask, grant, send
from support.stub_server import Scene, StubServer, events, message

BOOK = PriceBook(
    {
        "stub/m": {
            "input_mtok": "1",
            "output_mtok": "10",
            "cache_read_mtok": "0.1",
            "cache_write_mtok": "1.25",
        }
    }
)
USAGE = {"input_tokens": 100, "output_tokens": 20}


def provider(stub: StubServer, **more: Any) -> Provider:
    """Open the provider on the stub."""
    settings: dict[str, Any] = {"book": BOOK, "clock": SystemClock(), "base_url": stub.url, **more}
    return open_provider("stub", api="anthropic", **settings)


def answer(stub: StubServer, scene: Scene, **request: Any) -> Reply:
    """Play one scene for one call of `stub/m`."""
    asked: ModelRequest = ask("stub/m", **request)
    return send(provider(stub.play(scene)), asked)


def failure(stub: StubServer, scene: Scene, **request: Any) -> CallFailed:
    """Play one scene that fails the call."""
    with pytest.raises(CallFailed) as raised:
        answer(stub, scene, **request)
    return raised.value


def test_a_reply_costs_what_its_usage_says_at_the_pinned_price(stub: StubServer) -> None:
    """A reply carries its text, its usage and its exact cost."""
    reply = answer(stub, Scene(body=message(USAGE)))
    assert reply.value == "ok"
    assert reply.finish == "end_turn"
    assert reply.cost == Money("0.0003")


def test_cached_tokens_come_on_top_and_at_their_own_prices(stub: StubServer) -> None:
    """This API counts cache reads and writes beside the input, not as part of it."""
    usage = {**USAGE, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 400}
    reply = answer(stub, Scene(body=message(usage)))
    assert reply.usage is not None
    assert reply.usage.get("input_tokens") == 1500
    assert reply.cost == Money("0.0003") + Money("0.0001") + Money("0.0005")


def test_the_request_is_written_in_the_messages_dialect(stub: StubServer) -> None:
    """The granted tokens are sent, and system messages become the system parameter."""
    asked = ModelRequest(
        model="stub/m",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello"},
            {"role": "system", "content": "Be kind."},
        ],
        max_tokens=500,
        options={"temperature": 0},
    )
    send(provider(stub.play(Scene(body=message(USAGE)))), asked, grant(42))
    (received,) = stub.requests
    assert received.path == "/v1/messages"
    assert received.body == {
        "model": "m",
        "system": "Be brief.\n\nBe kind.",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 42,
        "temperature": 0,
    }


def test_a_system_prompt_of_blocks_stays_in_blocks(stub: StubServer) -> None:
    """Blocks can carry marks, such as those for the cache, so they are not melted into text."""
    block = {"type": "text", "text": "Be brief."}
    asked = ModelRequest(
        model="stub/m",
        messages=[
            {"role": "system", "content": [block]},
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hello"},
        ],
    )
    send(provider(stub.play(Scene(body=message(USAGE)))), asked)
    assert stub.requests[0].body["system"] == [block, {"type": "text", "text": "Be kind."}]


def test_the_bound_cannot_be_undone(stub: StubServer) -> None:
    """Options that the bound depends on are refused, and so are several choices."""
    for name in ("max_tokens", "system"):
        with pytest.raises(InvalidConfig, match=name):
            provider(stub).call(ask("stub/m", options={name: 9}))
    with pytest.raises(InvalidConfig, match="one reply"):
        provider(stub).call(ask("stub/m", choices=2))


def test_a_reply_without_usage_has_no_known_cost(stub: StubServer) -> None:
    """Missing and empty usage leave the cost unknown, never 0."""
    for usage in (None, {}, {"input_tokens": 0, "output_tokens": 0}):
        reply = answer(stub, Scene(body=message(usage)))
        assert reply.value == "ok"
        assert reply.cost is None


def test_a_stream_adds_up_the_usage_of_its_start_and_its_end(stub: StubServer) -> None:
    """The input is counted at the start, the output at the end; the bill has both."""
    seen: list[int] = []

    async def produced(tokens: int) -> None:
        seen.append(tokens)

    start = {"input_tokens": 100, "cache_read_input_tokens": 50, "output_tokens": 1}
    scene = Scene(events=events(["Hel", "lo"], start, {"output_tokens": 20}))
    reply = send(
        provider(stub.play(scene)), ask("stub/m", stream=True), grant(50, produced=produced)
    )
    assert reply.value == "Hello"
    assert reply.finish == "end_turn"
    assert reply.usage is not None
    assert dict(reply.usage.counts) == {
        "cache_read_tokens": 50,
        "input_tokens": 150,
        "output_tokens": 20,
    }
    assert reply.cost == Money("0.000305")
    assert seen == [1, 16, 19, 21]
    assert stub.requests[0].body["stream"] is True


def test_later_counts_of_a_stream_replace_earlier_ones(stub: StubServer) -> None:
    """The last counts are cumulative, also those of the input."""
    scene = Scene(
        events=events(["ok"], {"input_tokens": 1}, {"input_tokens": 100, "output_tokens": 20})
    )
    assert answer(stub, scene, stream=True).cost == Money("0.0003")


def test_half_a_stream_is_a_failure_of_unknown_cost(stub: StubServer) -> None:
    """The input count at the start of a stream that was cut off is not the bill."""
    half = events(["one", "two"], USAGE, None, ends=False)
    for scene in (Scene(events=half), Scene(events=half, dies="midway")):
        failed = failure(stub, scene, stream=True)
        assert failed.billed == "unknown"
        assert failed.cost is None


def test_a_stream_that_ends_without_counting_has_no_known_cost(stub: StubServer) -> None:
    """A whole reply whose output nobody counted is kept, its cost is not guessed."""
    reply = answer(stub, Scene(events=events(["ok"], USAGE, None)), stream=True)
    assert reply.value == "ok"
    assert reply.cost is None


def test_an_error_in_the_middle_of_a_stream_leaves_the_cost_unknown(stub: StubServer) -> None:
    """Overloaded after the start is not overloaded before any work."""
    words = {"type": "error", "error": {"type": "overloaded_error", "message": "secret"}}
    wrong = f"event: error\ndata: {json.dumps(words)}\n\n".encode()
    for last in (wrong, b"event: content_block_delta\ndata: {nonsense\n\n"):
        half = [*events(["one"], USAGE, None, ends=False), last]
        failed = failure(stub, Scene(events=half), stream=True)
        assert failed.billed == "unknown"
        assert "secret" not in str(failed)


def test_streamed_tool_calls_are_put_together(stub: StubServer) -> None:
    """Pieces of a tool's input become one object; input cut off by the maximum stays text."""
    for written, expected in ((['{"a":', "1}"], {"a": 1}), (['{"a":', "1"], '{"a":1')):
        parts = [
            event.replace(b"text_delta", b"input_json_delta").replace(
                b'"text": "', b'"partial_json": "'
            )
            if b"text_delta" in event
            else event.replace(
                b'{"type": "text", "text": ""}', b'{"type": "tool_use", "name": "f"}'
            )
            for event in events(written, USAGE, {"output_tokens": 20})
        ]
        reply = answer(stub, Scene(events=parts), stream=True)
        assert reply.value == [{"type": "tool_use", "name": "f", "input": expected}]
        assert reply.cost == Money("0.0003")


def test_thinking_is_not_part_of_the_text(stub: StubServer) -> None:
    """What the model thought is billed, and left out of the reply's text."""
    body = json.loads(message(USAGE))
    body["content"].insert(0, {"type": "thinking", "thinking": "hm", "signature": "s"})
    assert answer(stub, Scene(body=json.dumps(body).encode())).value == "ok"


def test_a_key_is_sent_and_never_shown(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured key goes to its server and into no repr; the environment's goes nowhere."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-environment")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    stub.play(Scene(body=message(USAGE)))
    opened = provider(stub, api_key="sk-configured")
    send(opened, ask("stub/m"))
    send(provider(stub), ask("stub/m"))
    sent = [received.headers.get("x-api-key") for received in stub.requests]
    assert sent == ["sk-configured", None]
    versions = {received.headers["anthropic-version"] for received in stub.requests}
    assert versions == {"2023-06-01"}
    assert "sk-" not in repr(opened)
