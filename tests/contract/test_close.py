"""Closing a reservation: settle by what it cost, release it, or presume the whole hold."""

import pytest

from earmark.errors import BudgetExceeded, KeyReused, NotFound, Reason, ReservationClosed
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from support.ledger_books import only, standing


def opened(ledger: Ledger, amount: str = "1.00") -> None:
    """Reserve *amount* of 10.50 as `call` under two budgets."""
    ledger.set_budget("acme", limits=["10.50 usd per day"])
    ledger.set_budget("acme/agent", limits=["5 usd total"])
    ledger.reserve("acme/agent", amount, key="call")


def test_a_settlement_replaces_the_hold(ledger: Ledger) -> None:
    """The actual cost is spent, the rest of the hold is free again, on every budget above."""
    opened(ledger)
    done = ledger.settle("call", "0.42")
    assert (done.state, done.settled, done.overrun) == ("settled", Money("0.42"), Money())
    assert standing(ledger, "acme") == ("10.5", "0.42", "0", "10.08")
    assert standing(ledger, "acme/agent") == ("5", "0.42", "0", "4.58")


def test_a_settlement_of_nothing_frees_everything(ledger: Ledger) -> None:
    """A call that turned out free leaves nothing settled."""
    opened(ledger)
    assert ledger.settle("call", 0).settled == Money()
    assert standing(ledger, "acme") == ("10.5", "0", "0", "10.5")


def test_a_release_gives_all_of_it_back(ledger: Ledger) -> None:
    """Released: nothing was spent, nothing is held."""
    opened(ledger)
    assert ledger.release("call").state == "released"
    assert standing(ledger, "acme") == ("10.5", "0", "0", "10.5")


def test_an_unknown_outcome_counts_as_spent(ledger: Ledger) -> None:
    """Presumed: the whole hold is settled until somebody knows better."""
    opened(ledger)
    done = ledger.presume("call")
    assert (done.state, done.settled) == ("presumed", Money(1))
    assert standing(ledger, "acme") == ("10.5", "1", "0", "9.5")


@pytest.mark.parametrize("actual", ["0", "0.3", "1", "1.7"])
def test_the_truth_corrects_a_presumption(ledger: Ledger, actual: str) -> None:
    """A later settlement replaces the presumed amount, downwards and upwards."""
    opened(ledger)
    ledger.presume("call")
    done = ledger.settle("call", actual)
    assert (done.state, done.settled) == ("settled", Money(actual))
    assert only(ledger, "acme").settled == Money(actual)
    assert str(only(ledger, "acme").held) == "0"


def test_a_presumption_can_be_released(ledger: Ledger) -> None:
    """If the call turns out never to have been made, its presumed cost comes back."""
    opened(ledger)
    ledger.presume("call")
    assert ledger.release("call").state == "released"
    assert standing(ledger, "acme") == ("10.5", "0", "0", "10.5")


def test_an_overrun_is_booked_in_full(ledger: Ledger) -> None:
    """What was billed above the hold is spent and reported, also beyond the limit."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.50", key="call")
    done = ledger.settle("call", "1.75")
    assert (done.settled, done.overrun) == (Money("1.75"), Money("1.25"))
    assert standing(ledger, "acme") == ("1", "1.75", "0", "-0.75")
    assert "acme" in ledger.audit().over[0]


def test_after_an_overrun_everything_waits_until_it_fits(ledger: Ledger) -> None:
    """While the books are above the limit, every reservation is refused, even one of nothing."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.50", key="call")
    ledger.settle("call", "1.75")
    for amount in ("0", "0.000000001", "1"):
        with pytest.raises(BudgetExceeded) as refused:
            ledger.reserve("acme", amount)
        assert refused.value.reason is Reason.EXHAUSTED
        assert refused.value.available == Money.nanos(-750_000_000)
    ledger.set_budget("acme", limits=["2 usd per day"])
    ledger.reserve("acme", "0.25")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.01")


@pytest.mark.parametrize("act", ["settle", "release", "presume"])
def test_closing_twice_gives_the_first_answer(ledger: Ledger, act: str) -> None:
    """The same close again answers the same and changes nothing."""
    opened(ledger)
    arguments = ("call", "0.42") if act == "settle" else ("call",)
    first = getattr(ledger, act)(*arguments)
    entries = len(ledger.entries())
    assert getattr(ledger, act)(*arguments) == first
    assert len(ledger.entries()) == entries


def test_a_settlement_to_another_amount_is_refused(ledger: Ledger) -> None:
    """What was settled stays; a second, other amount names both."""
    opened(ledger)
    ledger.settle("call", "0.42")
    with pytest.raises(KeyReused, match=r"0\.42.*0\.43"):
        ledger.settle("call", "0.43")
    assert str(only(ledger, "acme").settled) == "0.42"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("settle", "release"),
        ("settle", "presume"),
        ("settle", "extend"),
        ("release", "settle"),
        ("release", "presume"),
        ("release", "extend"),
        ("presume", "extend"),
    ],
)
def test_what_is_closed_stays_closed(ledger: Ledger, first: str, then: str) -> None:
    """A closed reservation refuses any other close, and says what became of it."""
    opened(ledger)
    state = {"settle": "settled", "release": "released", "presume": "presumed"}[first]
    getattr(ledger, first)(*(("call", "0.1") if first == "settle" else ("call",)))
    before = standing(ledger, "acme")
    arguments = ("call", "0.1") if then in {"settle", "extend"} else ("call",)
    with pytest.raises(ReservationClosed, match=f"already {state}"):
        getattr(ledger, then)(*arguments)
    assert standing(ledger, "acme") == before


@pytest.mark.parametrize("act", ["settle", "release", "presume", "extend", "reservation"])
def test_an_unknown_key_is_not_found(ledger: Ledger, act: str) -> None:
    """Nothing can be done to a reservation that was never opened."""
    arguments = ("nobody", "1") if act in {"settle", "extend"} else ("nobody",)
    with pytest.raises(NotFound, match="nobody"):
        getattr(ledger, act)(*arguments)
