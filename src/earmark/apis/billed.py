"""What a provider says it billed for a reply, in USD: read only where its own host says it.

A server at any other address may write what it likes into a reply: its words are no bill.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

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
    read: Callable[[Mapping[str, Any]], Fraction | None]
    """Returns the USD of a usage object; `None` where it says none."""


def billed_cost(usage: Mapping[str, Any], *, provider: str, host: str) -> Money | None:
    """Return what *provider* says it billed, rounded up to a whole nano-dollar.

    `None` where its replies say nothing, or where *host* is not its own.

    Args:
        usage: The usage object of the reply. A fraction may be a `Decimal`, or a float: of that the
            shortest decimal is read, which is what a JSON writer wrote.
        provider: Who was asked, by the price list's name.
        host: The host that answered, with or without a port, as whoever sent the request knows it.

    Raises:
        InvalidUsage: The amount is negative or no credible number.
    """
    known = _PROVIDERS.get(provider)
    name = host.lower().partition(":")[0]
    if known is None or not f".{name}".endswith(f".{known.host}"):
        return None
    usd = known.read(usage)
    if usd is None:
        return None
    billed = Money.ceil(usd)
    if billed.in_nanos > LARGEST_NANOS:
        raise InvalidUsage(detail=f"a bill of {billed} USD for one call is not credible")
    return billed


def _openrouter(usage: Mapping[str, Any]) -> Fraction | None:
    """Read `cost`, the credits charged; with an own key the upstream provider bills beside it.

    `upstream_inference_cost` stands in other replies too and repeats the cost there.
    """
    cost = _amount(usage, "cost")
    if usage.get("is_byok") is not True or cost is None:
        return cost
    upstream = _amount(mapping(usage.get("cost_details")), "upstream_inference_cost")
    return None if upstream is None else cost + upstream


def _perplexity(usage: Mapping[str, Any]) -> Fraction | None:
    return _amount(mapping(usage.get("cost")), "total_cost")


def _xai(usage: Mapping[str, Any]) -> Fraction | None:
    ticks = _amount(usage, "cost_in_usd_ticks")
    return None if ticks is None else ticks / _TICKS_PER_USD


def _amount(found: Mapping[str, Any], name: str) -> Fraction | None:
    value = found.get(name)
    if value is None or isinstance(value, bool):
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
_PROVIDERS: Final = {
    "openrouter": BillingProvider("openrouter.ai", _openrouter),
    "perplexity": BillingProvider("perplexity.ai", _perplexity),
    "x-ai": BillingProvider("x.ai", _xai),
}
