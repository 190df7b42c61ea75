"""Extending an open reservation: more on all its accounts, or on none."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from earmark.clock import END_OF_TIME, to_datetime
from earmark.errors import (
    BudgetExceeded,
    InputError,
    InvalidDuration,
    InvalidUsage,
    KeyReused,
    Reason,
    ReservationClosed,
)
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Accepted, Amounts, Extend, Refused, Reserve
from earmark.money import Money
from earmark.testing import ManualClock
from support.ledger_books import standing


@pytest.fixture
def half(ledger: Ledger) -> Ledger:
    """Books with 0.50 of 1.00 held as `call`."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.set_budget("acme/agent", limits=["0.80 usd per day"])
    ledger.reserve("acme/agent", "0.50", key="call")
    return ledger


def test_an_extension_grows_the_hold(half: Ledger) -> None:
    """The hold grows on every budget above, up to the last nano-dollar."""
    assert half.extend("call", "0.30").amount == Money("0.80")
    assert standing(half, "acme") == ("1", "0", "0.8", "0.2")
    assert standing(half, "acme/agent") == ("0.8", "0", "0.8", "0")
    assert half.reservation("call").amount == Money("0.80")


def test_an_extension_that_does_not_fit_changes_nothing(half: Ledger) -> None:
    """A refused extension leaves the reservation open with the hold it had."""
    with pytest.raises(BudgetExceeded) as refused:
        half.extend("call", "0.31")
    assert (refused.value.reason, refused.value.budget) == (Reason.TOO_LARGE, "acme/agent")
    assert (half.reservation("call").amount, half.reservation("call").state) == (
        Money("0.50"), "open",
    )  # fmt: skip
    assert standing(half, "acme") == ("1", "0", "0.5", "0.5")


@pytest.mark.parametrize(
    ("spent", "others", "reason", "next_step"),
    [
        ("0.20", "0", Reason.EXHAUSTED, "the rest is spent: end it here"),
        ("0.10", "0.10", Reason.HELD, "others hold the rest: end it here"),
        ("0", "0.20", Reason.HELD, "others hold the rest: end it here"),
    ],
)
def test_a_hold_does_not_wait_for_itself(
    half: Ledger, spent: str, others: str, reason: Reason, next_step: str
) -> None:
    """What it holds comes back only with its end: only others' holds are worth waiting for."""
    half.settle(half.reserve("acme/agent", spent, key="before").key, spent)
    half.reserve("acme/agent", others, key="others")
    with pytest.raises(BudgetExceeded, match=next_step) as refused:
        half.extend("call", "0.15")
    error = refused.value
    assert (error.reason, error.retryable) == (reason, reason is Reason.HELD)
    assert (error.requested, error.hold) == (Money("0.15"), Money("0.50"))
    assert (error.settled, error.held) == (Money(spent), Money("0.50") + Money(others))


def test_a_limit_that_was_set_since_holds_nothing_of_what_grows(half: Ledger) -> None:
    """A hold counts on it by what it adds, so that the first extension has nothing to wait for."""
    half.set_budget("acme/agent", limits=["0.80 usd per day", "0.10 usd per hour"])
    half.extend("call", "0.06")
    with pytest.raises(BudgetExceeded) as refused:
        half.extend("call", "0.05")
    assert (refused.value.reason, refused.value.hold) == (Reason.TOO_LARGE, Money("0.06"))


def test_the_whole_hold_is_settled_after_extensions(half: Ledger) -> None:
    """Presumed after two extensions: all of it counts as spent."""
    half.extend("call", "0.10")
    half.extend("call", "0.15")
    assert half.presume("call").settled == Money("0.75")
    assert standing(half, "acme") == ("1", "0.75", "0", "0.25")


@pytest.mark.parametrize("nothing", [{}, {"amount": 0}, {"units": {"tokens": 0, "calls": 0}}])
def test_an_extension_of_nothing_is_refused(half: Ledger, nothing: dict[str, Any]) -> None:
    """Without an amount or a deadline there is nothing to do: no entry says that it was done."""
    before = half.entries()
    with pytest.raises(InvalidUsage, match="give an amount to add, or a deadline"):
        half.extend("call", **nothing)
    with pytest.raises(InvalidUsage):
        asyncio.run(half.as_async().extend("call", **nothing))
    assert half.entries() == before


