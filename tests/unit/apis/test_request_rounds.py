"""Requests that sample several times: server tools, and a summary before the answer."""

from typing import Any

import pytest

from earmark.apis.bounds import bound_request
from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded, Reason
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound
from earmark.pricing.usage import Usage

HELLO = [{"role": "user", "content": "hello"}]
PRICES = {"input_mtok": "5", "output_mtok": "25", "web_searches_kcount": "10"}
PRICE = PriceBook(own={"p/m": PRICES}).resolve("p/m", at=0)
COMPACTS = {"context_management": {"edits": [{"type": "compact_20260112"}]}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


def bound(more: dict[str, Any], **given: Any) -> ModelBound:
    """Return the bound of a short request with *more* in it."""
    body = {"model": "m", "messages": HELLO, "max_tokens": 1000, **more}
    return bound_request(read_body("anthropic", body), PRICE, default_max_tokens=1000, **given)


def test_a_window_bounds_what_cannot_be_counted() -> None:
    """The provider refuses more input than the window the user set, of whatever it is."""
    image = {"type": "image", "source": {"type": "url", "url": "…"}}
    messages = [{"role": "user", "content": [image]}]
    assert bound({"messages": messages}, context_window=200_000).input_tokens == 200_000
    given = {"extra_input_tokens": 1600, "context_window": 200_000}
    assert bound({"messages": messages}, **given).input_tokens < 3000
    with pytest.raises(BudgetExceeded, match="extra_input_tokens, the most, or the context_window"):
        bound({"messages": messages})


def test_each_use_of_a_tool_may_fill_the_window_again() -> None:
    """Three searches are four samplings, each with a context of its own, and three fees."""
    asked = bound({"tools": [SEARCH]}, context_window=200_000)
    assert asked.input_tokens == 4 * 200_000
    assert asked.fees == Usage.of(web_searches=3)
    assert asked.max_output_tokens == 1000
    two = bound({"tools": [SEARCH, {**SEARCH, "max_uses": 2}]}, context_window=1000)
    assert two.input_tokens == 6 * 1000


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]},
        {"tools": [{"type": "tool_search_tool_regex", "name": "tool_search_tool_regex"}]},
        {"mcp_servers": [{"type": "url", "url": "…", "name": "n"}]},
    ],
)
def test_rounds_without_a_number_need_an_explicit_bound(more: dict[str, Any]) -> None:
    """A window bounds one round; how many there are, nothing says (B4)."""
    with pytest.raises(BudgetExceeded, match="the most of all rounds") as refused:
        bound(more, context_window=1000)
    assert refused.value.reason is Reason.UNPRICED
    assert bound(more, context_window=1000, extra_input_tokens=50_000).input_tokens > 50_000


def test_a_compaction_is_a_window_and_a_summary() -> None:
    """The summary is a sampling of its own: once more the window in and the answer out (B23)."""
    asked = bound(COMPACTS, context_window=200_000)
    assert asked.input_tokens == 2 * 200_000
    assert asked.tokens() == 2 * 200_000 + 2 * 1000
    # A reply of 23000/1000 with a compaction of 180000/3500 (Claude API, "Compaction").
    billed = PRICE.cost(Usage.of(input_tokens=203_000, output_tokens=4500))
    assert billed == Money("1.1275")
    assert billed <= asked.cost()
    with pytest.raises(BudgetExceeded, match="a summary of the conversation"):
        bound(COMPACTS)
    searching = bound({**COMPACTS, "tools": [SEARCH]}, context_window=1000)
    assert searching.input_tokens == 2 * 4 * 1000


def test_a_clamp_of_a_compacting_request_counts_both_outputs() -> None:
    """Each output token of the limit may be written twice."""
    asked = bound(COMPACTS, context_window=1000)
    assert asked.cost(10) - asked.cost(9) == Money("0.00005")


def test_what_is_counted_is_read_again_in_each_round() -> None:
    """Three searches are four samplings: each reads the prompt and what was written before it."""
    prompt = {"messages": [{"role": "user", "content": "x" * 20_000}]}
    once = bound(prompt).input_tokens
    tool = bound({**prompt, "tools": [{"name": "f", "input_schema": {}}]}).input_tokens - once
    asked = bound({**prompt, "tools": [SEARCH]}, extra_input_tokens=7000).input_tokens
    again = 4 * once + 3 * 1000 + 7000
    assert again <= asked <= again + 4 * tool
    summarised = bound({**prompt, **COMPACTS}, extra_input_tokens=0).input_tokens
    assert 0 <= summarised - (2 * once + 1000) < 500
