"""Deadlines: what nobody settled in time is presumed spent, by an entry everybody can read."""

from datetime import timedelta

import pytest

from earmark.errors import InvalidDuration, ReservationClosed
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.testing import ManualClock
from support.ledger_books import standing

TEN = timedelta(minutes=10)


@pytest.fixture
def open_call(ledger: Ledger) -> Ledger:
    """Books with 0.50 of 1.00 held for ten minutes as `call`."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.50", key="call", deadline="10min")
    return ledger


def test_before_the_deadline_the_hold_stands(open_call: Ledger, clock: ManualClock) -> None:
    """Up to its deadline a reservation is open and listed."""
    clock.advance(TEN - timedelta(microseconds=1))
    assert [hold.key for hold in open_call.holds()] == ["call"]


def test_at_the_deadline_it_is_presumed_spent(open_call: Ledger, clock: ManualClock) -> None:
    """At the deadline the whole hold is settled by an entry of its own; nothing comes free."""
    clock.advance(TEN)
    late = open_call.reservation("call")
    assert open_call.holds() == []
    assert (late.state, late.settled) == ("presumed", Money("0.50"))
    assert standing(open_call, "acme") == ("1", "0.5", "0", "0.5")
    last = open_call.entries()[-1]
    assert (last.kind, last.key, last.amounts.usd) == ("presume", "call", 500_000_000)
    assert last.moment == clock.now


def test_any_later_operation_presumes_first(open_call: Ledger, clock: ManualClock) -> None:
    """A reservation elsewhere, past the deadline, finds the hold presumed before it is decided."""
    clock.advance(TEN)
    open_call.set_budget("other", limits=["1 usd per day"])
    assert [entry.kind for entry in open_call.entries()][-2:] == ["presume", "limit"]


def test_the_deadline_is_told_once(open_call: Ledger, clock: ManualClock) -> None:
    """However often the books are asked afterwards, there is one entry."""
    clock.advance(TEN)
    for _ in range(3):
        open_call.holds()
        clock.advance(TEN)
    assert [entry.kind for entry in open_call.entries("acme")].count("presume") == 1


def test_a_late_settlement_corrects(open_call: Ledger, clock: ManualClock) -> None:
    """The true cost, told after the deadline, replaces the presumed one."""
    clock.advance(TEN * 2)
    assert open_call.settle("call", "0.2").state == "settled"
    assert standing(open_call, "acme") == ("1", "0.2", "0", "0.8")
    assert [entry.kind for entry in open_call.entries(key="call")] == [
        "reserve", "presume", "settle",
    ]  # fmt: skip


def test_what_is_settled_in_time_is_never_presumed(open_call: Ledger, clock: ManualClock) -> None:
    """A settled reservation has no deadline any more."""
    open_call.settle("call", "0.2")
    clock.advance(TEN * 100)
    assert open_call.holds(state=None)[0].state == "settled"
    assert len(open_call.entries(key="call")) == 2


def test_an_extension_after_the_deadline_is_refused(open_call: Ledger, clock: ManualClock) -> None:
    """What is presumed cannot grow."""
    clock.advance(TEN)
    with pytest.raises(ReservationClosed, match="presumed"):
        open_call.extend("call", "0.1")


def test_the_repeat_of_a_reserve_after_its_deadline_opens_nothing(
    open_call: Ledger, clock: ManualClock
) -> None:
    """A client that comes back late finds its reservation presumed, and no second one."""
    clock.advance(TEN)
    assert open_call.reserve("acme", "0.50", key="call", deadline="10min").state == "presumed"
    assert standing(open_call, "acme") == ("1", "0.5", "0", "0.5")


def test_many_deadlines_at_once(ledger: Ledger, clock: ManualClock) -> None:
    """Three thousand reservations that fall due together are all presumed, none twice."""
    ledger.set_budget("acme", limits=["3000 usd per day"])
    from earmark.ledger.values import Amounts, Reserve

    batch = [Reserve(f"k{i}", "acme", Amounts(10**9), 10**9) for i in range(3000)]
    ledger.store.apply(batch, clock.instant())
    clock.advance(timedelta(seconds=1))
    for _ in range(4):
        ledger.holds(most=1)
    assert standing(ledger, "acme") == ("3000", "3000", "0", "0")
    assert ledger.audit().unresolved == 3000


def test_a_deadline_may_be_a_moment(ledger: Ledger, clock: ManualClock) -> None:
    """A deadline is given as a duration or as an instant with a time zone."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    hold = ledger.reserve("acme", "0.1", deadline=clock.now + TEN)
    assert hold.deadline == clock.now + TEN


def test_a_hold_lives_an_hour_unless_told(ledger: Ledger, clock: ManualClock) -> None:
    """Without a deadline of the caller's, it is one hour."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    assert ledger.reserve("acme", "0.1").deadline == clock.now + timedelta(hours=1)


@pytest.mark.parametrize("deadline", ["soon", "", "-5min", "11y", "1e3s", float("nan"), -1, 10**12])
def test_what_is_no_deadline_is_refused(edges: list[Ledger], deadline: str | float) -> None:
    """Words, negative and absurd durations are refused at the edge."""
    for books in edges:
        with pytest.raises(InvalidDuration):
            books.reserve("acme", "0.1", deadline=deadline)


def test_a_past_naive_or_distant_moment_is_no_deadline(ledger: Ledger, clock: ManualClock) -> None:
    """A deadline lies ahead, within 64 bits of nanoseconds, and has a time zone."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    naive = clock.now.replace(tzinfo=None) + TEN
    for deadline in (clock.now, clock.now - TEN, naive, clock.now.replace(year=2500)):
        with pytest.raises(InvalidDuration):
            ledger.reserve("acme", "0.1", deadline=deadline)
    assert ledger.holds(state=None) == []
