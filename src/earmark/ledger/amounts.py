"""Arithmetic over the units of an operation: the one place that knows them one by one.

A name that is no unit of `budget.units.UNITS` is an error, never another unit's amount.
"""

from collections.abc import Callable, Mapping
from typing import Final

from earmark.budget.units import CALLS, TOKENS, UNITS, USD, counted
from earmark.ledger.values import AS_HELD, Amounts

OtherCounts = tuple[tuple[str, int], ...]
"""Counts of units without a member of their own in `Amounts`, in the order of their names."""


def amounts_of(usd: int, counts: Mapping[str, int], calls: int = 1) -> Amounts:
    """Return *usd* nano-dollars and *counts* by unit; of calls those, or *calls*."""
    others = sorted(each for each in counts.items() if each[0] not in _MEMBERS)
    return Amounts(usd, counts.get(CALLS, calls), counts.get(TOKENS), tuple(others))


def amount_of(amounts: Amounts, unit: str) -> int | None:
    """Return how much of *unit* is in *amounts*; `None` where nobody counted it."""
    if unit == USD:
        return amounts.usd
    if unit == CALLS:
        return amounts.calls
    if unit == TOKENS:
        return amounts.tokens
    for name, number in amounts.counts:
        if name == unit:
            return number
    if unit in UNITS:
        return UNITS[unit].unstated
    raise ValueError(f"amounts have no unit {unit!r}")


def count(amounts: Amounts, unit: str) -> int:
    """Return how much of *unit* is in *amounts*; 0 where it was not counted."""
    return amount_of(amounts, unit) or 0


def is_zero(amounts: Amounts) -> bool:
    """Return whether nothing of any unit is in *amounts*."""
    if amounts.usd or amounts.calls or amounts.tokens:
        return False
    return not any(number for _, number in amounts.counts)


def largest(amounts: Amounts) -> int:
    """Return the largest of the amounts, of whatever unit."""
    most = max(amounts.usd, amounts.calls, amounts.tokens or 0)
    return max([most, *(number for _, number in amounts.counts)]) if amounts.counts else most


def add(one: Amounts, other: Amounts) -> Amounts:
    """Return the sum; what neither counted stays uncounted."""
    tokens = other.tokens if one.tokens is None else one.tokens + (other.tokens or 0)
    counts = _joined(one.counts, other.counts, int.__add__)
    return Amounts(one.usd + other.usd, one.calls + other.calls, tokens, counts)


def larger(one: Amounts, other: Amounts) -> Amounts:
    """Return of each unit the larger amount; what *other* did not count is as in *one*."""
    tokens = max((t for t in (one.tokens, other.tokens) if t is not None), default=None)
    counts = _joined(one.counts, other.counts, max)
    return Amounts(max(one.usd, other.usd), max(one.calls, other.calls), tokens, counts)


def with_defaults(actual: Amounts, hold: Amounts) -> Amounts:
    """Return *actual*, with what it does not state taken from *hold*."""
    calls = hold.calls if actual.calls == AS_HELD else actual.calls
    tokens = hold.tokens if actual.tokens is None else actual.tokens
    counts = _joined(hold.counts, actual.counts, _second)
    return Amounts(actual.usd, calls, tokens, counts)


def less(before: Amounts, amounts: Amounts) -> Amounts:
    """Return, below zero, what an account does not count of *amounts*: what it held *before*."""
    counts = tuple([(unit, -min(number, count(before, unit))) for unit, number in amounts.counts])
    return Amounts(
        -min(amounts.usd, before.usd),
        -min(amounts.calls, before.calls),
        -min(amounts.tokens or 0, before.tokens or 0),
        counts,
    )


def counted_units(amounts: Amounts) -> Mapping[str, int]:
    """Return the units beside USD that were counted, by their names."""
    units = {CALLS: amounts.calls, TOKENS: amounts.tokens, **dict(amounts.counts)}
    return {unit: amount for unit, amount in units.items() if amount is not None}


def no_counts() -> dict[str, int]:
    """Return 0 of each unit of which an unstated count would not be 0: what fits every limit."""
    return {unit.name: 0 for unit in counted() if unit.unstated != 0}


def nothing() -> Amounts:
    """Return what fits wherever anything does: an amount of 0, in every unit that is limited."""
    return amounts_of(0, no_counts())


_MEMBERS: Final = frozenset({CALLS, TOKENS})


def _joined(one: OtherCounts, other: OtherCounts, join: Callable[[int, int], int]) -> OtherCounts:
    if not one or not other:
        return one or other
    counts = dict(one)
    for unit, number in other:
        counts[unit] = join(counts[unit], number) if unit in counts else number
    return tuple(sorted(counts.items()))


def _second(_first: int, second: int) -> int:
    return second
