"""Extending an open reservation: more on all its accounts, or on none."""

from datetime import timedelta

import pytest

from earmark.errors import BudgetExceeded, KeyReused, Reason, ReservationClosed
from earmark.ledger.ledger import Ledger
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
    assert (refused.value.reason, refused.value.budget) == (Reason.HELD, "acme/agent")
    assert (half.reservation("call").amount, half.reservation("call").state) == (
        Money("0.50"), "open",
    )  # fmt: skip
    assert standing(half, "acme") == ("1", "0", "0.5", "0.5")


def test_the_whole_hold_is_settled_after_extensions(half: Ledger) -> None:
    """Presumed after two extensions: all of it counts as spent."""
    half.extend("call", "0.10")
    half.extend("call", "0.15")
    assert half.presume("call").settled == Money("0.75")
    assert standing(half, "acme") == ("1", "0.75", "0", "0.25")


def test_an_extension_of_nothing_keeps_the_books_true(half: Ledger) -> None:
    """Extending by zero is accepted, and what follows still adds up."""
    half.extend("call", 0)
    assert half.audit().problems == ()
    half.settle("call", "0.2")


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
