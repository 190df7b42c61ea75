"""Times, amounts and limits as text for pages: values that templates print as they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from earmark.budget.share import percent
from earmark.clock import NANOS_PER_SECOND, from_datetime, to_datetime
from earmark.ledger.answers import Balance
from earmark.money import Money
from earmark.workspace.jsonable import expand_exponents

#: What stands where nothing is known, as on a blank form.
NOTHING: Final = "\N{EN DASH}"

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
#: From how many seconds on a stretch of time is told in a unit, and how long that unit is.
_STEPS: Final = (
    (_DAY, _DAY, "d"),
    (_HOUR, _HOUR, "h"),
    (_MINUTE, _MINUTE, "min"),
)
#: How much of one result a page shows; the API has all of it.
LONGEST_JSON: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class DisplayedTime:
    """An instant as a page shows it: how long ago, and exactly."""

    iso: str
    """RFC 3339, for `<time datetime>`."""
    exact: str
    """`2026-11-22 08:36:12 UTC`."""
    age: str
    """`2 h ago`, `in 5 min`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One limit in its current interval, as a bar and in words."""

    unit: str
    name: str
    """`0.5 usd per 30min`."""
    settled: str
    held: str
    available: str
    settled_part: int
    """Thousandths of the limit, as the two that follow; together at most 1000."""
    held_part: int
    percent: int
    """Settled and held, in hundredths of the limit; above 100 after an overrun."""
    resets: DisplayedTime | None
    level: str
    """`ok`, `near` from 80 % on, `full` from 100 % on."""

    @property
    def words(self) -> str:
        """The whole bar as one phrase."""
        return (
            f"{self.settled} settled, {self.held} held, {self.available} available"
            f" of {self.name} ({self.percent} %)"
        )


def moment(instant: int, now: int) -> DisplayedTime | None:
    """Return *instant* as seen at *now*; None for 0, which is "not yet"."""
    if not instant:
        return None
    at = to_datetime(instant)
    return DisplayedTime(
        iso=at.isoformat().replace("+00:00", "Z"),
        exact=f"{at:%Y-%m-%d %H:%M:%S} UTC",
        age=age(instant, now),
    )


def age(instant: int, now: int) -> str:
    """Return how far *instant* lies from *now*: `just now`, `3 h ago`, `in 12 min`."""
    seconds = abs(now - instant) // NANOS_PER_SECOND
    if seconds < 1:
        return "just now"
    text = stretch(abs(now - instant))
    return f"{text} ago" if instant <= now else f"in {text}"


def stretch(nanos: int) -> str:
    """Return a stretch of time in its largest whole unit: `40 s`, `12 min`, `3 h`, `2 d`."""
    seconds = max(0, nanos) // NANOS_PER_SECOND
    for least, length, unit in _STEPS:
        if seconds >= least:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def usd(amount: Money | None) -> str:
    """Return an amount of money for people, or a dash."""
    return NOTHING if amount is None else f"{amount} USD"


def count(number: int | None) -> str:
    """Return a count with its thousands apart, or a dash."""
    return NOTHING if number is None else f"{number:,}"


def money_of(budget: str, key: str) -> str:
    """Return the address at which the entries of the reservation *key* are shown."""
    return f"/budgets/{budget}?{urlencode({'key': key})}"


def bar(balance: Balance, now: int) -> Bar:
    """Return *balance* as a bar."""
    limit, settled, held = (
        amount_of(balance.limit), amount_of(balance.settled), amount_of(balance.held)
    )  # fmt: skip
    taken = settled + held
    settled_part = _part(settled, limit)
    used = percent(taken, limit)
    return Bar(
        unit=balance.unit,
        name=balance.describe(),
        settled=str(balance.settled),
        held=str(balance.held),
        available=str(balance.available),
        settled_part=settled_part,
        held_part=min(_part(held, limit), 1000 - settled_part),
        percent=used,
        resets=None if balance.resets_at is None else moment(from_datetime(balance.resets_at), now),
        level="full" if used >= 100 else "near" if used >= 80 else "ok",  # noqa: PLR2004 - %
    )


def amount_of(amount: Money | int) -> int:
    """Return an amount as the ledger counts it."""
    return amount.in_nanos if isinstance(amount, Money) else amount


def pretty(value: Mapping[str, Any] | None) -> tuple[str, bool]:
    """Return JSON for people, cut where it is long, and whether it was cut."""
    text = expand_exponents(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False))
    return text[:LONGEST_JSON], len(text) > LONGEST_JSON


def _part(amount: int, limit: int) -> int:
    """Return *amount* in thousandths of *limit*; what is spent of a limit of 0 fills it."""
    if limit <= 0:
        return 1000 if amount else 0
    return min(1000, max(0, amount) * 1000 // limit)
