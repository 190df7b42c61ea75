"""Time only moves forward: windows turn in the budget's zone, a clock that jumps resets nothing."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from earmark.errors import BudgetExceeded, Reason
from earmark.ledger.ledger import Ledger
from earmark.testing import ManualClock
from support.ledger_books import only, standing

DAY = timedelta(days=1)


def at(zone: str, *parts: int) -> datetime:
    """Return a wall-clock time in *zone*."""
    return datetime(*parts, tzinfo=ZoneInfo(zone))  # type: ignore[arg-type, misc]


def test_a_new_day_begins_at_the_zones_midnight(ledger: Ledger, clock: ManualClock) -> None:
    """In Berlin the day turns at 23:00 UTC in winter; not before and not at UTC's midnight."""
    ledger.set_budget("acme", limits=["1 usd per day"], timezone="Europe/Berlin")
    clock.set(datetime(2026, 11, 22, 22, 59, 59, tzinfo=UTC))
    hold = ledger.reserve("acme", 1)
    ledger.settle(hold.key, 1)
    assert only(ledger, "acme").resets_at == datetime(2026, 11, 22, 23, tzinfo=UTC)
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.1")
    clock.advance(timedelta(seconds=1))
    ledger.reserve("acme", 1)
    clock.set(datetime(2026, 11, 23, 0, 30, tzinfo=UTC))
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.1")


def test_each_budget_turns_in_its_own_zone(ledger: Ledger, clock: ManualClock) -> None:
    """On one path, each budget has the day of its own zone."""
    ledger.set_budget("acme", limits=["9 usd per day"], timezone="Pacific/Auckland")
    ledger.set_budget("acme/la", limits=["9 usd per day"], timezone="America/Los_Angeles")
    clock.set(at("America/Los_Angeles", 2026, 11, 22, 23, 0))
    ledger.reserve("acme/la", 1, key="a", deadline="2d")
    clock.advance(timedelta(hours=2))
    assert (str(only(ledger, "acme/la").held), str(only(ledger, "acme").held)) == ("0", "1")


def test_a_settlement_belongs_to_the_day_of_its_reservation(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Settled after midnight, the cost is charged to the day before; today is untouched."""
    ledger.set_budget("acme", limits=["1 usd per day", "2 usd per month"])
    clock.set(datetime(2026, 11, 22, 23, 59, tzinfo=UTC))
    ledger.reserve("acme", 1, key="late")
    clock.advance(timedelta(minutes=2))
    ledger.settle("late", "0.7")
    day, month = ledger.balances("acme")
    assert (str(day.settled), str(day.available)) == ("0", "1")
    assert (str(month.settled), str(month.available)) == ("0.7", "1.3")


def test_an_overrun_after_midnight_stays_in_its_day(ledger: Ledger, clock: ManualClock) -> None:
    """Yesterday's overrun does not block today, and is in yesterday's account."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    clock.set(datetime(2026, 11, 22, 23, 59, tzinfo=UTC))
    ledger.reserve("acme", 1, key="late")
    clock.advance(timedelta(minutes=2))
    ledger.settle("late", 5)
    ledger.reserve("acme", 1)
    assert standing(ledger, "acme") == ("1", "0", "1", "0")
    assert len(ledger.audit().over) == 1


def test_a_clock_that_steps_back_a_day_resets_nothing(ledger: Ledger, clock: ManualClock) -> None:
    """After a step back the ledger goes on at its last instant: today stays spent."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    hold = ledger.reserve("acme", 1)
    ledger.settle(hold.key, 1)
    last = ledger.entries()[-1].at
    clock.set(clock.now - DAY)
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.1")
    assert standing(ledger, "acme") == ("1", "1", "0", "0")
    ledger.set_budget("other", limits=["1 usd per day"])
    assert ledger.entries()[-1].at == last


def test_stepping_back_and_forth_spends_once(ledger: Ledger, clock: ManualClock) -> None:
    """A clock that swings over midnight gives each day its limit once."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    noon, admitted = clock.now, 0
    for _ in range(4):
        for moment in (noon, noon + DAY):
            clock.set(moment)
            try:
                ledger.reserve("acme", 1, deadline="3d")
            except BudgetExceeded:
                continue
            admitted += 1
    assert admitted == 2


def test_a_clock_that_jumps_forward_a_month_opens_new_windows(
    ledger: Ledger, clock: ManualClock
) -> None:
    """After the jump, day and month are new; what was open then is presumed in its own month."""
    ledger.set_budget("acme", limits=["1 usd per day", "1 usd per month", "3 usd total"])
    ledger.reserve("acme", 1, key="old")
    clock.advance(timedelta(days=31))
    hold = ledger.reserve("acme", 1)
    day, month, total = ledger.balances("acme")
    assert [str(b.held) for b in (day, month, total)] == ["1", "1", "1"]
    assert [str(b.settled) for b in (day, month, total)] == ["0", "0", "1"]
    assert ledger.reservation("old").state == "presumed"
    ledger.release(hold.key)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/Santiago", (2026, 9, 6), 23),
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),
        ("UTC", (2026, 3, 29), 24),
    ],
)
def test_a_day_is_as_long_as_it_is_there(
    ledger: Ledger, clock: ManualClock, zone: str, day: tuple[int, int, int], hours: float
) -> None:
    """On the days the clocks change a daily limit lasts 23, 24.5 or 25 hours, once."""
    clock.set(at(zone, *day, 12, 0) - DAY)
    ledger.set_budget("acme", limits=["1 usd per day"], timezone=zone)
    clock.set(at(zone, *day, 12, 0))
    balance = only(ledger, "acme")
    assert balance.starts_at is not None
    assert balance.resets_at is not None
    assert balance.resets_at - balance.starts_at == timedelta(hours=hours)
    clock.set(balance.starts_at)
    ledger.reserve("acme", 1, deadline="3d")
    clock.set(balance.resets_at - timedelta(microseconds=1))
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.1")
    clock.set(balance.resets_at)
    ledger.reserve("acme", 1)


