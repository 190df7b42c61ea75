"""The units of limits: one row each, and all that distinguishes one from another.

A new unit is a new row of `UNITS`. Callers' arguments, limits, balances, rows, JSON forms, metrics
and commands follow from it; where amounts are kept it needs no column and no migration (decision
0018). A program without the row refuses a store that has a limit or a count of that unit.
"""

import re
from dataclasses import dataclass
from typing import Final

from earmark.errors import InvalidLimit
from earmark.errors.inputs import shown
from earmark.money import LARGEST_LIMIT_NANOS, LARGEST_NANOS

USD: Final = "usd"
CALLS: Final = "calls"
TOKENS: Final = "tokens"
#: The largest count of a unit: 2^53-1, exact in JSON too.
LARGEST_COUNT: Final = LARGEST_NANOS

#: A unit is a member of JSON objects, a part of a metric's name and a word of a limit's text.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUnit:
    """One unit of limits."""

    name: str
    is_money: bool = False
    """Whether its amounts are nano-dollars, read and shown as decimals, or counts.

    Dollars alone are: money has one currency.
    """
    largest: int = LARGEST_COUNT
    """The largest amount of a limit; of a count, also the most that a caller may state."""
    unstated: int | None = None
    """What a reservation that does not state it holds; `None` where it is not counted then.

    A limit of a unit that was not counted refuses the reservation. Only `calls` hold more than 0:
    every later unit has 0 or `None`.
    """

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} cannot name a unit: {_NAME.pattern}")
        if self.is_money and self.name != USD:
            raise ValueError(f"{self.name!r} is money in a second currency")
        if self.unstated and self.name not in _MEMBERS:
            raise ValueError(f"what does not state {self.name!r} holds 0 of it, or is not counted")


#: The units with a member of their own in `ledger.values.Amounts`.
_MEMBERS: Final = (USD, CALLS, TOKENS)

#: Every unit that a limit may have, by its name.
UNITS: Final[dict[str, LimitUnit]] = {
    unit.name: unit
    for unit in (
        LimitUnit(name=USD, is_money=True, largest=LARGEST_LIMIT_NANOS, unstated=0),
        LimitUnit(name=CALLS, unstated=1),
        LimitUnit(name=TOKENS),
    )
}


def unit_named(name: str) -> LimitUnit:
    """Return the unit of that name.

    Raises:
        InvalidLimit: There is none in `UNITS`.
    """
    unit = UNITS.get(name)
    if unit is None:
        raise InvalidLimit(text=shown(name), want="one of " + ", ".join(UNITS), kind="unit")
    return unit


def counted() -> list[LimitUnit]:
    """Return the units that are counts: those that callers state by name in `units`."""
    return [unit for unit in UNITS.values() if not unit.is_money]
