"""A stream that names two models, or two tiers: nobody knows which of them is billed."""

from typing import Any

import pytest

from earmark.apis.reply_cost import PricedRequest, reply_cost
from earmark.apis.streams import open_stream
from earmark.money import Money
from earmark.pricing.book import PriceBook

BOOK = PriceBook(
    {
        "x/m": {"input_mtok": "1", "output_mtok": "1"},
        "x/dear": {"input_mtok": "9", "output_mtok": "9"},
    }
)


def chat(*heads: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a chat stream with these members, event by event."""
    choice = {"index": 0, "delta": {"content": "hi"}}
    usage = {"prompt_tokens": 1000, "completion_tokens": 10}
    last = {"choices": [{**choice, "finish_reason": "stop"}], "usage": usage}
    return [{"model": "m", **head, "choices": [choice]} for head in heads] + [{**heads[-1], **last}]


def message(first: dict[str, Any], then: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a Messages stream that starts twice, or whose usages name these tiers."""
    usage = {"input_tokens": 1000, "output_tokens": 10}

    def start(more: dict[str, Any]) -> dict[str, Any]:
        inner: dict[str, Any] = {"id": "r", "model": "m", "content": [], **more}
        return {"type": "message_start", "message": {**inner, "usage": {**usage, **more}}}

    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    return [start(first), start(then), end]


def gemini(*heads: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a stream of generateContent whose events and usages have these members."""
    usage = {"promptTokenCount": 1000, "candidatesTokenCount": 10, "totalTokenCount": 1010}
    candidate = {"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP", "index": 0}
    whole = {"responseId": "r", "modelVersion": "m", "candidates": [candidate]}
    return [{**whole, **head, "usageMetadata": {**usage, **head}} for head in heads]


def response(first: dict[str, Any], then: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a stream of a response whose first and last events have these members."""
    usage = {"input_tokens": 1000, "output_tokens": 10}
    begun: dict[str, Any] = {"id": "r", "model": "m", "output": [], **first}
    done: dict[str, Any] = {**begun, **then, "status": "completed", "usage": usage}
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.completed", "response": done},
    ]


def cost(api: str, events: list[dict[str, Any]]) -> tuple[Money | None, Money | None]:
    """Return what the stream cost, and what is known where that is not."""
    stream = open_stream(api)
    for event in events:
        stream.feed(event)
    asked = PricedRequest(price=BOOK.resolve("x/m", at=0), book=BOOK, api=api)
    found = reply_cost(stream.reply(), asked)
    return found.cost, found.known


STREAMS = {
    "openai": chat,
    "anthropic": message,
    "gemini": gemini,
    "openai-responses": response,
}
MODEL = {"gemini": "modelVersion"}


@pytest.mark.parametrize("api", STREAMS)
def test_two_models_in_one_stream_leave_its_cost_unknown(api: str) -> None:
    """Whichever comes last; but a name, its dated one and an empty one are one model."""
    member, events = MODEL.get(api, "model"), STREAMS[api]
    known = Money("0.00101")
    for names in (("dear", "m"), ("m", "other")):
        assert cost(api, events(*({member: name} for name in names))) == (None, known)
    for names in (("m", "m"), ("m", "m-2026-01-01"), ("m-2026-01-01", "m"), ("", "m"), ("m", "")):
        assert cost(api, events(*({member: name} for name in names))) == (known, None)


TIERS = {"openai": "service_tier", "anthropic": "service_tier", "gemini": "serviceTier"}


@pytest.mark.parametrize("api", TIERS)
def test_two_tiers_in_one_stream_leave_its_cost_unknown(api: str) -> None:
    """Also where the last is the cheap one; what is no tier yet is none."""
    member, events = TIERS[api], STREAMS[api]
    for names in (("priority", "standard"), ("standard", "priority")):
        assert cost(api, events(*({member: name} for name in names)))[0] is None
    for names in (("default", "standard"), ("auto", "default"), ("default", "auto")):
        assert cost(api, events(*({member: name} for name in names)))[0] == Money("0.00101")


def test_the_tier_of_a_response_is_that_of_its_end() -> None:
    """It begins with the one that was asked for."""
    events = response({"service_tier": "priority"}, {"service_tier": "default"})
    assert cost("openai-responses", events) == (Money("0.00101"), None)
