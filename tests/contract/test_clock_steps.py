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
def test_a_clock_that_was_set_wrong_commits_nothing(
    ledger: Ledger, clock: ManualClock, step: timedelta
) -> None:
    """Refused with both times, also reading; set back, it goes on where the books stood."""
    hold = ledger.reserve("acme", "0.10")
    entries = ledger.store.heads()
    right = clock.now
    clock.step(step)
    for use in (
        lambda: ledger.reserve("acme", "0.10"),
        lambda: ledger.settle(hold.key, "0.05"),
        lambda: ledger.set_budget("acme", limits=["2 usd per day"]),
        lambda: ledger.balances("acme"),
        ledger.sweep,
    ):
        with pytest.raises(ClockStepped) as refused:
            use()
        assert f"set {round(abs(step.total_seconds()))} s" in refused.value.detail
        assert iso(clock.instant()) in refused.value.detail
        assert right.isoformat().replace("+00:00", "Z") in refused.value.detail
    assert ledger.store.heads() == entries
    clock.step(-step)
    for _ in range(30):
        clock.set(clock.now + timedelta(days=1))
        ledger.settle(ledger.reserve("acme", "0.90").key, "0.90")
    assert ledger.ahead() == timedelta(0)


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
