"""What a reply cost, as far as its counters say: the one place where a reply becomes a bill.

Never counted too little: whatever leaves doubt, such as a missing usage, a counter that no table
lists or a model nobody priced, makes the cost unknown. What the known counters cost is kept then:
the call is settled at the larger of that and its hold.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from earmark.apis.api import REQUEST_APIS, request_table
from earmark.apis.replies import US_ONLY, read_reply
from earmark.apis.written_output import fewest_tokens, written_choices
from earmark.errors import BudgetExceeded, InvalidUsage
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.price import Price
from earmark.pricing.tokens import encoding_of
from earmark.pricing.usage import Usage

#: The date a provider appends to the name it was asked for: `gpt-4o` is answered by
#: `gpt-4o-2024-08-06`.
_DATED: Final = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4})")
#: Headers in which a provider names the request. Sources: OpenAI API reference, "Debugging
#: requests"; Claude API, "Errors: request id"; 2026-11.
_REQUEST_IDS: Final = ("x-request-id", "request-id", "apim-request-id")
_LONGEST_ID: Final = 200
_IMAGES: Final = "output_image_tokens"
#: The member by which what a stream adds up to says that its events are of several replies.
SEVERAL_REPLIES: Final = "earmark.several_replies"


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedRequest:
    """A request and its price: all that the cost of its reply depends on."""

    price: Price
    """That of the moment of sending, by `priced_at`."""
    book: PriceBook
    """Where the price of another model that answers is looked up."""
    api: str | None
    """Whose counters the reply has: `openai`, `openai-responses`, `anthropic`, `gemini` …; `None`
    where nobody knows, and they say it themselves."""
    tier: str | None = None
    """The service tier asked for."""
    cache_lifetime: str = ""
    """The longest cache lifetime asked for, such as `1h`."""
    choices: int = 1
    counts_choices: bool = True
    """Whether the server is known to report the usage of all choices."""
    counts_all: bool = True
    """Whether its reply counts all that it costs: what else it asks for was bounded otherwise."""
    billed_units: Usage | None = None
    """All that it is billed for, where its own content says so and its reply does not."""
    host: str = ""
    """The host that is asked: a bill is final of the provider's own host only, and counts
    otherwise where it is more than the counters come to."""

    @property
    def encoding(self) -> str | None:
        """The model's tokenizer where it is known, for `open_stream`."""
        return encoding_of(self.price.provider, self.price.model)

    @property
    def may_be_no_json(self) -> bool:
        """Whether its reply may be sound, or a text that somebody else had it say."""
        return self.api in REQUEST_APIS and request_table(self.api).billed_units is not None

    def priced_at(self, instant: int) -> "PricedRequest":
        """Return the request at the price of *instant*, when it is sent: it may have waited.

        Where there is no price any more, it costs what it was admitted at.
        """
        try:
            price = self.book.resolve(
                self.price.model, provider=self.price.provider, at=instant, tier=self.tier
            )
        except BudgetExceeded:
            return self
        return replace(self, price=price)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCost:
    """What is known of a reply's cost; *note* says why less than everything is."""

    cost: Money | None
    """All it cost; `None` where that is not known."""
    known: Money | None = None
    """Where *cost* is not known: what the counters cost that have a price."""
    usage: Usage | None = None
    """The counted units by kind."""
    unknown: tuple[str, ...] = ()
    """`name = number` of each counter that no table lists, or whose kind has no price."""
    note: str = ""
    failure: BudgetExceeded | InvalidUsage | None = None
    """Why *cost* is not known, where an error says it."""


def reply_cost(
    body: Mapping[str, Any], request: PricedRequest, *, written: int | None = None
) -> ReplyCost:
    """Return what the reply *body* cost: as billed, or its counters at the price in *request*.

    Of several replies that one stream was fed, what they cost is not known, and no less than the
    sum of what they show.

    Args:
        body: The decoded reply, or what a stream adds up to, its usage included.
        request: The request, with its price.
        written: How many choices hold any output; counted in *body* if not given.
    """
    if request.api in REQUEST_APIS and request_table(request.api).is_free:
        return ReplyCost(cost=Money())
    found = _cost_of(body, request, written)
    if SEVERAL_REPLIES not in body:
        return found
    known = found.known if found.cost is None else found.cost
    return replace(found, cost=None, known=known, note="the events are of two replies")


