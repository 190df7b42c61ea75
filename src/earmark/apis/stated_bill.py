"""The bill in USD that a provider states in its reply.

From the provider's own host it is the cost. From any other host it counts only where it is more
than the counters come to, and never lowers a cost.
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
    """Returns the USD in a usage object, and whether that is the whole; `None` for no bill."""


@dataclass(frozen=True, slots=True)
class StatedBill:
    """The bill that a reply states, rounded up to a whole nano-dollar."""

    amount: Money
    is_final: bool
    """Whether the provider's own host states it as the whole: then it is the cost."""


def stated_bill(usage: Mapping[str, Any], *, host: str) -> StatedBill | None:
    """Return the bill that a reply states; `None` where it states none.

    From a provider's own host it is read in that provider's form; from any other host, the largest
    amount counts that one of the forms would read.

    Args:
        usage: The usage object of the reply. A fraction may be a `Decimal`, or a float: of that the
            shortest decimal is read, which is what a JSON writer wrote.
        host: The host that answered, with or without a port, as whoever sent the request knows it;
            empty where nobody knows.

    Raises:
        InvalidUsage: The amount is negative or no credible number; names its path.
    """
    provider = next((each for each in _PROVIDERS if is_below(host, each.host)), None)
    bill = None if provider is None else provider.read(usage)
    is_own_host = bill is not None
    if bill is None:
        bills = (each.read(usage) for each in _PROVIDERS)
        bill = max((each for each in bills if each is not None), default=None)
    if bill is None:
        return None
    usd, is_complete = bill
    amount = Money.ceil(usd)
    if amount.in_nanos > LARGEST_NANOS:
        raise InvalidUsage(detail=f"a bill of {amount} USD for one call is not credible")
    return StatedBill(amount, is_complete and is_own_host)


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


def _amount(members: Mapping[str, Any], name: str) -> Fraction | None:
    value = members.get(name)
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
