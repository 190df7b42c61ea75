"""What a request names that its provider keeps: known by its id, or refused."""

from typing import Any

import pytest

from earmark.apis.bounds import bound_request
from earmark.apis.kept import KeptTokens
from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound

PRICES = {"input_mtok": "5", "output_mtok": "25", "web_searches_kcount": "10"}
PRICE = PriceBook(own={"p/m": PRICES}).resolve("p/m", at=0)
KEPT = 70_000


def bound(more: dict[str, Any], kept: KeptTokens | None = None, **given: Any) -> ModelBound:
    """Return the bound of a short request with *more* in it."""
    body = {"model": "m", "input": "hello", "max_output_tokens": 1000, **more}
    reading = read_body("openai-responses", body, kept=kept)
    return bound_request(reading, PRICE, default_max_tokens=1000, **given)


def test_what_is_known_is_read_in_each_round() -> None:
    """Once for an answer, and once more after each use of a tool that the provider runs."""
    follows: dict[str, Any] = {"previous_response_id": "resp_1"}
    kept = {"resp_1": KEPT}
    alone = bound({}).input_tokens
    assert bound(follows, kept).input_tokens == alone + KEPT
    search = {"tools": [{"type": "web_search"}], "max_tool_calls": 3}
    with_tool = bound(search, extra_input_tokens=0).input_tokens
    assert bound({**search, **follows}, kept, extra_input_tokens=0).input_tokens == (
        with_tool + 4 * KEPT
    )
    # A provider's count of the new input alone takes nothing of it away.
    counted = bound(follows, kept, max_counted_tokens=2).input_tokens
    assert KEPT < counted < alone + KEPT


def test_what_is_not_known_is_refused_or_needs_a_bound() -> None:
    """Where ids are given, another one is refused; an unknown amount needs the window."""
    follows = {"previous_response_id": "resp_1"}
    for kept in ({}, {"resp_2": 5}):
        with pytest.raises(BudgetExceeded, match="kept at the provider"):
            bound(follows, kept, context_window=100_000)
    for unknown in (None, {"resp_1": None}):
        with pytest.raises(BudgetExceeded, match="an earlier response"):
            bound(follows, unknown)
        assert bound(follows, unknown, context_window=100_000).input_tokens == 100_000