def _cost_of(body: Mapping[str, Any], request: PricedRequest, written: int | None) -> ReplyCost:
    try:
        reading = read_reply(
            body,
            provider=request.price.provider,
            api=request.api,
            cache_lifetime=request.cache_lifetime,
            host=request.host,
        )
    except InvalidUsage as error:
        return ReplyCost(cost=None, note=f"the usage cannot be read: {error}", failure=error)
    usage, unknown, bill = _as_sold(reading.usage, request), reading.unknown, reading.bill
    if bill is not None and bill.is_final:
        return ReplyCost(cost=bill.amount, usage=usage)
    stated = Money() if bill is None else bill.amount
    doubt = _doubt(usage, request, body, written)
    if unknown:
        doubt = f"no price is known for {', '.join(unknown)}"
    try:
        cost, note = _priced(usage, model_of(body), request)
    except (BudgetExceeded, InvalidUsage) as error:
        known, unpriced = _partial_cost(usage, request.price)
        return ReplyCost(
            cost=None,
            known=max(known or Money(), stated) if known is not None or stated else None,
            usage=usage,
            unknown=unknown + unpriced,
            note=doubt or str(error),
            failure=None if doubt else error,
        )
    if stated > cost:
        cost, note = stated, f"the reply says that {stated} USD was billed"
    if doubt:
        return ReplyCost(cost=None, known=cost, usage=usage, unknown=unknown, note=doubt)
    return ReplyCost(cost=cost, usage=usage, note=note)


def _as_sold(usage: Usage, request: PricedRequest) -> Usage:
    """Return *usage* with images as output, of a model of images with one rate for all output.

    The price list writes the rate of images so where a model sells nothing else as output.
    """
    if request.api != "openai-images" or _has_price(_IMAGES, request.price):
        return usage
    counts = {kind: count for kind, count in usage.counts.items() if kind != _IMAGES}
    return Usage(counts, tier=usage.tier)


def model_of(body: Mapping[str, Any]) -> str | None:
    """Return the model that answered, as the provider names it."""
    name = body.get("model") or body.get("modelVersion")
    return name.removeprefix("models/") if isinstance(name, str) and name else None


def request_id_of(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> str | None:
    """Return the provider's own name of the request: from its headers, else the reply's id."""
    named = {name.lower(): value for name, value in (headers or {}).items()}
    found = next((named[name] for name in _REQUEST_IDS if named.get(name)), None)
    name = found or body.get("id") or body.get("responseId")
    return name[:_LONGEST_ID] if isinstance(name, str) and name.isprintable() and name else None


def same_model(requested: str, answered: str) -> bool:
    """Whether *answered* is the *requested* model, or its dated name."""
    if not answered.startswith(requested):
        return False
    date = answered.removeprefix(requested)
    return not date or _DATED.fullmatch(date) is not None


def _doubt(
    usage: Usage, request: PricedRequest, body: Mapping[str, Any], written: int | None
) -> str:
    """Say why the counts cannot be all there is; empty if they can."""
    counted = usage.get("input_tokens") or usage.get("audio_seconds")
    choices = written_choices(body) if written is None else written
    if not counted or usage.get("output_tokens") < max(choices, fewest_tokens(body)):
        return "the usage counts less than was sent and written"
    if request.choices > 1 and not request.counts_choices:
        # llama.cpp's server reports the completion tokens of one choice only (measured, 2026-11).
        return f"this server's usage may count one of {request.choices} choices only"
    if not request.counts_all:
        return "the reply does not count all that it costs"
    return ""


def _priced(usage: Usage, answered: str | None, request: PricedRequest) -> tuple[Money, str]:
    price = request.price
    cost = price.cost(usage)
    if answered is None or answered == price.model:
        return cost, ""
    # The reply names another model. It may be an alias billed as asked, or a substitute billed as
    # itself: the dearer of the two is never too little. A dated name has a price of its own in the
    # list where it costs something else.
    is_dated_name = same_model(price.model, answered)
    try:
        other = request.book.resolve(
            answered, provider=price.provider, at=price.at, tier=request.tier
        )
    except BudgetExceeded:
        if is_dated_name:
            return cost, ""
        raise
    note = "" if is_dated_name else f"answered by {answered}"
    return max(cost, other.cost(usage)), note


def _partial_cost(usage: Usage, price: Price) -> tuple[Money | None, tuple[str, ...]]:
    """Return the cost of the counts that have a price, and those that have none.

    Where the counts contradict each other, or the tier has no price, the wholes are priced alone,
    at the tiers asked for; `None` where even that is no cost.
    """
    priced = {kind: count for kind, count in usage.counts.items() if _has_price(kind, price)}
    wholes = {kind: priced[kind] for kind in ("input_tokens", "output_tokens") if kind in priced}
    unpriced = tuple(f"{kind} = {usage.get(kind)}" for kind in usage.counts if kind not in priced)
    for counts, tier in ((priced, usage.tier), (priced, ""), (wholes, "")):
        try:
            return _in_us_only(price.cost(Usage(counts, tier)), usage.tier), unpriced
        except (BudgetExceeded, InvalidUsage):
            continue
    return None, unpriced


def _in_us_only(cost: Money, tier: str) -> Money:
    """Return *cost* with what inference in the US alone costs more.

    A workspace's default asks for it where the request does not. Source: Claude API, "Data
    residency" and "Pricing": 1.1 times the standard rate; 2026-11.
    """
    return Money.nanos(-(-cost.in_nanos * 11 // 10)) if tier == US_ONLY else cost


def _has_price(kind: str, price: Price) -> bool:
    try:
        price.check_priced(kind)
    except BudgetExceeded:
        return False
    return True
