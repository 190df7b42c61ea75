"""What a reply cost: its counters at the price of its request, and what is known where more is."""

from dataclasses import replace
from typing import Any

import pytest

from earmark.apis.reply_cost import PricedRequest, reply_cost, request_id_of
from earmark.money import Money
from earmark.pricing.book import PriceBook

BOOK = PriceBook({"test/m": {"input_mtok": "1", "output_mtok": "2"}})
PRICE = BOOK.resolve("test/m", at=0)
TEXT = {"role": "assistant", "content": "hi"}


def openai(**usage: Any) -> dict[str, Any]:
    """Return a Chat Completions body with these counters."""
    choices = [{"index": 0, "message": TEXT, "finish_reason": "stop"}]
    return {"id": "chatcmpl-1", "model": "m", "choices": choices, "usage": usage}


ASKED = PricedRequest(price=PRICE, book=BOOK, api="openai")


def test_a_reply_costs_its_counters_at_the_price_of_its_request() -> None:
    """Known counters, the model that was asked for: nothing is in doubt."""
    known = reply_cost(openai(prompt_tokens=100, completion_tokens=10), ASKED)
    assert (known.cost, known.known, known.note) == (Money("0.00012"), None, "")
    assert dict(known.usage.counts if known.usage else {}) == {
        "input_tokens": 100, "output_tokens": 10,
    }  # fmt: skip


def test_a_counter_nobody_lists_leaves_what_the_others_cost() -> None:
    """The cost is unknown, the known part is priced, and the counter is named."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "dream_tokens": 7}
    known = reply_cost(openai(**usage), ASKED)
    assert (known.cost, known.known) == (None, Money("0.00012"))
    assert "dream_tokens" in known.unknown[0]
    assert "dream_tokens" in known.note


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("openai", openai(prompt_tokens=9, completion_tokens=0)),
        (
            "anthropic",
            {
                "model": "m",
                "content": [{"type": "text", "text": "hi"}],
                "usage": {"input_tokens": 9, "output_tokens": 0},
            },
        ),
        (
            "openai-responses",
            {
                "model": "m",
                "output": [{"type": "message", "content": [{"type": "output_text"}]}],
                "usage": {"input_tokens": 9, "output_tokens": 0, "total_tokens": 9},
            },
        ),
        (
            "gemini",
            {
                "modelVersion": "models/m",
                "candidates": [{"content": {"parts": [{"text": "hi"}]}}],
                "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
            },
        ),
    ],
)
def test_output_that_was_not_counted_leaves_the_cost_unknown(api: str, body: Any) -> None:
    """In the shape of each API: a usage that says nothing was written is not believed."""
    known = reply_cost(body, PricedRequest(price=PRICE, book=BOOK, api=api))
    assert (known.cost, known.known) == (None, Money("0.000009"))
    assert "less than" in known.note


@pytest.mark.parametrize(
    ("more", "known", "named"),
    [
        # No price for a search: the tokens are known, the search is named.
        ({"server_tool_use": {"web_search_requests": 3}}, "0.00012", "web_searches = 3"),
        # More cached tokens than input: contradictory, but the wholes are known.
        ({"prompt_tokens_details": {"cached_tokens": 200}}, "0.00012", ""),
        # The same, beside a counter that no table lists.
        ({"dream_tokens": 7, "server_tool_use": {"web_search_requests": 3}}, "0.00012", "dream"),
    ],
)
def test_what_has_a_price_is_known_beside_what_has_none(
    more: dict[str, Any], known: str, named: str
) -> None:
    """The cost is unknown, what is known of it is not lost, and each counter is named."""
    book = PriceBook({"openrouter/m": {"input_mtok": "1", "output_mtok": "2"}})
    price = book.resolve("openrouter/m", at=0)
    body = openai(prompt_tokens=100, completion_tokens=10, **more)
    found = reply_cost(body, PricedRequest(price=price, book=book, api="openai"))
    assert (found.cost, found.known) == (None, Money(known))
    assert any(named in each for each in (*found.unknown, ""))
    assert len(found.unknown) == len(more) - ("prompt_tokens_details" in more)


def test_a_tier_without_a_price_leaves_the_cost_at_the_tier_that_was_asked_for() -> None:
    """Billed at a tier nobody priced: unknown, and no less than at the known one."""
    body = {**openai(prompt_tokens=100, completion_tokens=10), "service_tier": "platinum"}
    found = reply_cost(body, ASKED)
    assert (found.cost, found.known) == (None, Money("0.00012"))
    assert "platinum" in found.note


def test_what_a_provider_billed_is_the_cost_of_its_own_host_only() -> None:
    """OpenRouter charges more than its counters show, Perplexity less than its searches (B19)."""
    rates = {"input_mtok": "0.05", "output_mtok": "0.3"}
    book = PriceBook(
        {"openrouter/m": rates, "perplexity/m": {"input_mtok": "1", "output_mtok": "1"}}
    )
    asked = PricedRequest(price=book.resolve("openrouter/m", at=0), book=book, api="openai")
    body = openai(prompt_tokens=694, completion_tokens=3154, cost=0.00215798)
    lying = openai(prompt_tokens=694, completion_tokens=3154, cost=0)
    own, foreign = (replace(asked, host=host) for host in ("openrouter.ai", "localhost:1"))
    assert reply_cost(body, own).cost == Money("0.00215798")
    assert reply_cost(lying, foreign).cost == Money("0.0009809")
    stated = reply_cost(body, foreign)
    assert stated.cost == Money("0.00215798")
    assert "0.00215798 USD was billed" in stated.note
    perplexity = openai(prompt_tokens=9, completion_tokens=431, cost={"total_cost": 0.005447})
    at_its_own = replace(own, price=book.resolve("perplexity/m", at=0), host="api.perplexity.ai")
    assert reply_cost(perplexity, at_its_own).cost == Money("0.005447")
    # What was billed is the cost, whatever no table lists.
    dreaming = openai(prompt_tokens=9, completion_tokens=1, dream_tokens=7, cost=0.5)
    assert reply_cost(dreaming, own).cost == Money("0.5")
    unknown = reply_cost(dreaming, foreign)
    assert (unknown.cost, unknown.known) == (None, Money("0.5"))


def test_a_model_nobody_priced_leaves_the_cost_unknown() -> None:
    """A reply of another model is not billed as the one that was asked for."""
    body = {**openai(prompt_tokens=9, completion_tokens=1), "model": "dearer"}
    known = reply_cost(body, ASKED)
    assert (known.cost, known.known) == (None, Money("0.000011"))
    assert "dearer" in known.note


@pytest.mark.parametrize(
    ("headers", "name"),
    [({"X-Request-ID": "req-1"}, "req-1"), ({"request-id": "req-2"}, "req-2"), ({}, "chatcmpl-1")],
)
def test_a_request_is_named_by_its_headers_else_by_its_reply(headers: Any, name: str) -> None:
    """OpenAI and Anthropic name a request in a header; a reply has an id of its own."""
    assert request_id_of({"id": "chatcmpl-1"}, headers) == name
    assert request_id_of({"id": "a\nb"}) is None
