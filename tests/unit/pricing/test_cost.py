"""`earmark.cost`."""

from datetime import UTC, datetime
from typing import Any

import pytest

from earmark.apis.cost import cost
from earmark.errors import BudgetExceeded, InvalidUsage
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


def _chat(text: str, **usage: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage}


#: Replies whose counts cannot be all there is, or are none.
UNBELIEVABLE: dict[str, tuple[dict[str, Any], str]] = {
    "text, counted as nothing": (_chat("x" * 5000, prompt_tokens=0, completion_tokens=0), "less"),
    "nothing, counted as nothing": (_chat("", prompt_tokens=0, completion_tokens=0), "less"),
    "900 characters in a token": (_chat("x" * 900, prompt_tokens=9, completion_tokens=1), "less"),
    "chat without its output": (_chat("", prompt_tokens=1000), "completion_tokens"),
    "a message without its output": (
        {"type": "message", "content": [], "usage": {"input_tokens": 10}}, "output_tokens",
    ),
    "a response without its output": (
        {"output": [], "usage": {"input_tokens": 10}}, "output_tokens",
    ),
    "Gemini's text without its output": (
        {
            "candidates": [{"content": {"parts": [{"text": "hi"}]}}],
            "usageMetadata": {"promptTokenCount": 10},
        },
        "less",
    ),
    "half a token": (_chat("hi", prompt_tokens=1000.5, completion_tokens=1), "whole number"),
    "a bill that is none": (
        _chat("hi", prompt_tokens=9, completion_tokens=1, cost="NaN"), "cost is NaN",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_counts_that_cannot_be_all_are_refused(name: str) -> None:
    """No cost is better than too low a one: the error says which count is missing or cannot be."""
    body, says = UNBELIEVABLE[name]
    with pytest.raises(InvalidUsage, match=says):
        cost("openrouter/openai/gpt-4o", body=body, at=AT)


def test_a_whole_count_may_be_written_with_a_point() -> None:
    """Some servers write every number as a fraction; seconds of audio are counted up."""
    body = _chat("hi", prompt_tokens=1000.0, completion_tokens=1.0)
    assert cost("openai/gpt-4o", body=body, at=AT) == Money("0.00251")
    seconds = {"usage": {"type": "duration", "seconds": 26.5}}
    assert cost("openai/whisper-1", body=seconds, at=AT) == Money("0.0027")


def test_of_the_model_asked_for_and_the_one_that_answered_the_dearer_counts() -> None:
    """A router may answer with another model; one without a price leaves the cost unknown."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000}
    dear = cost("openai/o1-pro", body={"usage": usage}, at=AT)
    assert cost("openai/gpt-4o", body={"usage": usage, "model": "o1-pro"}, at=AT) == dear
    assert cost("openai/o1-pro", body={"usage": usage, "model": "gpt-4o"}, at=AT) == dear
    with pytest.raises(BudgetExceeded, match="gpt-nowhere"):
        cost("openai/gpt-4o", body={"usage": usage, "model": "gpt-nowhere"}, at=AT)


def test_an_embedding_has_no_output_to_count() -> None:
    """With or without a total, by its own form or by name."""
    whole = {"usage": {"prompt_tokens": 8, "total_tokens": 8}}
    short = {"object": "list", "data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 8}}
    for body in (whole, short):
        assert cost("openai/text-embedding-3-small", body=body, at=AT) == Money.nanos(160)


@pytest.mark.parametrize(
    ("model", "given", "says"),
    [
        (None, {"body": {}}, "the model is a NoneType: give its name"),
        (5, {"usage": GOLDEN}, "the model is 5: give its name"),
        ("gpt-4o", {"usage": [("input_tokens", 5)]}, "the usage is a list: give"),
        ("gpt-4o", {"usage": {}}, "counts nothing"),
        ("gpt-4o", {"usage": Usage()}, "counts nothing"),
        (
            "gpt-4o",
            {"usage": {"prompt_tokens": 5}},
            "it counts prompt_tokens, which is no kind of unit: give input_tokens, .*, by body=",
        ),
        ("gpt-4o", {"usage": {"input_token": 5}}, r"did you mean input_tokens\? Else give"),
    ],
)
def test_what_is_no_model_or_no_usage_is_an_input_error(
    model: Any, given: dict[str, Any], says: str
) -> None:
    """The error says what was given; nothing is taken for a free call."""
    with pytest.raises(InvalidUsage, match=says):
        cost(model, **given)


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
