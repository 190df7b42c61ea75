"""What was spent on a day, computed from the books and from nowhere else."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from msgspec import Struct

from earmark.budget.path import ancestors
from earmark.budget.share import percent_to_hundredths
from earmark.budget.units import USD
from earmark.budget.window import Interval, Window
from earmark.clock import NANOS_PER_SECOND, iso
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter, Store
from earmark.ledger.values import Account
from earmark.money import Money

DAY: Final = Window.parse("day")
#: So many ended days are closed at most, the latest ones: a year away is no reason to stall.
MOST_DAYS: Final = 31


class Day(Struct, frozen=True, kw_only=True):
    """One day of the budget whose day it is: the next one on the path with a limit per day."""

    budget: str
    zone: str
    start: int
    end: int

    @property
    def date(self) -> str:
        """The date that a clock in the budget's zone shows in it: `2026-11-22`."""
        # Its noon: where a day begins by skipping midnight, its first second is another date's.
        middle = (self.start + self.end) // 2 // NANOS_PER_SECOND
        return datetime.fromtimestamp(middle, ZoneInfo(self.zone)).date().isoformat()

    def at(self, instant: int) -> "Day":
        """Return the day of the same budget that holds *instant*."""
        interval = DAY.interval(instant, self.zone)
        return Day(budget=self.budget, zone=self.zone, start=interval.start, end=interval.end)


class DailySpend(Struct, frozen=True, kw_only=True):
    """What a day came to, in nano-USD."""

    settled: int
    held: int
    limit: int | None
    """None where nothing limits a day."""
    alerted: bool = False
    """Whether an alert of this day was written."""

    @property
    def available(self) -> int | None:
        """What is left; negative after an overrun."""
        return None if self.limit is None else self.limit - self.settled - self.held

    def percent(self) -> float | None:
        """Return how much of the limit is settled or held, in percent; 100 of a limit of 0."""
        if self.limit is None:
            return None
        return percent_to_hundredths(self.settled + self.held, self.limit)


def today(ledger: Ledger, budget: str, now: int) -> Day:
    """Return the day that holds *now*, of the budget on the path of *budget* that limits days."""
    account = day_account(ledger.store.accounts(budget, now))
    owner = budget if account is None else account.line.budget
    return Day(budget=owner, zone=timezone_of(ledger, owner), start=0, end=0).at(now)


def timezone_of(ledger: Ledger, path: str) -> str:
    """Return the time zone of the budget at *path*, or of the nearest one above it; else UTC."""
    for each in ancestors(path):
        budget = ledger.store.budget(each)
        if budget is not None:
            return budget.timezone
    return "UTC"


def day_account(accounts: tuple[Account, ...]) -> Account | None:
    """Return the first account, leaf first, that limits the money of a day."""
    daily = (each for each in accounts if each.line.unit == USD and each.line.window == str(DAY))
    return next(daily, None)


def spend_of(ledger: Ledger, day: Day, now: int) -> DailySpend:
    """Return what *day* came to so far, or in all.

    Raises:
        StoreUnavailable: The books cannot be read.
    """
    if now in Interval(day.start, day.end):
        account = day_account(ledger.store.accounts(day.budget, now))
        if account is not None and account.line.budget == day.budget:
            line = account.line
            return DailySpend(
                settled=account.settled,
                held=account.held,
                limit=line.limit,
                alerted=account.alerted > 0,
            )
    return _summed(ledger, day)


def days_since(first: Day, now: int) -> Iterator[Day]:
    """Yield the days from *first* to the one that holds *now*, the latest `MOST_DAYS` of them."""
    days: list[Day] = []
    day = first
    while day.end <= now:
        days.append(day)
        day = day.at(day.end)
    yield from [*days, day][-MOST_DAYS:]


def patch_fields(ledger: Ledger, day: Day, spend: DailySpend, *, now: int) -> dict[str, Any]:
    """Return the fields of a budget's patch that come from the books."""
    return {
        "daily_spend": usd(spend.settled),
        "date": day.date,
        "last_updated": iso(now),
        "budget": day.budget,
        "limit": None if spend.limit is None else usd(spend.limit),
        "held": usd(spend.held),
        "available": None if spend.available is None else usd(spend.available),
        "starts_at": iso(day.start),
        "resets_at": iso(day.end),
        "timezone": day.zone,
        "entry": last_entry_number(ledger, day.budget),
        "books": books_id(ledger, day.budget),
    }


def last_entry_number(ledger: Ledger, budget: str) -> int:
    """Return the number of the last entry of the tree that *budget* is in; 0 without one."""
    heads = ledger.store.heads()
    return heads.get(budget.partition("/")[0], heads.get("", 0))


def books_id(ledger: Ledger, budget: str) -> str:
    """Return which books these are: the instant of the first entry of *budget*'s tree.

    It is looked for once: a first entry stays the first.
    """
    known = _FIRST.setdefault(ledger.store, {})
    tree = budget.partition("/")[0]
    if tree not in known:
        first = ledger.store.entries(Filter(budget=tree, most=1))
        if not first:
            return ""
        known[tree] = iso(first[0].at)
    return known[tree]


_FIRST: Final[WeakKeyDictionary[Store, dict[str, str]]] = WeakKeyDictionary()


def usd(nanos: int) -> str:
    """Return nano-USD as a decimal string."""
    return str(Money.nanos(nanos))


def _summed(ledger: Ledger, day: Day) -> DailySpend:
    """Add up a day's reservations: what is settled late belongs to the day it was opened on."""
    query = Filter(budget=day.budget, since=day.start, until=day.end)
    found = ledger.store.reservations(query)
    settled = sum(each.actual.usd for each in found if each.actual is not None)
    held = sum(each.hold.usd for each in found if each.state == "open")
    return DailySpend(settled=settled, held=held, limit=_limit(ledger, day.budget, day.end - 1))


def _limit(ledger: Ledger, path: str, at: int) -> int | None:
    budget = ledger.store.budget(path)
    limits = () if budget is None else budget.limits
    for each in limits:
        if budget is not None and each.unit == USD and each.window == DAY:
            return budget.effective(each, at)
    return None
