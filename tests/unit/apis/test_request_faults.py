"""Calls that once cost more than was held for them, each with the cost it had."""

from datetime import UTC, datetime
from typing import Any

import pytest

import earmark
from earmark import BudgetExceeded, Money, PriceBook, Usage

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
HELLO = [{"role": "user", "content": "hello"}]
DOCUMENT = {
    "type": "document",
    "source": {"type": "url", "url": "…"},
    "cache_control": {"type": "ephemeral", "ttl": "1h"},
}
MCP = {"type": "url", "url": "…", "name": "n"}
#: Provider and model; the request and what is known of it; the usage that was billed; its cost.
CALLS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], Usage, str]] = {
    "B4 MCP servers sample in rounds that pass the window together": (
        "anthropic",
        "p/m",
        {"messages": HELLO, "max_tokens": 500, "mcp_servers": [MCP]},
        {"extra_input_tokens": 1_000_000, "context_window": 200_000},
        Usage.of(input_tokens=900_000, output_tokens=500),
        "0.9025",
    ),
    "B14 a cache of one hour on a document": (
        "anthropic",
        "anthropic/claude-sonnet-4-5",
        {"messages": [{"role": "user", "content": [DOCUMENT]}], "max_tokens": 9},
        {"extra_input_tokens": 100_290},
        Usage.of(input_tokens=100_290, cache_write_tokens=100_290, cache_write_1h_tokens=100_290),
        "0.60174",
    ),
    "B21 a window the list has too small": (
        "openai",
        "openai/gpt-4.1",
        {"messages": HELLO, "max_tokens": 1000},
        {"extra_input_tokens": 1_045_010},
        Usage.of(input_tokens=1_045_010, output_tokens=1000),
        "2.09802",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_call_cost_is_held_for_it(name: str) -> None:
    """The bill, to the nano-dollar, is at most the bound."""
    api, model, body, known, billed, cost = CALLS[name]
    book = PriceBook({"p/m": {"input_mtok": "1", "output_mtok": "5"}})
    provider, _, short = model.partition("/")
    asked = {"model": short, **body}
    bound = earmark.bound(asked, api=api, provider=provider, book=book, at=AT, **known)
    assert earmark.cost(model, usage=billed, book=book, at=AT) == Money(cost)
    assert bound.cost >= Money(cost)


@pytest.mark.parametrize(
    ("api", "provider", "model", "asked"),
    [
        ("openai", "openai", "gpt-5", {"service_tier": "batch"}),
        ("openai", "openai", "gpt-5", {"service_tier": " BATCH"}),
        ("openai-responses", "openai", "gpt-5", {"service_tier": "batch"}),
        ("gemini", "google", "gemini-2.5-flash", {"serviceTier": "batch"}),
        ("gemini", "google", "gemini-2.5-flash", {"service_tier": "batch"}),
        ("anthropic", "anthropic", "claude-haiku-4-5", {"service_tier": "batch"}),
        ("anthropic", "anthropic", "claude-haiku-4-5", {"speed": "batch"}),
    ],
)
def test_a_call_that_is_answered_at_once_is_never_held_for_as_a_batch(
    api: str, provider: str, model: str, asked: dict[str, Any]
) -> None:
    """It was held, and settled, at half of what it costs: batches have an endpoint of their own."""
    bodies = {
        "openai": {"messages": HELLO, "max_completion_tokens": 100},
        "openai-responses": {"input": "hello", "max_output_tokens": 100},
        "gemini": {
            "contents": [{"parts": [{"text": "hello"}]}],
            "generationConfig": {"maxOutputTokens": 100},
        },
        "anthropic": {"messages": HELLO, "max_tokens": 100},
    }
    body = {"model": model, **bodies[api]}
    assert earmark.bound(body, api=api, provider=provider, at=AT).cost
    with pytest.raises(BudgetExceeded, match="batches are sent to an endpoint") as refused:
        earmark.bound({**body, **asked}, api=api, provider=provider, at=AT)
    assert f"'{next(iter(asked))}'" in str(refused.value)
    price = PriceBook().resolve(model, provider=provider, at=0, tier="batch")
    assert price.allowed == ("batch",)
