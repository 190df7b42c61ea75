"""The request of a guarded call: a body bounded by its API's table, a bound, or an amount."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypedDict

from earmark.admission.charge import Recorder
from earmark.admission.policy import STRICT, Policy
from earmark.apis.api import request_table
from earmark.apis.api_and_provider import CHAT_COMPLETIONS, api_and_provider
from earmark.apis.bounds import DEFAULT_MAX_TOKENS, bound_request, counts_all
from earmark.apis.count_margin import DEFAULT_MARGIN
from earmark.apis.dialects import counts_choices, maker_of, own_host
from earmark.apis.hidden_output import shows_output
from earmark.apis.kept import KeptTokens
from earmark.apis.output_limit import whole_number, with_output_limit
from earmark.apis.provider_count import max_counted_tokens
from earmark.apis.reply_cost import PricedRequest
from earmark.apis.requests import (
    RequestReading,
    copy_body,
    read_body,
    request_model,
    tier_to_bill,
)
from earmark.clock import Clock, parse_duration
from earmark.errors import BudgetExceeded, InvalidUsage, Reason
from earmark.errors.inputs import wrong_argument
from earmark.ledger.requests import Duration
from earmark.money import AmountLike, Money
from earmark.pricing.book import LONGEST_CALL_NS, PriceBook
from earmark.pricing.bound import Bound, DeclaredBound, ModelBound
from earmark.pricing.price import Price, free
from earmark.pricing.usage import Usage

#: How long a call waits in the ledger's queue, and how long it may take, by default.
DEFAULT_WAIT: Final = "5min"
DEFAULT_TIMEOUT: Final = "10min"
_LONGEST_LABEL: Final = 200
#: Of a body that is not read: the dearest write to a cache that it may ask for.
_LONGEST_CACHE: Final = "1h"


class OpenOptions(TypedDict, total=False):
    """The keyword arguments of `Guard.open`; each may be left out.

    Args:
        up_to: In place of a request: the most the call can cost, in USD. With a request: the same,
            on your word. It is neither read nor changed, as nothing here may bound it; its reply
            settles it by `api`, where that is given and its model has a price.
        at_most: The most this call may hold, in USD, whatever the budget has: its output limit is
            lowered until it fits, and where not even 32 tokens do, it is refused. With `up_to`,
            a larger one is refused.
        api: Whose body the request is: `openai` (Chat Completions), `openai-responses`,
            `openai-embeddings`, `openai-moderations`, `openai-images`, `openai-speech`,
            `openai-transcriptions`, `anthropic`, `anthropic-count-tokens`, `gemini`. If not
            given that of the provider `anthropic` or `google`, else `openai`.
        provider: Who is called, by the name its prices have; the maker of the API if not given.
        model: The model, where the URL names it and not the body, as Gemini's does.
        stream: Whether the reply is a stream, where the body does not say it: Gemini's URL does,
            and `messages.stream()` of Anthropic's SDK.
        host: The host the request is sent to; if not given that of the provider, where it is the
            API's maker (OpenAI, Anthropic, Google) or Azure.
        headers: The request's headers: some change what it can cost.
        key: Names this one attempt; another attempt needs another. A new one if not given.
        wait: How long to wait in line for budget, 5 minutes if not given; `None` asks once.
        timeout: How long the call may take, 10 minutes if not given; a minute later its hold is
            presumed spent.
        labels: Kept with the reservation, beside the request's `api`, `provider` and `model` where
            these do not name them; `stage` also tells calls of one model apart, for the expected
            length of their replies.
        policy: How to hold this call, in place of the guard's own policy: `earmark.Strict()`,
            `Elastic()` or `Soft()`.
        extra_input_tokens: The most tokens of what cannot be counted here, such as images and the
            results of tools the provider runs; see `earmark.bound`.
        context_window: The most input tokens the model takes, where you know it.
        counted_input_tokens: What the provider's count endpoint answered for this request; see
            `earmark.count_request`. No promise: a reply that counts more than it and its margin is
            booked as an overrun.
        count_margin: What is added to that count, as a share, and 32 tokens at least: `2 %` if not
            given; `0 %` adds nothing.
        default_max_tokens: The output limit, per choice, of a request that names none; 1024 if not
            given.
        allowed_options: Options of the request that the API's table does not list, by name, that
            add text at most: no argument of a client, and no name known to ask for more.
        kept: What the provider keeps that the request may name, such as earlier responses: the most
            tokens of each, by its id, `None` where that is unknown. What it names else is refused;
            if not given, it needs a bound as any other input.
        recorder: Writes a record of the call in the transaction that books it.
    """

    up_to: AmountLike | None
    at_most: AmountLike | None
    api: str
    provider: str
    model: str | None
    stream: bool
    host: str | None
    headers: Mapping[str, str] | None
    key: str | None
    wait: Duration | None
    timeout: Duration
    labels: Mapping[str, str] | None
    policy: Policy | None
    extra_input_tokens: int | None
    context_window: int | None
    counted_input_tokens: int | None
    count_margin: str
    default_max_tokens: int
    allowed_options: Collection[str]
    kept: KeptTokens | None
    recorder: Recorder | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request with its bound, not yet sent."""

    name: str
    """What is called: `provider/model`, or the budget of a declared amount."""
    bound: Bound
    streams: bool = False
    """Whether its reply is a stream that shows all its output, so that a hold can grow with it."""
    api: str = ""
    provider: str = ""
    host: str = ""
    body: Mapping[str, Any] | None = None
    """A copy of the caller's body, without the output limit; `None` for a declared amount."""
    priced: PricedRequest | None = None
    """The price of its reply; `None` for a declared amount."""
    lowered: bool = False
    """Whether its output limit was lowered to what it may hold at most."""

    @property
    def is_free(self) -> bool:
        """Whether its API bills nothing, so that its cost is known however it ends."""
        return bool(self.api) and request_table(self.api).is_free

    @property
    def labels(self) -> dict[str, str]:
        """The labels `api`, `provider` and `model`; none for an amount without a request."""
        if self.body is None:
            return {}
        named = {"api": self.api, "provider": self.provider, "model": self.name}
        return {name: value[:_LONGEST_LABEL] for name, value in named.items() if value}

    def priced_at(self, instant: int) -> "Request":
        """Return the request at the price of *instant*, when its hold is opened."""
        priced = self.priced
        return self if priced is None else replace(self, priced=priced.priced_at(instant))

    def body_for(self, max_output_tokens: int | None) -> dict[str, Any]:
        """Return the body to send, including the limit; empty for a declared amount."""
        if self.body is None:
            return {}
        if max_output_tokens is None:
            return dict(self.body)
        return with_output_limit(self.api, self.body, max_output_tokens, host=self.host)


