"""The Chat Completions provider against a server that plays real bodies."""

import asyncio
import os
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from earmark.admission.call import ModelRequest, Provider, Reply
from earmark.clock import SystemClock
from earmark.errors import BudgetExceeded, CallFailed, InvalidConfig, Reason
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import open_provider
from support.calls import ask, grant, send
from support.stub_server import Scene, StubServer, chunks, completion

#: 1 USD a million input tokens, 10 a million output tokens, and a dearer sibling.
BOOK = PriceBook(
    {
        "stub/m": {"input_mtok": "1", "output_mtok": "10", "cache_read_mtok": "0.1"},
        "stub/dear": {"input_mtok": "2", "output_mtok": "20"},
        "stub/cheap": {"input_mtok": "0.5", "output_mtok": "5"},
    }
)
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def provider(stub: StubServer, **more: Any) -> Provider:
    """Open the provider on the stub."""
    settings: dict[str, Any] = {
        "book": BOOK,
        "clock": SystemClock(),
        "base_url": f"{stub.url}/v1",
        **more,
    }
    return open_provider("stub", api="openai", **settings)


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
    reply = answer(stub, Scene(body=completion(USAGE)))
    assert reply.value == "ok"
    assert reply.finish == "stop"
    assert reply.cost == Money("0.0003")
    assert reply.usage is not None
    assert reply.usage.tokens == 120
    assert reply.note == ""


def test_cached_input_is_priced_as_cached(stub: StubServer) -> None:
    """Tokens read from the provider's cache cost their own price."""
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 90}}
    reply = answer(stub, Scene(body=completion(usage)))
    assert reply.cost == Money("0.000010") + Money("0.000009") + Money("0.0002")


def test_the_granted_tokens_are_the_ones_sent(stub: StubServer) -> None:
    """What the guard granted is sent as `max_tokens`, not what the caller wished for."""
    call = ask("stub/m", max_tokens=500, options={"temperature": 0, "extra_body": {"seed": 7}})
    send(provider(stub.play(Scene(body=completion(USAGE)))), call, grant(42))
    (received,) = stub.requests
    assert received.path == "/v1/chat/completions"
    assert received.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 42,
        "temperature": 0,
        "seed": 7,
    }


def test_a_call_without_a_maximum_is_sent_with_one(stub: StubServer) -> None:
    """A request that names no maximum gets the provider's default: there is always a bound."""
    stub.play(Scene(body=completion(USAGE)))
    opened = provider(stub, default_max_tokens=77)
    assert opened.call(ask("stub/m")).bound.max_output_tokens == 77
    send(opened, ask("stub/m"))
    assert stub.requests[0].body["max_tokens"] == 77


