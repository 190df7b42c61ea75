"""Limits: an amount, a unit and a window, as in `10.50 usd per day` or `3 calls per 30min`."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from earmark.budget.units import unit_named
from earmark.budget.window import Cut, Window
from earmark.errors import FloatAmount, InvalidAmount, InvalidLimit
from earmark.errors.inputs import shown
from earmark.money import AmountLike, Money, show_nanos, to_nanos

_GRAMMAR = re.compile(r"\s*(\S+)\s+(\S+)\s+(?:(total)|per\s+(\S+))\s*")
_LONGEST_TEXT: Final = 100
_WANT: Final = "<amount> <unit> per <window> or <amount> <unit> total, such as '10 usd per day'"


@dataclass(frozen=True, slots=True)
class Limit:
    """The most of one unit in each interval of one window; 0 refuses everything that costs."""

    amount: int
    """Nano-dollars where *unit* is money, else a count."""
    unit: str
    window: Window

    def __post_init__(self) -> None:
        largest = unit_named(self.unit).largest
        if not 0 <= self.amount <= largest:
            want = f"0 to {show_amount(self.unit, largest)} {self.unit}"
            raise InvalidAmount(text=show_amount(self.unit, self.amount), want=want)

    @classmethod
    def parse(cls, text: str) -> "Limit":
        """Return the limit that *text* describes.

        Raises:
            InvalidLimit: Another shape, an unknown unit or an unknown window.
            InvalidAmount: The amount is no amount of that unit.
        """
        is_short = isinstance(text, str) and len(text) <= _LONGEST_TEXT
        match = _GRAMMAR.fullmatch(text) if is_short else None
        if match is None:
            raise InvalidLimit(text=shown(text), want=_WANT)
        amount, unit, total, window = match.groups()
        return cls(read_amount(unit, amount), unit, Window.parse(total or _recurring(window, text)))

    def same_window(self, other: "Limit") -> bool:
        """Return whether *other* limits the same unit in the same window, by whatever amount."""
        return (self.unit, self.window) == (other.unit, other.window)

    def describe(self) -> str:
        """Return it as people write it, and as `parse` reads it: `10.5 usd per day`."""
        return describe_limit(show_amount(self.unit, self.amount), self.unit, str(self.window))

    __str__ = describe


def read_amount(unit: str, amount: AmountLike) -> int:
    """Return *amount* as the ledger counts it: nano-dollars for money, else a whole number.

    Raises:
        InvalidLimit: The unit is unknown.
        InvalidAmount: Negative, not a number, broken where only whole numbers count, or absurd.
        FloatAmount: A float.
    """
    known = unit_named(unit)
    return to_nanos(amount) if known.is_money else _to_count(amount, known.largest)


def show_amount(unit: str, amount: int) -> str:
    """Return *amount* (nano-dollars, or a count) as people write it: `10.5`, `3`."""
    return show_nanos(amount) if unit_named(unit).is_money else str(amount)


def describe_window(window: str) -> str:
    """Return the end of a limit's text for the window named *window*: `per day`, or `total`."""
    return window if window == Cut.TOTAL.value else f"per {window}"


def describe_limit(amount: Money | int | str, unit: str, window: str) -> str:
    """Return the text of the limit *amount* of *unit* in *window*: `0.5 usd per 30min`."""
    return f"{amount} {unit} {describe_window(window)}"


def present(unit: str, amount: int) -> Money | int:
    """Return *amount* (nano-dollars, or a count) as the public contract gives it."""
    return Money.nanos(amount) if unit_named(unit).is_money else amount


def _recurring(window: str, text: str) -> str:
    if window == Cut.TOTAL.value:
        raise InvalidLimit(text=text, want="'total' without 'per', such as '100 usd total'")
    return window


def _to_count(amount: AmountLike, largest: int) -> int:
    want = f"a whole number from 0 to {largest}"
    if isinstance(amount, bool | float):
        raise FloatAmount(text=shown(amount), want=want)
    count = _whole(amount)
    if count is None or not 0 <= count <= largest:
        raise InvalidAmount(text=shown(amount), want=want)
    return count


def _whole(amount: AmountLike) -> int | None:
    match amount:
        case int():
            return amount
        case str():
            return int(amount) if re.fullmatch(r"[0-9]{1,16}", amount) else None
        case Decimal():
            plain = amount.is_finite() and amount.adjusted() <= 16  # noqa: PLR2004 - 2^53 has 16 digits
            return int(amount) if plain and amount == int(amount) else None
        case _:
            return None
