"""`earmark.cost`."""

from datetime import UTC, datetime
from typing import Any

import pytest

from earmark.apis.cost import cost
from earmark.errors import InvalidUsage
from earmark.money import Money
from earmark.pricing.usage import Usage

AT = datetime(2026, 11, 22, tzinfo=UTC)
GOLDEN = {"input_tokens": 163, "output_tokens": 3025}


def test_golden_cost() -> None:
    """163 tokens in and 3,025 out on claude-sonnet-4-20250514 cost exactly 0.045864 USD."""
    for usage in (GOLDEN, Usage(GOLDEN)):
        actual = cost("claude-sonnet-4-20250514", provider="anthropic", usage=usage, at=AT)
        assert str(actual) == "0.045864"


def test_golden_cost_of_a_reply() -> None:
    """The same reply's body costs the same, and so does its provider/model name."""
    body = {"model": "claude-sonnet-4-20250514", "usage": GOLDEN}
    assert cost("anthropic/claude-sonnet-4-20250514", body=body, at=AT) == Money("0.045864")
    assert cost("claude-sonnet-4-20250514", body=body) == Money("0.045864")


def test_a_cost_is_rounded_up_once() -> None:
    """One token of 0.0375 USD per million is 37.5 nano-dollars: 38; two are 75, not 76."""
    model = "google/gemini-2.0-flash-lite"
    assert cost(model, usage={"input_tokens": 1}, at=AT) == Money.nanos(75)
    from_own = {"local/m": {"input_mtok": "0.0375", "output_mtok": "0.0375"}}
    from earmark.pricing.book import PriceBook

    book = PriceBook(own=from_own)
    assert cost("local/m", usage={"input_tokens": 1}, book=book) == Money.nanos(38)
    both = {"input_tokens": 1, "output_tokens": 1}
    assert cost("local/m", usage=both, book=book) == Money.nanos(75)


@pytest.mark.parametrize("given", [{}, {"body": {}, "usage": {}}])
def test_body_and_usage_are_one_or_the_other(given: dict[str, Any]) -> None:
    """A cost is of a reply or of a usage: neither, or both, is refused."""
    with pytest.raises(InvalidUsage, match="either"):
        cost("openai/gpt-4o", **given)


def test_absurd_costs_are_refused() -> None:
    """A call of millions of dollars is a broken report."""
    with pytest.raises(InvalidUsage, match="not credible"):
        cost("openai/o1-pro", usage={"input_tokens": 0, "output_tokens": 10**12}, at=AT)


def test_parts_larger_than_their_whole_are_refused() -> None:
    """More cached tokens than input tokens, or reasoning than output, cannot be."""
    for usage in (
        {"input_tokens": 5, "cache_read_tokens": 6},
        {"cache_read_tokens": 6},
        {"input_tokens": 5, "output_tokens": 1, "output_reasoning_tokens": 2},
        {"input_tokens": 10, "cache_read_tokens": 6, "cache_write_tokens": 6},
        {"input_tokens": 10, "cache_write_tokens": 1, "cache_write_1h_tokens": 6},
    ):
        with pytest.raises(InvalidUsage, match="cannot be part of"):
            cost("anthropic/claude-sonnet-4-5", usage=usage, at=AT)


def test_a_naive_moment_is_refused() -> None:
    """A moment without a time zone could be another day's price."""
    with pytest.raises(ValueError, match="time zone"):
        cost("openai/gpt-4o", usage=GOLDEN, at=datetime(2026, 1, 1))  # noqa: DTZ001