def read_request(
    under: str,
    request: Mapping[str, Any] | Bound | None,
    options: OpenOptions,
    book: PriceBook,
    clock: Clock,
) -> Request:
    """Return the request with its bound, priced now.

    Raises:
        BudgetExceeded: With reason `unpriced`: nothing bounds a part of it, or it has no price.
        InvalidUsage: It is no request, or not exactly one of a request and an amount is given.
        TypeError: There is no such option.
    """
    unknown = options.keys() - OpenOptions.__annotations__
    if unknown:
        raise TypeError(f"open() has no option {min(unknown)!r}")
    _check_types(options)
    up_to = options.get("up_to")
    if options.get("at_most") is not None and not isinstance(request, Mapping):
        raise InvalidUsage(detail="at_most is for a request, whose output it lowers")
    if request is None and up_to is None:
        raise InvalidUsage(detail="give either a request or up_to, the most it can cost")
    if up_to is not None and isinstance(request, Mapping):
        return _declared_body(request, Money(up_to), options, book, clock)
    if up_to is not None and request is not None:
        raise InvalidUsage(detail="up_to is for a request's body, or for none: give one of them")
    if up_to is not None:
        return Request(name=under, bound=DeclaredBound(Money(up_to)))
    if isinstance(request, Mapping):
        return _bound_body(request, options, book, clock)
    checked: object = request
    if not hasattr(checked, "max_output_tokens"):
        kind = type(checked).__name__
        raise InvalidUsage(detail=f"the request is {kind}, neither a JSON object nor a bound")
    assert request is not None, "one of the two is given"
    return Request(name=under, bound=request)


def _check_types(options: OpenOptions) -> None:
    """Refuse options of a wrong type that nothing after this checks."""
    for name in ("api", "provider", "model", "host"):
        value = options.get(name)
        if not isinstance(value, str | None):
            raise wrong_argument(name, value, "a text")
    headers: object = options.get("headers")
    if not isinstance(headers, Mapping | None):
        raise wrong_argument("headers", headers, "text by name")


