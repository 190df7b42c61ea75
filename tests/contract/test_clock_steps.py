"""A clock that is set wrong while a program runs reaches no entry; time that passes does."""

from datetime import timedelta

import pytest

from earmark.clock import iso
from earmark.errors import BudgetExceeded, ClockStepped
from earmark.ledger.ledger import Ledger
from earmark.testing import ManualClock

YEARS = timedelta(days=3652)


@pytest.fixture(autouse=True)
def _daily(ledger: Ledger) -> None:
    ledger.set_budget("acme", limits=["1 usd per day"])


@pytest.mark.parametrize("step", [YEARS, -YEARS, timedelta(seconds=301), timedelta(seconds=-301)])
def test_a_clock_that_was_set_wrong_opens_nothing(
    ledger: Ledger, clock: ManualClock, step: timedelta
) -> None:
    """Refused with both times; reading goes on, and set back, it goes on where the books stood."""
    hold = ledger.reserve("acme", "0.10", deadline="30min")
    entries = ledger.store.heads()
    balances = ledger.balances("acme")
    right = clock.now
    clock.step(step)
    for use in (
        lambda: ledger.reserve("acme", "0.10"),
        lambda: ledger.extend(hold.key, "0.05"),
        lambda: ledger.set_budget("acme", limits=["2 usd per day"]),
        ledger.check_clock,
    ):
        with pytest.raises(ClockStepped) as refused:
            use()
        assert f"set {round(abs(step.total_seconds()))} s" in refused.value.detail
        assert iso(clock.instant()) in refused.value.detail
        assert right.isoformat().replace("+00:00", "Z") in refused.value.detail
    ledger.sweep()
    assert ledger.balances("acme") == balances
    assert ledger.holds("acme") == [hold]
    assert ledger.reservation(hold.key).state == "open"
    assert ledger.audit().ok
    assert ledger.store.heads() == entries
    clock.step(-step)
    for _ in range(30):
        clock.set(clock.now + timedelta(days=1))
        ledger.settle(ledger.reserve("acme", "0.90").key, "0.90")
    assert ledger.ahead() == timedelta(0)


@pytest.mark.parametrize("step", [YEARS, -YEARS])
def test_what_ends_a_hold_is_booked_whatever_the_clock_says(
    ledger: Ledger, clock: ManualClock, step: timedelta
) -> None:
    """At the last entry's instant, in the interval of the reservation: the truth is not lost."""
    holds = [ledger.reserve("acme", "0.20", deadline="30min").key for _ in range(4)]
    last = ledger.entries()[-1].at
    clock.step(step)
    clock.advance(timedelta(minutes=40))
    assert ledger.settle(holds[0], "0.05").state == "settled"
    assert ledger.release(holds[1]).state == "released"
    assert ledger.presume(holds[2]).state == "presumed"
    assert ledger.settle(holds[2], "0.03").state == "settled"
    assert ledger.entries()[-1].at == last
    assert [str(b.settled) for b in ledger.balances("acme")] == ["0.08"]
    assert ledger.reservation(holds[3]).state == "open"
    clock.step(-step)
    assert ledger.reservation(holds[3]).state == "presumed"
    assert ledger.audit().ok


@pytest.mark.slow("postgres")
def test_small_corrections_do_not_add_up(ledger: Ledger, clock: ManualClock) -> None:
    """A second a day, for more than a year."""
    for _ in range(400):
        clock.advance(timedelta(days=1))
        clock.step(timedelta(seconds=1))
        ledger.settle(ledger.reserve("acme", "0.90").key, "0.90")


def test_a_clock_that_stays_as_it_was_set_is_taken_for_right_after_an_hour(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Counted in uptime, from the first look, and anew where it is set once more."""

    def is_refused() -> bool:
        try:
            ledger.reserve("acme", "0.01")
        except ClockStepped:
            return True
        return False

    clock.step(timedelta(hours=6))
    assert is_refused()
    clock.advance(timedelta(minutes=59))
    assert is_refused()
    clock.step(timedelta(hours=6))
    clock.advance(timedelta(minutes=2))
    assert is_refused()
    clock.advance(timedelta(minutes=59))
    assert is_refused()
    clock.advance(timedelta(minutes=1))
    assert not is_refused()
    ledger.check_clock()
    clock.step(timedelta(hours=-6))
    assert is_refused()


def test_a_clock_that_was_right_meanwhile_has_not_stayed_as_it_was_set(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Set wrong, right and wrong again within an hour, it is wrong since the second time."""
    for _ in range(2):
        clock.step(timedelta(hours=6))
        with pytest.raises(ClockStepped):
            ledger.reserve("acme", "0.01")
        clock.advance(timedelta(minutes=1))
        clock.step(timedelta(hours=-6))
        ledger.reserve("acme", "0.01")
        clock.advance(timedelta(minutes=58))
    clock.step(timedelta(hours=6))
    with pytest.raises(ClockStepped):
        ledger.reserve("acme", "0.01")


@pytest.mark.parametrize("passed", [YEARS, timedelta(seconds=301)])
def test_time_that_passes_is_no_step(ledger: Ledger, clock: ManualClock, passed: timedelta) -> None:
    """Idle or suspended for however long, and a correction of less than five minutes."""
    ledger.reserve("acme", "1.00", deadline="5min")
    clock.advance(passed)
    clock.set(clock.now + passed)
    clock.step(timedelta(seconds=299))
    clock.step(timedelta(seconds=-598))
    clock.step(timedelta(seconds=299))
    ledger.sweep()
    ledger.set_budget("b", limits=["1 usd per day"])
    ledger.reserve("b", "1.00")


def test_books_that_are_ahead_go_on_by_extensions(ledger: Ledger, clock: ManualClock) -> None:
    """One window stands for all the days until the clock gets there; what is added to it counts."""
    before = clock.now
    assert ledger.ahead() == timedelta(0)
    clock.set(before + YEARS)
    ledger.settle(ledger.reserve("acme", "1.00").key, "1.00")
    clock.set(before)
    assert ledger.ahead() == YEARS
    for _ in range(2):
        clock.advance(timedelta(days=1))
        with pytest.raises(BudgetExceeded):
            ledger.reserve("acme", "1.00")
        end = before + YEARS + timedelta(days=1)
        ledger.extend_budget("acme", "1 usd per day", until=end, reason="the clock was wrong")
        ledger.settle(ledger.reserve("acme", "1.00").key, "1.00")
    clock.set(before + YEARS + timedelta(days=2))
    assert ledger.ahead() == timedelta(0)
    ledger.reserve("acme", "1.00")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.01")
