"""`earmark.cost`: what a call with this usage costs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from earmark.apis.reply_cost import PricedRequest, reply_cost
from earmark.clock import SystemClock, from_datetime
from earmark.errors import InvalidUsage
from earmark.errors.inputs import wrong_argument
from earmark.money import Money
from earmark.pricing.book import PriceBook, check_book
from earmark.pricing.rates import not_a_kind
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
    counts; where it says what was billed, as OpenRouter does, that counts if it is more.

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
    _check(model, body, usage)
    prices = check_book(book)
    instant = SystemClock().instant() if at is None else from_datetime(at)
    price = prices.resolve(model, provider=provider, at=instant)
    if body is None:
        return price.cost(usage if isinstance(usage, Usage) else Usage(usage or {}))
    known = reply_cost(body, PricedRequest(price=price, book=prices, api=api))
    if known.cost is None:
        raise known.failure or InvalidUsage(detail=known.note)
    return known.cost


def _check(model: object, body: object, usage: object) -> None:
    """Refuse a model that is no name, a body that is none, and a usage that counts nothing."""
    if not isinstance(model, str):
        raise wrong_argument("the model", model, "its name, such as 'gpt-4o'")
    if not isinstance(body, Mapping | None):
        raise wrong_argument("the body", body, "the provider's reply, decoded")
    counts = usage.counts if isinstance(usage, Usage) else usage
    if counts is None:
        return
    if not isinstance(counts, Mapping):
        raise wrong_argument("the usage", counts, '{"input_tokens": 163, …}')
    if not counts:
        raise InvalidUsage(detail="the usage counts nothing")
    for kind in map(str, cast("Mapping[object, object]", counts)):
        if kind not in UNITS:
            raise InvalidUsage(detail=f"it counts {not_a_kind(kind)}, by body=")