def test_the_hour_that_comes_twice_is_two_hours(ledger: Ledger, clock: ManualClock) -> None:
    """When clocks go back, 2:30 comes twice: each has its own hourly limit."""
    clock.set(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    ledger.set_budget("acme", limits=["1 usd per hour"], timezone="Europe/Berlin")
    ledger.reserve("acme", 1, deadline="5h")
    clock.set(datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    ledger.reserve("acme", 1, deadline="5h")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.1")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ((2026, 1, 1), (2026, 2, 1)),
        ((2026, 2, 1), (2026, 3, 1)),
        ((2028, 2, 1), (2028, 3, 1)),
        ((2026, 12, 1), (2027, 1, 1)),
    ],
)
def test_a_month_ends_with_its_last_day(
    ledger: Ledger, clock: ManualClock, start: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    """Months of 28, 29, 30 and 31 days, and the year's end, are right."""
    clock.set(datetime(*end, tzinfo=UTC) - timedelta(microseconds=1))
    ledger.set_budget("acme", limits=["1 usd per month"])
    balance = only(ledger, "acme")
    assert (balance.starts_at, balance.resets_at) == (
        datetime(*start, tzinfo=UTC), datetime(*end, tzinfo=UTC),
    )  # fmt: skip


def test_a_fixed_window_is_aligned_to_midnight(ledger: Ledger, clock: ManualClock) -> None:
    """Half hours run from the zone's midnight, also where the zone is off by 45 minutes."""
    ledger.set_budget("acme", limits=["1 usd per 30min"], timezone="Asia/Kathmandu")
    clock.set(datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
    balance = only(ledger, "acme")
    assert (balance.starts_at, balance.resets_at) == (
        datetime(2026, 11, 22, 11, 45, tzinfo=UTC), datetime(2026, 11, 22, 12, 15, tzinfo=UTC),
    )  # fmt: skip


def test_a_clock_that_steps_back_over_an_extensions_end_finds_it_in_force(
    ledger: Ledger, clock: ManualClock
) -> None:
    """What was refused after the end wrote nothing; before the end, the raised limit counts."""
    ledger.set_budget("acme", limits=["5 usd per day"])
    begun = clock.now
    ledger.extend_budget("acme", "3 usd per day", until=begun + timedelta(minutes=1))
    clock.advance(timedelta(minutes=2))
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", 8)
    clock.set(begun + timedelta(seconds=30))
    assert ledger.reserve("acme", 8).state == "open"
    assert str(only(ledger, "acme").limit) == "8"


def test_a_clock_that_steps_back_over_a_pauses_end_finds_it_in_force(
    ledger: Ledger, clock: ManualClock
) -> None:
    """What was refused after the end wrote nothing; before the end, the pause counts."""
    ledger.set_budget("acme", limits=["5 usd per day"])
    begun = clock.now
    ledger.pause("acme", until=begun + timedelta(minutes=1))
    clock.advance(timedelta(minutes=2))
    with pytest.raises(BudgetExceeded, match="limit"):
        ledger.reserve("acme", 8)
    clock.set(begun + timedelta(seconds=30))
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("acme", 1)
    assert refused.value.reason is Reason.PAUSED
