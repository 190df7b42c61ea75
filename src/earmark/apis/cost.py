"""`earmark.cost`: what a call with this usage costs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from earmark.apis.reply_cost import PricedRequest, reply_cost
from earmark.clock import SystemClock, from_datetime
from earmark.errors import InvalidUsage
from earmark.money import Money
from earmark.pricing.bill import not_a_kind
from earmark.pricing.book import PriceBook
from earmark.pricing.units import UNITS
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

    Doubt is settled upwards: where the body names another model than *model*, the dearer of the two
    counts; where it says what was billed (OpenRouter, Perplexity, xAI), that counts if it is more.

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
        BudgetExceeded: With reason `unpriced`: the model, the one that answered, its tier or a
            counted kind has no price.
        InvalidUsage: No usage, or both are given, or the counts cannot be (no input, less output
            than the body holds), or the body counts something whose price nobody knows; the error
            names the counter.
    """
    if (body is None) == (usage is None):
        raise InvalidUsage(detail="give either the reply's body or its usage")
    _check(model, usage)
    prices = book or _LISTED
    instant = SystemClock().instant() if at is None else from_datetime(at)
    price = prices.resolve(model, provider=provider, at=instant)
    if body is None:
        return price.cost(usage if isinstance(usage, Usage) else Usage(usage or {}))
    known = reply_cost(body, PricedRequest(price=price, book=prices, api=api))
    if known.cost is None:
        raise known.failure or InvalidUsage(detail=known.note)
    return known.cost


_LISTED = PriceBook()


def _check(model: object, usage: object) -> None:
    """Refuse a model that is no name, and a usage that counts nothing."""
    if not isinstance(model, str):
        raise InvalidUsage(detail=f"the model is {type(model).__name__}, not a name")
    counts = usage.counts if isinstance(usage, Usage) else usage
    if counts is not None and not isinstance(counts, Mapping):
        raise InvalidUsage(detail=f"the usage is {type(counts).__name__}, not counts by kind")
    if counts is not None and not counts:
        raise InvalidUsage(detail="the usage counts nothing")
    for kind in counts or ():
        if kind not in UNITS:
            raise InvalidUsage(detail=f"it counts {not_a_kind(str(kind))}, by body=")
