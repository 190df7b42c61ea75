"""`earmark.cost`: what a call with this usage costs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from earmark.apis.replies import read_reply
from earmark.clock import SystemClock, from_datetime
from earmark.errors import InvalidUsage
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.usage import Usage


def cost(
    model: str,
    *,
    provider: str | None = None,
    api: str | None = None,
    body: Mapping[str, Any] | None = None,
    usage: Usage | Mapping[str, int] | None = None,
    at: datetime | None = None,
    book: PriceBook | None = None,
) -> Money:
    """Return the exact cost of one call, rounded up once to a whole nano-dollar.

    Args:
        model: The model's name, or `provider/model`.
        provider: Who was called; needed where a model is sold by several.
        api: The API the body is of: `openai`, `openai-responses`, `anthropic`, `gemini`,
            `bedrock-converse`; by default the one whose counters it has.
        body: The provider's reply, whose usage is read; or
        usage: The counted units, such as `{"input_tokens": 163, "output_tokens": 3025}`.
        at: When it was called, with a time zone; now by default.
        book: Prices; the price list alone by default.

    Raises:
        BudgetExceeded: With reason `unpriced`: the model, its tier or a counted kind has no price.
        InvalidUsage: No usage, or both are given, or the counts cannot be, or the body counts
            something whose price nobody knows; the error names the counter.
    """
    if (body is None) == (usage is None):
        raise InvalidUsage(detail="give either the reply's body or its usage")
    prices = book or _LISTED
    instant = SystemClock().instant() if at is None else from_datetime(at)
    price = prices.resolve(model, provider=provider, at=instant)
    if body is None:
        return price.cost(usage if isinstance(usage, Usage) else Usage(usage or {}))
    reading = read_reply(body, provider=price.provider, api=api)
    if reading.unknown:
        raise InvalidUsage(detail=f"no price is known for {', '.join(reading.unknown)}")
    return price.cost(reading.usage)


_LISTED = PriceBook()
