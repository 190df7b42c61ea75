"""Arithmetic over the units of an operation: the one place that knows them one by one.

A unit of `budget.limit.UNITS` that is missing here is an error, never another unit's amount.
"""

from collections.abc import Mapping

from earmark.budget.limit import CALLS, TOKENS, USD
from earmark.ledger.values import AS_HELD, Amounts


def amount_of(amounts: Amounts, unit: str) -> int | None:
    """Return how much of *unit* is in *amounts*; `None` where nobody counted it."""
    if unit == USD:
        return amounts.usd
    if unit == CALLS:
        return amounts.calls
    if unit == TOKENS:
        return amounts.tokens
    raise ValueError(f"amounts have no unit {unit!r}")


def count(amounts: Amounts, unit: str) -> int:
    """Return how much of *unit* is in *amounts*; 0 where it was not counted."""
    return amount_of(amounts, unit) or 0


def is_zero(amounts: Amounts) -> bool:
    """Return whether nothing of any unit is in *amounts*."""
    return not (amounts.usd or amounts.calls or amounts.tokens)


def add(one: Amounts, other: Amounts) -> Amounts:
    """Return the sum; what neither counted stays uncounted."""
    tokens = other.tokens if one.tokens is None else one.tokens + (other.tokens or 0)
    return Amounts(one.usd + other.usd, one.calls + other.calls, tokens)


def larger(one: Amounts, other: Amounts) -> Amounts:
    """Return of each unit the larger amount; what *other* did not count is as in *one*."""
    tokens = max((t for t in (one.tokens, other.tokens) if t is not None), default=None)
    return Amounts(max(one.usd, other.usd), max(one.calls, other.calls), tokens)


def with_defaults(actual: Amounts, hold: Amounts) -> Amounts:
    """Return *actual*, with what it does not state taken from *hold*."""
    calls = hold.calls if actual.calls == AS_HELD else actual.calls
    tokens = hold.tokens if actual.tokens is None else actual.tokens
    return Amounts(actual.usd, calls, tokens)


def counted_units(amounts: Amounts) -> Mapping[str, int]:
    """Return the units beside USD that were counted, by their names."""
    units = {CALLS: amounts.calls, TOKENS: amounts.tokens}
    return {unit: amount for unit, amount in units.items() if amount is not None}
