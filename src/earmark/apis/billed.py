"""What a reply says was billed for it, in USD, as its provider writes it.

Only of the provider's own host is that the cost. A server at any other address may write what it
likes: what it states counts where it is more than the counters come to, and never lowers a cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

from earmark.apis.hosts import is_below
from earmark.errors import InvalidUsage
from earmark.errors.inputs import shown
from earmark.money import LARGEST_NANOS, Money
from earmark.pricing.json_values import mapping

#: Amounts have no digits so far before or after the point.
_DIGITS: Final = 30
#: Source: xAI, "Cost tracking", 2026-11: "1 USD = 10,000,000,000 ticks".
_TICKS_PER_USD: Final = 10**10


@dataclass(frozen=True, slots=True)
class BillingProvider:
    """A provider that says in its replies what it billed."""

    host: str
    """Its own host; those below it are its own too."""
    read: Callable[[Mapping[str, Any]], tuple[Fraction, bool] | None]
    """Returns the USD of a usage object, and whether that is all; `None` where it says none."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a reply says was billed, rounded up to a whole nano-dollar."""

    stated: Money
    is_final: bool
    """Whether that is all, in the words of the provider's own host: the cost, whatever else is."""


def bill_of(usage: Mapping[str, Any], *, host: str) -> Bill | None:
    """Return what a reply says was billed; `None` where it says nothing.

    Of a provider's own host it is read as that one writes it, whatever price is looked up; of any
    other, the largest amount counts that one of them would mean by it.

    Args:
        usage: The usage object of the reply. A fraction may be a `Decimal`, or a float: of that the
            shortest decimal is read, which is what a JSON writer wrote.
        host: The host that answered, with or without a port, as whoever sent the request knows it;
            empty where nobody knows.

    Raises:
        InvalidUsage: The amount is negative or no credible number; names its path.
    """
    own = next((each for each in _PROVIDERS if is_below(host, each.host)), None)
    found = None if own is None else own.read(usage)
    is_own = found is not None
    if found is None:
        said = (each.read(usage) for each in _PROVIDERS)
        found = max((each for each in said if each is not None), default=None)
    if found is None:
        return None
    usd, is_all = found
    stated = Money.ceil(usd)
    if stated.in_nanos > LARGEST_NANOS:
        raise InvalidUsage(detail=f"a bill of {stated} USD for one call is not credible")
    return Bill(stated, is_all and is_own)


def _openrouter(usage: Mapping[str, Any]) -> tuple[Fraction, bool] | None:
    """Read `cost`, the credits charged; with an own key the upstream provider bills beside it.

    `upstream_inference_cost` stands in other replies too and repeats the cost there.
    """
    if mapping(usage.get("cost")):
        return None
    cost = _amount(usage, "cost")
    if cost is None or usage.get("is_byok") is not True:
        return None if cost is None else (cost, True)
    upstream = _amount(mapping(usage.get("cost_details")), "upstream_inference_cost")
    return (cost, False) if upstream is None else (cost + upstream, True)


def _perplexity(usage: Mapping[str, Any]) -> tuple[Fraction, bool] | None:
    parts = mapping(usage.get("cost"))
    total = _amount(parts, "total_cost") if parts else _amount(usage, "cost")
    return None if total is None else (total, True)


def _xai(usage: Mapping[str, Any]) -> tuple[Fraction, bool] | None:
    ticks = _amount(usage, "cost_in_usd_ticks")
    return None if ticks is None else (ticks / _TICKS_PER_USD, True)


def _amount(found: Mapping[str, Any], name: str) -> Fraction | None:
    value = found.get(name)
    if value is None:
        return None
    try:
        # The text of a float is its shortest decimal.
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):
        amount = Decimal("NaN")
    # Judged by its exponent first: "1e999999" is quick to read and slow to compute with.
    if not amount.is_finite() or amount < 0 or (amount and abs(amount.adjusted()) > _DIGITS):
        raise InvalidUsage(detail=f"{name} is {shown(value)}; that is no credible amount")
    return Fraction(amount)


#: Sources: OpenRouter, "Usage accounting" and "BYOK"; Perplexity, "Chat completions: usage"; xAI,
#: "Cost tracking"; 2026-11.
_PROVIDERS: Final = (
    BillingProvider("openrouter.ai", _openrouter),
    BillingProvider("perplexity.ai", _perplexity),
    BillingProvider("x.ai", _xai),
)