def test_openai_itself_is_sent_the_name_its_reasoning_models_know(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At OpenAI the bound is `max_completion_tokens`, which covers hidden reasoning."""
    monkeypatch.setenv("HTTP_PROXY", stub.url)
    stub.play(Scene(body=completion(USAGE)))
    send(provider(stub, base_url="http://api.openai.com/v1"), ask("stub/m"), grant(42))
    assert stub.requests[0].body["max_completion_tokens"] == 42
    assert "max_tokens" not in stub.requests[0].body
    # Not said, the tier is what the project's settings say, at another price.
    assert stub.requests[0].body["service_tier"] == "default"


def test_options_cannot_undo_the_bound(stub: StubServer) -> None:
    """An option that the bound depends on is refused before anything is sent."""
    for name in ("max_tokens", "n", "stream", "extra_headers"):
        with pytest.raises(InvalidConfig, match=name):
            provider(stub).call(ask("stub/m", options={name: 9}))


def test_a_model_without_a_price_is_refused(stub: StubServer) -> None:
    """No price, no call."""
    with pytest.raises(BudgetExceeded) as raised:
        provider(stub).call(ask("stub/unknown"))
    assert raised.value.reason is Reason.UNPRICED


def test_a_reply_without_usage_has_no_known_cost(stub: StubServer) -> None:
    """Missing, empty and zero usage all leave the cost unknown, never 0."""
    for usage in (None, {}, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}):
        reply = answer(stub, Scene(body=completion(usage)))
        assert reply.value == "ok"
        assert reply.cost is None, usage
        assert "usage" in reply.note


def test_usage_that_counts_no_output_for_written_text_is_not_believed(stub: StubServer) -> None:
    """Text cannot have been written with no output tokens."""
    usage = {"prompt_tokens": 100, "completion_tokens": 0, "total_tokens": 100}
    assert answer(stub, Scene(body=completion(usage))).cost is None


def test_usage_that_cannot_be_leaves_the_cost_unknown(stub: StubServer) -> None:
    """Negative, absurd and contradictory counts are not a bill."""
    wrong = [
        {"prompt_tokens": 100, "completion_tokens": -5},
        {"prompt_tokens": 100, "completion_tokens": "many"},
        {"prompt_tokens": 100, "completion_tokens": 10**30},
        {**USAGE, "prompt_tokens_details": {"cached_tokens": 101}},
    ]
    for usage in wrong:
        reply = answer(stub, Scene(body=completion(usage)))
        assert reply.cost is None, usage
        assert reply.note


def test_usage_above_the_bound_is_reported_as_it_is(stub: StubServer) -> None:
    """A provider that wrote more than it was allowed is billed for all of it."""
    reply = answer(
        stub, Scene(body=completion({**USAGE, "completion_tokens": 9_000})), max_tokens=10
    )
    assert reply.cost == Money("0.0901")


def test_a_dated_name_of_the_model_is_the_model(stub: StubServer) -> None:
    """Providers answer with the dated name of what was asked for; the pinned price holds."""
    for name in ("m-2026-11-22", "m-20261122", "m-1122"):
        reply = answer(stub, Scene(body=completion(USAGE, model=name)))
        assert reply.cost == Money("0.0003")
        assert reply.model == name
        assert reply.note == ""


def test_a_dated_name_with_a_price_of_its_own_is_billed_at_the_dearer(stub: StubServer) -> None:
    """An older version of a family may cost twice as much: it is not taken for the newest."""
    book = PriceBook(
        own={
            "stub/m": {"input_mtok": "2.5", "output_mtok": "10"},
            "stub/m-2024-05-13": {"input_mtok": "5", "output_mtok": "15"},
        }
    )
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}
    stub.play(Scene(body=completion(usage, model="m-2024-05-13")))
    reply = send(provider(stub, book=book), ask("stub/m"))
    assert reply.cost == Money("0.02")


def test_an_option_the_user_allows_is_sent(stub: StubServer) -> None:
    """What no table knows is refused before anything is sent, unless the user vouches for it."""
    call = ask("stub/m", options={"knob_of_tomorrow": 3})
    with pytest.raises(BudgetExceeded, match="knob_of_tomorrow"):
        provider(stub).call(call)
    stub.play(Scene(body=completion(USAGE)))
    send(provider(stub, allowed_options=frozenset({"knob_of_tomorrow"})), call)
    assert stub.requests[0].body["knob_of_tomorrow"] == 3


def test_a_reply_of_another_model_never_costs_too_little(stub: StubServer) -> None:
    """Another model is billed at the dearer of the two prices, and unknown without a price."""
    expected = {"dear": Money("0.0006"), "cheap": Money("0.0003"), "stranger": None}
    for name, cost in expected.items():
        reply = answer(stub, Scene(body=completion(USAGE, model=name)))
        assert reply.cost == cost, name
        assert name in reply.note


def test_several_choices_of_a_compatible_server_have_no_known_cost(stub: StubServer) -> None:
    """Some servers report the usage of one choice only, so the sum is not believed."""
    scene = Scene(body=completion(USAGE, texts=["one", "two"]))
    reply = answer(stub, scene, choices=2)
    assert stub.requests[0].body["n"] == 2
    assert reply.value == ["one", "two"]
    assert reply.cost is None
    assert "choices" in reply.note


def test_several_choices_of_openai_are_believed(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI reports the usage of all choices."""
    monkeypatch.setenv("HTTP_PROXY", stub.url)
    stub.play(Scene(body=completion(USAGE, texts=["one", "two"])))
    opened = provider(stub, base_url="http://api.openai.com/v1")
    reply = send(opened, ask("stub/m", choices=2))
    assert reply.cost == Money("0.0003")


def test_a_unit_without_a_price_leaves_the_cost_unknown(stub: StubServer) -> None:
    """Generated audio has no price here: the reply is kept, its cost is not guessed."""
    usage = {**USAGE, "completion_tokens_details": {"audio_tokens": 5}}
    reply = answer(stub, Scene(body=completion(usage)))
    assert reply.value == "ok"
    assert reply.cost is None
    assert "audio" in reply.note


def test_a_tool_call_is_returned_as_it_was_sent(stub: StubServer) -> None:
    """A reply that is more than text is the provider's message, untouched."""
    tool = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [tool]}
    body = completion(
        USAGE, choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    )
    reply = answer(stub, Scene(body=body))
    assert reply.value == message
    assert reply.finish == "tool_calls"


