"""Refusals: each says why, on which budget, with which numbers, and when it may fit."""

from datetime import UTC, datetime

import pytest

from earmark.errors import BudgetExceeded, Reason
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from support.ledger_books import standing

TOMORROW = datetime(2026, 11, 23, tzinfo=UTC)


def refusal(ledger: Ledger, path: str, amount: str) -> BudgetExceeded:
    """Return the refusal of a reservation that must be refused."""
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve(path, amount)
    return refused.value


def test_more_than_the_whole_limit_never_fits(ledger: Ledger) -> None:
    """`too_large`: above the limit itself, so waiting is pointless."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    error = refusal(ledger, "acme", "1.000000001")
    assert (error.reason, error.retryable) == (Reason.TOO_LARGE, False)


def test_what_is_in_flight_may_come_back(ledger: Ledger) -> None:
    """`held`: it would fit if what is in flight came back; asking again may succeed."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.6", key="a")
    error = refusal(ledger, "acme", "0.5")
    assert (error.reason, error.retryable) == (Reason.HELD, True)
    ledger.release("a")
    ledger.reserve("acme", "0.5")


def test_what_is_spent_comes_back_with_the_next_window(ledger: Ledger) -> None:
    """`exhausted`: what is settled leaves too little until the window ends."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.6", key="a")
    ledger.settle("a", "0.6")
    error = refusal(ledger, "acme", "0.5")
    assert (error.reason, error.retryable, error.resets_at) == (Reason.EXHAUSTED, False, TOMORROW)


def test_the_refusal_carries_all_numbers(ledger: Ledger) -> None:
    """A refusal names the budget, the limit, what is settled, held, available and asked for."""
    ledger.set_budget("acme", limits=["10.50 usd per day"])
    ledger.reserve("acme", 4, key="a")
    ledger.settle("a", "3.25")
    ledger.reserve("acme", 6)
    error = refusal(ledger, "acme/agent", "1.26")
    assert (error.budget, error.unit, error.window) == ("acme", "usd", "per day")
    numbers = (error.limit, error.settled, error.held, error.available, error.requested)
    assert numbers == tuple(map(Money, ("10.50", "3.25", "6", "1.25", "1.26")))
    assert error.resets_at == TOMORROW
    for text in ("acme", "10.5", "3.25", "6 held", "1.25", "1.26", "2026-11-23T00:00:00Z"):
        assert text in str(error)


def test_a_total_never_resets(ledger: Ledger) -> None:
    """A limit for ever has no end to wait for."""
    ledger.set_budget("acme", limits=["1 usd total"])
    ledger.reserve("acme", 1, key="a")
    ledger.settle("a", 1)
    error = refusal(ledger, "acme", "0.5")
    assert (error.window, error.resets_at, error.reason) == ("total", None, Reason.EXHAUSTED)


def test_the_most_lasting_reason_is_given(ledger: Ledger) -> None:
    """Of `held` here and `exhausted` or `too_large` there, the one that lasts longest is told."""
    ledger.set_budget("a", limits=["5 usd per day"])
    ledger.set_budget("a/b", limits=["4 usd per hour"])
    ledger.set_budget("a/b/c", limits=["3 usd per hour"])
    ledger.reserve("a", "1.5", key="spent")
    ledger.settle("spent", "1.5")
    ledger.reserve("a/b/c", 2)
    assert refusal(ledger, "a/b/c", "1.6").budget == "a/b/c"
    assert refusal(ledger, "a/b/c", "1.6").reason is Reason.HELD
    error = refusal(ledger, "a/b", "3.6")
    assert (error.reason, error.budget) == (Reason.EXHAUSTED, "a")
    error = refusal(ledger, "a/b/c", "3.6")
    assert (error.reason, error.budget) == (Reason.TOO_LARGE, "a/b/c")


def test_of_equal_reasons_the_nearest_budget_is_named(ledger: Ledger) -> None:
    """Where two budgets refuse for the same reason, the one nearest the spender is named."""
    ledger.set_budget("a", limits=["1 usd per day"])
    ledger.set_budget("a/b", limits=["1 usd per day"])
    assert refusal(ledger, "a/b", "2").budget == "a/b"


def test_an_uncounted_unit_is_unpriced(ledger: Ledger) -> None:
    """`unpriced`: a path that limits tokens refuses a reservation that does not count them."""
    ledger.set_budget("acme", limits=["1 usd per day", "100 tokens per day"])
    error = refusal(ledger, "acme", "0.1")
    assert (error.reason, error.unit, error.retryable) == (Reason.UNPRICED, "tokens", False)


def test_a_pause_outranks_the_numbers(ledger: Ledger) -> None:
    """A paused budget refuses as paused, by whom and why, whatever else is in the way."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.pause("acme", actor="Ada", reason="provider incident", until=TOMORROW)
    error = refusal(ledger, "acme/agent", "0.5")
    assert (error.reason, error.budget, error.resets_at) == (Reason.PAUSED, "acme", TOMORROW)
    assert error.requested == Money("0.5")
    for text in ("Ada", "provider incident", "2026-11-23T00:00:00Z"):
        assert text in str(error)


def test_a_refusal_leaves_no_trace(ledger: Ledger) -> None:
    """A refused request is not in the books, and its key is free."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    before = ledger.entries()
    for _ in range(3):
        with pytest.raises(BudgetExceeded):
            ledger.reserve("acme", 2, key="wish")
    assert ledger.entries() == before
    assert standing(ledger, "acme") == ("1", "0", "0", "1")
    assert str(ledger.reserve("acme", 1, key="wish").amount) == "1"


def test_a_doomed_request_does_not_stand_in_the_way(ledger: Ledger) -> None:
    """Requests that can never fit, between ones that do, refuse nobody else."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    for _ in range(10):
        refusal(ledger, "acme", "50")
        ledger.reserve("acme", "0.1")
    assert standing(ledger, "acme") == ("1", "0", "1", "0")
