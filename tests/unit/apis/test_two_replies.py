"""One stream that is fed the events of several replies, as by a client that began its own anew."""

from collections.abc import Callable
from typing import Any

import pytest

import earmark
from earmark import Money, PriceBook
from earmark.apis.reply_cost import PricedRequest, ReplyCost, reply_cost
from earmark.apis.streams import open_stream

Events = list[dict[str, Any]]

BOOK = PriceBook({"x/m": {"input_mtok": "1", "output_mtok": "1"}})
HELLO = [{"role": "user", "content": "hi"}]
#: What one reply costs, and one of the Messages API that is cut after its first text.
ONE, CUT = Money("0.00101"), Money("0.001001")


def chat(identity: str) -> Events:
    """Return the chunks of one completion."""
    head = {"id": identity, "model": "m"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 10}
    return [
        {**head, "choices": [{"index": 0, "delta": {"content": "hi"}}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**head, "choices": [], "usage": usage},
    ]


def message(identity: str) -> Events:
    """Return the events of one message; the last is its end."""
    usage = {"input_tokens": 1000, "output_tokens": 1}
    begun: dict[str, Any] = {"id": identity, "model": "m", "content": [], "usage": usage}
    text = {"type": "text_delta", "text": "hi"}
    return [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": text},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 10},
        },
        {"type": "message_stop"},
    ]


def gemini(identity: str) -> Events:
    """Return the responses of one stream, whose usage is that until then."""
    candidate = {"index": 0, "content": {"parts": [{"text": "hi"}]}}
    head = {"responseId": identity, "modelVersion": "m"} if identity else {"modelVersion": "m"}
    usage = {"promptTokenCount": 1000, "candidatesTokenCount": 4}
    end = {**candidate, "finishReason": "STOP"}
    return [
        {**head, "candidates": [candidate], "usageMetadata": usage},
        {**head, "candidates": [end], "usageMetadata": {**usage, "candidatesTokenCount": 10}},
    ]


def response(identity: str) -> Events:
    """Return the events of one response."""
    begun: dict[str, Any] = {"id": identity, "model": "m", "output": []}
    usage = {"input_tokens": 1000, "output_tokens": 10}
    item = {"type": "message", "id": "i", "content": [{"type": "output_text", "text": "hi"}]}
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": {**begun, "output": [item], "status": "completed", "usage": usage},
        },
    ]


REPLIES: dict[str, Callable[[str], Events]] = {
    "openai": chat,
    "anthropic": message,
    "gemini": gemini,
    "openai-responses": response,
}


def cost(api: str, events: Events) -> ReplyCost:
    """Return what is known of the cost of a stream of these events."""
    stream = open_stream(api)
    for event in events:
        stream.feed(event)
    asked = PricedRequest(price=BOOK.resolve("x/m", at=0), book=BOOK, api=api)
    return reply_cost(stream.reply(), asked)


@pytest.mark.parametrize("api", REPLIES)
def test_two_replies_in_one_stream_are_of_unknown_cost_and_no_less_than_both(api: str) -> None:
    """Two, three, one that begins once more by its own name; each alone costs what it says."""
    replies = REPLIES[api]
    assert cost(api, replies("a")).cost == ONE
    assert cost(api, [*replies("a")[:1], *replies("a")]).cost == ONE
    for names in ("ab", "abc"):
        found = cost(api, [event for name in names for event in replies(name)])
        assert (found.cost, found.known) == (None, Money.nanos(ONE.in_nanos * len(names)))
        assert found.note == "the events are of two replies"


@pytest.mark.parametrize("api", ["anthropic", "gemini", "openai-responses"])
def test_a_reply_without_a_name_is_another_by_its_second_start_or_end(api: str) -> None:
    """Of a server that names none."""
    found = cost(api, REPLIES[api]("") * 2)
    assert (found.cost, found.known) == (None, Money.nanos(2 * ONE.in_nanos))


def test_a_message_that_was_cut_and_begun_anew_has_cost_its_input_twice() -> None:
    """The first one's start counted its input."""
    found = cost("anthropic", [*message("a")[:3], *message("b")])
    assert (found.cost, found.known) == (None, Money.nanos(ONE.in_nanos + CUT.in_nanos))


@pytest.mark.parametrize(
    ("after", "done"), [(chat("a"), []), (chat("a"), ["[DONE]"]), (chat("a")[:1], [])]
)
def test_a_ticket_that_is_fed_two_replies_is_presumed_at_both(
    after: Events, done: list[str]
) -> None:
    """Above its hold: both are spent, and a settlement of its key may say better."""
    with earmark.open("memory:") as ledger:
        ledger.set_budget("a", limits=["1 usd total"])
        body = {"model": "m", "messages": HELLO, "max_tokens": 10, "stream": True}
        ticket = earmark.Guard(ledger, book=BOOK).open("a", body, provider="x", api="openai")
        for event in (*after, *done, *chat("b")):
            ticket.feed(event)
        charge = ticket.settle()
        assert (charge.state, charge.note) == ("presumed", "the events are of two replies")
        assert charge.settled == Money.nanos(ONE.in_nanos * (2 if len(after) > 1 else 1))
        assert charge.settled > charge.hold
        assert ledger.balances("a")[0].settled == charge.settled