def test_a_stream_adds_up_to_the_reply_and_its_usage(stub: StubServer) -> None:
    """A stream asks for its usage, reports its progress, and is billed like a plain reply."""
    seen: list[int] = []

    async def produced(tokens: int) -> None:
        seen.append(tokens)

    stub.play(Scene(events=chunks(["Hel", "lo ", "you"], USAGE)))
    reply = send(provider(stub), ask("stub/m", stream=True), grant(50, produced=produced))
    assert reply.value == "Hello you"
    assert reply.finish == "stop"
    assert reply.cost == Money("0.0003")
    assert seen == sorted({*seen})
    assert [tokens >= size for tokens, size in zip(seen, (3, 6, 9), strict=True)] == [True] * 3
    assert stub.requests[0].body["stream_options"] == {"include_usage": True}


def test_streamed_tool_calls_are_put_together(stub: StubServer) -> None:
    """Pieces of a tool call's arguments become one call."""
    parts = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a":'}},
        {"index": 0, "function": {"arguments": "1}"}},
    ]
    events = [
        event.replace(b'"content": "x"', b'"tool_calls": ' + _json([part]))
        for event, part in zip(chunks(["x"] * 3, USAGE), parts, strict=False)
    ]
    reply = answer(stub, Scene(events=[*events, *chunks([], USAGE)]), stream=True)
    assert reply.value["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]


def test_a_stream_never_reports_less_than_it_can_have_written(stub: StubServer) -> None:
    """What is written is counted by its bytes, and never beyond what was asked for."""
    seen: list[int] = []

    async def produced(tokens: int) -> None:
        seen.append(tokens)

    stub.play(Scene(events=chunks(["x" * 30, "\N{PARTY POPPER}" * 30, "z" * 90], USAGE)))
    send(provider(stub), ask("stub/m", stream=True), grant(200, produced=produced))
    assert 30 <= seen[0] < 60
    assert seen[1] == seen[0] + 120
    assert seen[2] == 200


def test_a_stream_without_usage_has_no_known_cost(stub: StubServer) -> None:
    """A server that ignores the wish for usage leaves the cost unknown."""
    reply = answer(stub, Scene(events=chunks(["hello"], None)), stream=True)
    assert reply.value == "hello"
    assert reply.cost is None


def test_half_a_stream_is_a_failure_of_unknown_cost(stub: StubServer) -> None:
    """A stream cut off, cleanly or not, may have been billed."""
    half = chunks(["one", "two"], USAGE, finish=None)
    for scene in (Scene(events=half), Scene(events=half, dies="midway")):
        failed = failure(stub, scene, stream=True)
        assert failed.billed == "unknown"
        assert "2 pieces" in failed.detail


def test_usage_sent_before_the_end_of_a_cut_stream_is_not_the_bill(stub: StubServer) -> None:
    """Servers that count as they go have not counted what came after the cut."""
    half = chunks(["one", "two"], USAGE, finish=None)
    early = [half[0].replace(b'"created": 1', b'"created": 1, "usage": ' + _json(USAGE)), half[1]]
    failed = failure(stub, Scene(events=early), stream=True)
    assert failed.billed == "unknown"
    assert failed.cost is None


def test_garbage_in_a_stream_is_a_failure_of_unknown_cost(stub: StubServer) -> None:
    """What is no JSON, no object, or an error in the middle ends the call, billed or not."""
    for event in (b"data: {nonsense\n\n", b"data: [1, 2]\n\n", b"data: 7\n\n"):
        events = [*chunks(["one"], USAGE, finish=None), event]
        assert failure(stub, Scene(events=events), stream=True).billed == "unknown"
    wrong = b'data: {"error": {"message": "secret prompt", "type": "server_error"}}\n\n'
    failed = failure(stub, Scene(events=[*chunks(["a"], USAGE, finish=None), wrong]), stream=True)
    assert failed.billed == "unknown"
    assert "server_error" in failed.detail
    assert "secret" not in failed.detail


def test_a_refusal_in_the_middle_stops_the_stream(stub: StubServer) -> None:
    """When the hold cannot grow, the refusal passes and the connection is closed."""
    stop = BudgetExceeded(reason=Reason.EXHAUSTED, budget="b")

    async def produced(tokens: int) -> None:
        if tokens >= 30:
            raise stop

    stub.play(Scene(events=chunks(["a" * 20, "b" * 20, "c", "d"], USAGE)))
    with pytest.raises(BudgetExceeded) as raised:
        send(provider(stub), ask("stub/m", stream=True), grant(50, produced=produced))
    assert raised.value is stop


def test_a_body_that_is_no_completion_is_a_failure_of_unknown_cost(stub: StubServer) -> None:
    """HTML, a list, an error or nothing at all under status 200 may have been billed."""
    bodies = [b"<html>busy</html>", b"[1]", b"{", b"", b"null", b'{"error": {"type": "x"}}']
    for body in bodies:
        assert failure(stub, Scene(body=body)).billed == "unknown", body
    html = Scene(body=b"<html></html>", headers={"content-type": "text/html"})
    assert failure(stub, html).billed == "unknown"


def test_a_useless_body_with_usage_is_a_failure_of_known_cost(stub: StubServer) -> None:
    """A reply without choices that reports its usage was billed for exactly that."""
    failed = failure(stub, Scene(body=completion(USAGE, texts=[])))
    assert failed.billed == "yes"
    assert failed.cost == Money("0.0003")


def test_cancelling_a_call_closes_it_and_passes_the_cancellation(stub: StubServer) -> None:
    """Who cancels gets a cancellation, not a failure; the request is gone."""
    held = threading.Event()
    stub.play(Scene(body=completion(USAGE), waits=held, billed=USAGE))

    async def cancel() -> None:
        opened = provider(stub)
        task = asyncio.create_task(opened.call(ask("stub/m")).send(grant()))
        await asyncio.to_thread(stub.arrived.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await opened.aclose()

    try:
        asyncio.run(cancel())
    finally:
        held.set()
    assert stub.bill == [USAGE]


def test_a_key_is_sent_and_never_shown(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured key goes to its server and into no repr; the environment's goes nowhere."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    stub.play(Scene(body=completion(USAGE)))
    opened = provider(stub, api_key="sk-configured")
    send(opened, ask("stub/m"))
    send(provider(stub), ask("stub/m"))
    sent = [received.headers.get("authorization") for received in stub.requests]
    assert sent == ["Bearer sk-configured", None]
    assert "sk-" not in repr(opened)
    assert "sk-" not in repr(opened.call(ask("stub/m")))
    assert repr(opened) == f"ModelProvider('stub', 'openai', {stub.url.removeprefix('http://')!r})"


def test_one_provider_serves_one_event_loop_after_another(stub: StubServer) -> None:
    """A program that calls `asyncio.run` twice can keep its provider, though it never closed it.

    In a process of its own: connections left open in a loop that ended make Python warn.
    """
    stub.play(Scene(body=completion(USAGE)))
    script = f"""
import asyncio
from earmark.clock import SystemClock
from earmark.pricing.book import PriceBook
from earmark.provider import open_provider
from support.calls import ask, grant

book = PriceBook({{"stub/m": {{"input_mtok": "1", "output_mtok": "10"}}}})
provider = open_provider(
    "stub", api="openai", book=book, clock=SystemClock(), base_url="{stub.url}/v1"
)
for _ in range(3):
    print(asyncio.run(provider.call(ask("stub/m")).send(grant())).cost)
"""
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | path, capture_output=True, check=False
    )
    assert done.stdout.decode().split() == ["0.0003"] * 3, done.stderr.decode()


def test_the_context_window_of_a_server_bounds_its_input(stub: StubServer) -> None:
    """A server cannot read more than its window, so no call holds more than that."""
    long = ask("stub/m", "word " * 5_000)
    by_bytes = provider(stub).call(long).bound.tokens(0)
    within_window = provider(stub, context_window=2048).call(long).bound.tokens(0)
    assert by_bytes is not None
    assert by_bytes > 20_000
    assert within_window == 2048


def test_list_prices_hold_for_list_models(stub: StubServer) -> None:
    """A provider of the price list's name needs no prices of one's own."""
    stub.play(Scene(body=completion(USAGE, model="gpt-4o-2024-08-06")))
    opened = open_provider(
        "openai", api="openai", book=PriceBook(), clock=SystemClock(), base_url=f"{stub.url}/v1"
    )
    reply = send(opened, ask("openai/gpt-4o"))
    per_million = (Decimal("2.50"), Decimal(10))
    assert reply.cost == Money.ceil((100 * per_million[0] + 20 * per_million[1]) / 1_000_000)


def _json(value: object) -> bytes:
    import json

    return json.dumps(value).encode()