def test_a_repeated_extension_counts_once(half: Ledger) -> None:
    """An extension under a key of its own is done once; other content under it is refused."""
    half.extend("call", "0.10", operation="more")
    assert half.extend("call", "0.10", operation="more").amount == Money("0.60")
    with pytest.raises(KeyReused, match="more"):
        half.extend("call", "0.20", operation="more")
    assert standing(half, "acme") == ("1", "0", "0.6", "0.4")


def test_a_repeat_is_answered_after_the_close(half: Ledger) -> None:
    """A late repeat of an accepted extension is no new extension of what is closed."""
    half.extend("call", "0.10", operation="more")
    half.settle("call", "0.55")
    assert half.extend("call", "0.10", operation="more").state == "settled"
    with pytest.raises(ReservationClosed):
        half.extend("call", "0.10", operation="other")


def test_a_refused_extension_may_be_asked_again(half: Ledger) -> None:
    """A refusal is not stored: the same extension fits once there is room."""
    half.reserve("acme", "0.50", key="beside")
    with pytest.raises(BudgetExceeded):
        half.extend("call", "0.10", operation="more")
    half.release("beside")
    assert half.extend("call", "0.10", operation="more").amount == Money("0.60")


def test_a_reservation_repeated_after_an_extension_is_the_same(half: Ledger) -> None:
    """Repeating the reserve of an extended reservation compares with what was asked first."""
    half.extend("call", "0.10")
    again = half.reserve("acme/agent", "0.50", key="call")
    assert (again.key, again.seq) == ("call", half.reservation("call").seq)
    with pytest.raises(KeyReused):
        half.reserve("acme/agent", "0.60", key="call")


def test_a_pause_refuses_extensions(half: Ledger) -> None:
    """While a budget above is paused, nothing in flight grows."""
    half.pause("acme", actor="Ada", reason="stop")
    with pytest.raises(BudgetExceeded) as refused:
        half.extend("call", "0.01")
    assert refused.value.reason is Reason.PAUSED
    half.settle("call", "0.4")


def test_an_extension_belongs_to_its_reservations_interval(
    half: Ledger, clock: ManualClock
) -> None:
    """After midnight an extension is held on the day the reservation was opened."""
    half.reserve("acme/agent", "0.20", key="late", deadline="2d")
    clock.advance(timedelta(hours=13))
    with pytest.raises(BudgetExceeded):
        half.extend("late", "0.20")
    half.extend("late", "0.10")
    assert standing(half, "acme") == ("1", "0", "0", "1")


# Deadlines ----------------------------------------------------------------------------------------


@pytest.fixture
def timed(half: Ledger) -> Ledger:
    """The same books, where another 0.10 are held as `short` for ten minutes."""
    half.reserve("acme/agent", "0.10", key="short", deadline="10min")
    return half


def test_hold_and_deadline_move_in_one_operation(timed: Ledger, clock: ManualClock) -> None:
    """One entry says both; at the new deadline, and not before, the grown hold is presumed."""
    clock.advance(timedelta(minutes=8))
    grown = timed.extend("short", "0.05", deadline="10min")
    assert (grown.amount, grown.deadline) == (Money("0.15"), clock.now + timedelta(minutes=10))
    last = timed.entries(key="short")[-1]
    assert (last.kind, last.amounts.usd, last.expires) == ("extend", 50_000_000, grown.expires)
    clock.advance(timedelta(minutes=10) - timedelta(microseconds=1))
    assert timed.reservation("short").state == "open"
    clock.advance(timedelta(microseconds=1))
    assert timed.reservation("short").settled == Money("0.15")