def _bound_body(
    body: Mapping[str, Any], options: OpenOptions, book: PriceBook, clock: Clock
) -> Request:
    named = options.get("model") or body.get("model")
    api, provider = api_and_provider(options.get("api"), options.get("provider"), named, book)
    # What is bounded is what is sent, even if the caller changes the lists in it from now on.
    body = copy_body(body)
    reading = read_body(
        api,
        body,
        headers=options.get("headers"),
        provider=provider,
        model=options.get("model"),
        allowed=options.get("allowed_options", ()),
        kept=options.get("kept"),
    )
    price = _price(reading, provider, options, book, clock)
    bound = _bound(reading, price, options)
    within = _within(bound, options.get("at_most"))
    host = options.get("host")
    host = own_host(provider, api) if host is None else host
    return Request(
        name=price.name,
        bound=within,
        lowered=within is not bound,
        streams=(reading.stream or options.get("stream") is True)
        and shows_output(provider, price.model, body, own_price=price.source == "own"),
        api=api,
        provider=provider,
        host=host,
        body=body,
        priced=PricedRequest(
            price=price,
            book=book,
            api=api,
            tier=reading.tier,
            cache_lifetime=reading.cache_lifetime,
            choices=reading.choices,
            host=host,
            counts_choices=counts_choices(api, host),
            billed_units=_billed_units(reading),
        ),
    )


def _billed_units(reading: RequestReading) -> Usage | None:
    return Usage(reading.contents.fees) if request_table(reading.api).billed_units else None


def _bound(reading: RequestReading, price: Price, options: OpenOptions) -> ModelBound:
    return bound_request(
        reading,
        price,
        default_max_tokens=options.get("default_max_tokens", DEFAULT_MAX_TOKENS),
        extra_input_tokens=options.get("extra_input_tokens"),
        context_window=options.get("context_window"),
        max_counted_tokens=max_counted_tokens(
            options.get("counted_input_tokens"), options.get("count_margin", DEFAULT_MARGIN)
        ),
    )


def _declared_body(
    body: Mapping[str, Any], amount: Money, options: OpenOptions, book: PriceBook, clock: Clock
) -> Request:
    """Return a request as it is, whose caller says that it costs *amount* at most."""
    most = options.get("at_most")
    if most is not None and amount > Money(most):
        raise _above(Money(most), amount)
    body, api = copy_body(body), options.get("api") or ""
    provider = options.get("provider") or maker_of(api or CHAT_COMPLETIONS)
    model = request_model(body, options.get("model"), provider)
    host = options.get("host")
    return Request(
        name=f"{provider}/{model}",
        bound=DeclaredBound(amount),
        api=api,
        provider=provider,
        host=own_host(provider, api) if host is None else host,
        body=body,
        priced=_declared_price(api, body, model, provider, options, book, clock) if api else None,
    )


def _declared_price(
    api: str,
    body: Mapping[str, Any],
    model: str,
    provider: str,
    options: OpenOptions,
    book: PriceBook,
    clock: Clock,
) -> PricedRequest | None:
    """Return the price of its reply, at the dearest that it may ask for; `None` without one."""
    table, tier = request_table(api), tier_to_bill(api, body, provider)
    host = options.get("host") or own_host(provider, api)
    try:
        price = book.resolve(model, provider=provider, at=clock.instant(), tier=tier)
    except BudgetExceeded:
        return None
    return PricedRequest(
        price=price,
        book=book,
        api=api,
        tier=tier,
        cache_lifetime=_LONGEST_CACHE,
        choices=(whole_number(body, table.choices, minimum=1) or 1) if table.choices else 1,
        host=host,
        counts_choices=counts_choices(api, host),
        counts_all=counts_all(api, body, price.model),
    )


def _within(bound: ModelBound, at_most: AmountLike | None) -> ModelBound:
    """Return *bound* with an output limit that *at_most* pays for, where it does not pay for all.

    Raises:
        BudgetExceeded: It pays for no reply of a useful length.
    """
    most = None if at_most is None else Money(at_most)
    if most is None or bound.cost() <= most:
        return bound
    wanted = bound.max_output_tokens
    smallest = min(wanted, max(STRICT.smallest, bound.least_output_tokens))
    fits = bound.largest_output(most)
    if fits < max(1, smallest):
        raise _above(most, bound.cost(smallest))
    return replace(bound, max_output_tokens=fits)


def _above(most: Money, requested: Money) -> BudgetExceeded:
    """Return the refusal of what costs more than one call may hold."""
    return BudgetExceeded(
        reason=Reason.TOO_LARGE,
        budget="",
        window="per request",
        limit=most,
        settled=Money(),
        held=Money(),
        available=most,
        requested=requested,
    )


def _price(
    reading: RequestReading, provider: str, options: OpenOptions, book: PriceBook, clock: Clock
) -> Price:
    """Return the price now, with the highest price until the call's end for its hold."""
    if request_table(reading.api).is_free:
        return free(reading.model, provider=provider)
    wait = options.get("wait", DEFAULT_WAIT)
    longest_ns = 0 if wait is None else parse_duration(wait)
    longest_ns += parse_duration(options.get("timeout", DEFAULT_TIMEOUT))
    return book.resolve(
        reading.model,
        provider=provider,
        at=clock.instant(),
        tier=reading.tier,
        within_ns=max(LONGEST_CALL_NS, longest_ns),
    )
