"""Other units than dollars: calls are counted by themselves, tokens by whoever spends them."""

import re

import pytest

from earmark.errors import BudgetExceeded, FloatAmount, InvalidAmount, InvalidLimit, Reason
from earmark.ledger.ledger import Ledger
from support.ledger_books import standing


def test_a_reservation_is_one_call(ledger: Ledger) -> None:
    """A limit of three calls admits three reservations, whatever they cost."""
    ledger.set_budget("acme", limits=["3 calls per 30min"])
    for _ in range(3):
        ledger.reserve("acme")
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("acme")
    error = refused.value
    assert (error.reason, error.unit, error.limit, error.requested) == (Reason.HELD, "calls", 3, 1)


def test_a_settled_call_stays_counted(ledger: Ledger) -> None:
    """Settling to no cost keeps the call; releasing gives it back."""
    ledger.set_budget("acme", limits=["2 calls per hour"])
    ledger.reserve("acme", key="a")
    ledger.reserve("acme", key="b")
    ledger.settle("a", 0)
    ledger.release("b")
    assert standing(ledger, "acme", "calls") == ("2", "1", "0", "1")


def test_several_calls_in_one_reservation(ledger: Ledger) -> None:
    """The caller may count calls itself, on both sides."""
    ledger.set_budget("acme", limits=["10 calls per hour"])
    ledger.reserve("acme", units={"calls": 7}, key="a")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", units={"calls": 4})
    ledger.settle("a", 0, units={"calls": 5})
    assert standing(ledger, "acme", "calls") == ("10", "5", "0", "5")


def test_tokens_are_held_and_settled(ledger: Ledger) -> None:
    """Named tokens are held, extended and replaced by what was used."""
    ledger.set_budget("acme", limits=["5000 tokens per hour", "1 usd per day"])
    ledger.reserve("acme", "0.1", units={"tokens": 1200}, key="a")
    ledger.extend("a", 0, units={"tokens": 800})
    assert standing(ledger, "acme", "tokens") == ("5000", "0", "2000", "3000")
    ledger.settle("a", "0.05", units={"tokens": 1500})
    assert standing(ledger, "acme", "tokens") == ("5000", "1500", "0", "3500")


def test_tokens_not_told_at_the_end_are_those_held(ledger: Ledger) -> None:
    """Settling dollars alone counts the held tokens as used: unknown is spent."""
    ledger.set_budget("acme", limits=["5000 tokens per hour"])
    ledger.reserve("acme", units={"tokens": 1200}, key="a")
    ledger.settle("a", "0.05")
    assert standing(ledger, "acme", "tokens") == ("5000", "1200", "0", "3800")


def test_an_extension_without_tokens_holds_no_more_of_them(ledger: Ledger) -> None:
    """Extending by dollars where tokens are limited needs the tokens told too."""
    ledger.set_budget("acme", limits=["5000 tokens per hour"])
    ledger.reserve("acme", units={"tokens": 1200}, key="a")
    with pytest.raises(BudgetExceeded) as refused:
        ledger.extend("a", "0.05")
    assert refused.value.reason is Reason.UNPRICED
    says = "limits tokens .* an amount in USD says nothing of them: give .*units={'tokens': n}"
    assert re.search(says, str(refused.value))
    assert standing(ledger, "acme", "tokens") == ("5000", "0", "1200", "3800")


def test_tokens_may_overrun(ledger: Ledger) -> None:
    """More tokens than held are booked in full, and reservations wait until it fits."""
    ledger.set_budget("acme", limits=["1000 tokens per hour"])
    ledger.reserve("acme", units={"tokens": 900}, key="a")
    ledger.settle("a", 0, units={"tokens": 1100})
    assert standing(ledger, "acme", "tokens") == ("1000", "1100", "0", "-100")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", units={"tokens": 0})


def test_a_second_unit_refuses_for_both(ledger: Ledger) -> None:
    """Where the calls are used up, no dollars are held either."""
    ledger.set_budget("acme", limits=["1 usd per day", "1 calls per day"])
    ledger.reserve("acme", "0.1")
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("acme", "0.1")
    assert refused.value.unit == "calls"
    assert standing(ledger, "acme") == ("1", "0", "0.1", "0.9")


def test_units_nobody_limits_may_be_told(ledger: Ledger) -> None:
    """Telling tokens where no limit counts them is kept with the reservation."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.1", units={"tokens": 7}, key="a")
    assert ledger.reservation("a").hold.tokens == 7


@pytest.mark.parametrize(
    ("units", "error"),
    [
        ({"minutes": 3}, InvalidLimit),
        ({"usd": 1}, InvalidAmount),
        ({"tokens": -1}, InvalidAmount),
        ({"tokens": 1.0}, FloatAmount),
        ({"tokens": True}, FloatAmount),
        ({"tokens": 2**53}, InvalidAmount),
        ({"calls": "many"}, InvalidAmount),
        ({"tokens": "1"}, InvalidAmount),
        ({"calls": "1"}, InvalidAmount),
    ],
)
def test_what_is_no_count_is_refused(
    edges: list[Ledger], units: dict[str, int], error: type[Exception]
) -> None:
    """An unknown unit, a negative, broken or absurd count is refused at the edge."""
    for books in edges:
        with pytest.raises(error):
            books.reserve("acme", "0.1", units=units)