def test_a_deadline_moves_later_and_never_earlier(timed: Ledger, clock: ManualClock) -> None:
    """A shorter time from now, or a moment before it, leaves it where it is."""
    first = timed.reservation("short").deadline
    assert timed.extend("short", deadline="5min").deadline == first
    assert timed.extend("short", deadline=clock.now + timedelta(minutes=1)).deadline == first
    later = first + timedelta(minutes=1)
    assert timed.extend("short", deadline=later).deadline == later
    assert timed.reservation("short").amount == Money("0.1")


def test_without_room_for_more_there_is_no_more_time_either(timed: Ledger) -> None:
    """Amount and deadline are one operation: refused, neither moves."""
    first = timed.reservation("short")
    with pytest.raises(BudgetExceeded):
        timed.extend("short", "0.50", deadline="1h")
    assert timed.reservation("short") == first


def test_time_alone_needs_no_room(timed: Ledger) -> None:
    """A running call gets it on a paused budget, above its limit, with tokens nobody counted."""
    timed.settle("call", "3")
    timed.set_budget("acme", limits=["1 usd per day", "5 tokens per day"])
    timed.pause("acme")
    before = timed.reservation("short")
    after = timed.extend("short", deadline="1h")
    assert after.deadline > before.deadline
    assert (after.hold, after.accounts) == (before.hold, before.accounts)
    with pytest.raises(BudgetExceeded):
        timed.extend("short", "0.01", deadline="2h")


@pytest.mark.parametrize("close", ["settle", "release", "presume", "late"])
def test_what_is_closed_gets_no_more_time(timed: Ledger, clock: ManualClock, close: str) -> None:
    """Settled, released, presumed, or past its deadline and not presumed yet."""
    closes = {
        "settle": lambda: timed.settle("short", "0.01"),
        "release": lambda: timed.release("short"),
        "presume": lambda: timed.presume("short"),
        "late": lambda: clock.advance(timedelta(minutes=10)),
    }
    closes[close]()
    with pytest.raises(ReservationClosed):
        timed.extend("short", deadline="1h")


def test_of_many_that_are_due_none_comes_back_to_life(ledger: Ledger, clock: ManualClock) -> None:
    """Those that this commit does not get to presume are past their deadline all the same."""
    ledger.set_budget("acme", limits=["3000 usd per day"])
    keys = [f"k{number}" for number in range(2500)]
    holds = [Reserve(key, "acme", Amounts(1), 10**9) for key in keys]
    ledger.store.apply(holds, clock.instant())
    clock.advance(timedelta(seconds=1))
    asked = [Extend(key, Amounts(0, 0), f"more {key}", 10**12) for key in keys]
    answers = ledger.store.apply(asked, clock.instant())
    assert {answer.why for answer in answers if isinstance(answer, Refused)} == {"closed"}
    assert not any(isinstance(answer, Accepted) for answer in answers)


def test_a_repeated_move_is_made_once(timed: Ledger, clock: ManualClock) -> None:
    """The repeat of a request moves nothing on from where the first one moved it to."""
    first = timed.extend("short", "0.05", deadline="20min", operation="more")
    clock.advance(timedelta(minutes=1))
    again = timed.extend("short", "0.05", deadline="20min", operation="more")
    assert (again.deadline, again.repeated) == (first.deadline, True)


@pytest.mark.parametrize("deadline", ["soon", "-1s", timedelta(days=-1), 10**12])
def test_what_is_no_deadline_moves_none(edges: list[Ledger], deadline: str) -> None:
    """Words, the past and absurd durations are refused at the edge."""
    for books in edges:
        with pytest.raises(InvalidDuration):
            books.extend("short", deadline=deadline)


def test_a_deadline_after_the_end_of_time_is_not_moved_to(
    timed: Ledger, clock: ManualClock
) -> None:
    """Reckoned from the time of the books, which may be ahead of the clock."""
    clock.advance(timedelta(days=1))
    timed.reserve("acme", "0.1", key="ahead", deadline="2d")
    clock.set(clock.now - timedelta(days=1))
    with pytest.raises(InputError, match="2262"):
        timed.extend("ahead", deadline=to_datetime(END_OF_TIME - 10**9))
