"""`earmark.bound`: the most a call can cost, before it is made."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from earmark.apis.api import request_table
from earmark.apis.api_and_provider import api_and_provider
from earmark.apis.bounds import DEFAULT_MAX_TOKENS, bound_request
from earmark.apis.count_margin import DEFAULT_MARGIN
from earmark.apis.provider_count import max_counted_tokens
from earmark.apis.requests import RequestReading, copy_body, read_body, tier_to_bill
from earmark.clock import SystemClock, from_datetime
from earmark.errors import InvalidUsage
from earmark.money import Money
from earmark.pricing.book import PriceBook, check_book
from earmark.pricing.json_values import mapping
from earmark.pricing.price import Price
from earmark.pricing.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBound:
    """The most a call can cost; guaranteed as long as the provider keeps to what is sent.

    It is that of the request with `max_output_tokens` in it. Where the request leaves the service
    tier to the account, as OpenAI's APIs let it, the dearest tier counts; one that asks for
    `default`, as those of `Guard` do, is billed at no other.
    """

    cost: Money
    input_tokens: int
    """Input tokens at most, of all rounds together."""
    max_output_tokens: int
    """Output tokens at most, per choice: the limit to send."""
    choices: int
    fees: Usage
    """Units billed beside tokens, at most: web searches and the like."""
    price: str
    """Whose price it is: `provider/model`; empty for a request that costs nothing."""
    source: str
    """Where the price is from: `own`, or the price list and its version."""


def bound(
    body: Mapping[str, Any],
    *,
    api: str | None = None,
    provider: str | None = None,
    headers: Mapping[str, str] | None = None,
    model: str | None = None,
    default_max_tokens: int = DEFAULT_MAX_TOKENS,
    extra_input_tokens: int | None = None,
    context_window: int | None = None,
    counted_input_tokens: int | None = None,
    count_margin: str = DEFAULT_MARGIN,
    allowed_options: Collection[str] = (),
    at: datetime | None = None,
    book: PriceBook | None = None,
) -> CallBound:
    """Return the most a call with this request can cost; makes no call and reads no network.

    Args:
        body: The decoded request.
        api: `openai`, `anthropic`, `gemini` or another of `apis.api.APIS`; else from `provider`.
        provider: Who is called: the price list's id, or an own price's; else the API's maker.
        headers: The request's headers; some alter the price.
        model: The model where the URL names it and not the body, as Gemini's does.
        default_max_tokens: The output limit, per choice, of a request that names none.
        extra_input_tokens: The most tokens of what cannot be counted, such as images and results of
            tools, of all rounds together; where nothing limits the rounds, of the prompt again too.
        context_window: The most input tokens the model takes, where you know it.
        counted_input_tokens: What the provider's own count is; see `count_request`.
        count_margin: What is added to it: a share, and 32 tokens at least; `0 %` adds nothing.
        allowed_options: Options beyond the API's table that you vouch for: text at most.
        at: When it will be called, with a time zone; now by default.
        book: Prices; the price list alone by default.

    Raises:
        BudgetExceeded: `unpriced`: a part has no bound or no price; its place, and what to give.
        InvalidUsage: It is no request of this API, or there is no such API.
    """
    prices = check_book(book)
    body = copy_body(body)
    api, provider = api_and_provider(api, provider, model or mapping(body).get("model"), prices)
    reading = read_body(
        api, body, headers=headers, provider=provider, model=model, allowed=allowed_options
    )
    if request_table(api).is_free:
        return _FREE
    price = _price(reading, body, provider, prices, at)
    counted = max_counted_tokens(counted_input_tokens, count_margin)
    limits = default_max_tokens, extra_input_tokens, context_window, counted
    return _call_bound(reading, price, *limits)


def _price(
    reading: RequestReading, body: Mapping[str, Any], provider: str, book: PriceBook, at: object
) -> Price:
    if not isinstance(at, datetime | None):
        raise InvalidUsage(detail=f"at is {type(at).__name__}, not a datetime")
    instant = SystemClock().instant() if at is None else from_datetime(at)
    name = reading.model.removeprefix(f"{provider}/")
    tier = tier_to_bill(reading.api, body, provider)
    return book.resolve(name, provider=provider, at=instant, tier=tier)


def _call_bound(
    reading: RequestReading,
    price: Price,
    default_max_tokens: int,
    extra_input_tokens: int | None,
    context_window: int | None,
    max_counted_tokens: int | None,
) -> CallBound:
    found = bound_request(
        reading,
        price,
        default_max_tokens=default_max_tokens,
        extra_input_tokens=extra_input_tokens,
        context_window=context_window,
        max_counted_tokens=max_counted_tokens,
    )
    return CallBound(
        cost=found.cost(),
        input_tokens=found.input_tokens,
        max_output_tokens=found.max_output_tokens,
        choices=found.choices,
        fees=found.fees,
        price=found.price.name,
        source=found.price.source,
    )


_FREE: Final = CallBound(
    cost=Money(),
    input_tokens=0,
    max_output_tokens=0,
    choices=1,
    fees=Usage(),
    price="",
    source="",
)
