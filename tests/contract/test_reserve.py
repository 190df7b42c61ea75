"""Reserving: what fits is held on every account above the budget, what does not changes nothing."""

from datetime import timedelta
from decimal import Decimal

import pytest

from earmark.errors import BudgetExceeded, NoBudget, Reason
from earmark.ledger.ledger import Ledger
from earmark.money import LARGEST_NANOS, Money
from earmark.testing import ManualClock
from support.ledger_books import only, standing


def test_a_hold_stands_on_every_budget_above(ledger: Ledger) -> None:
    """A reservation deep in the tree is held on each limit on its path, and nowhere else."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    ledger.set_budget("acme/lab/agent", limits=["2 usd per hour", "5 usd total"])
    ledger.set_budget("acme/lab/other", limits=["1 usd per day"])
    ledger.reserve("acme/lab/agent", "0.75")
    assert standing(ledger, "acme") == ("10", "0", "0.75", "9.25")
    assert [str(b.held) for b in ledger.balances("acme/lab/agent")] == ["0.75", "0.75"]
    assert standing(ledger, "acme/lab/other") == ("1", "0", "0", "1")


def test_what_fits_exactly_is_admitted(ledger: Ledger) -> None:
    """The last nano-dollar of a limit can be reserved; one more cannot."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.999999999")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.000000002")
    ledger.reserve("acme", "0.000000001")
    assert standing(ledger, "acme") == ("1", "0", "1", "0")


def test_the_answer_says_what_was_reserved(ledger: Ledger, clock: ManualClock) -> None:
    """A reservation carries its key, budget, hold, moment, deadline and labels."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    hold = ledger.reserve("acme", "0.25", key="call-1", deadline="10min", labels={"run": "r1"})
    assert (hold.key, hold.budget, hold.amount, hold.state) == (
        "call-1", "acme", Money("0.25"), "open",
    )  # fmt: skip
    assert (hold.settled, hold.overrun) == (None, Money())
    assert hold.opened_at == clock.now
    assert hold.deadline == clock.now + timedelta(minutes=10)
    assert ledger.reservation("call-1") == hold


@pytest.mark.parametrize("amount", ["1.5", Decimal("1.50"), Money("1.5")])
def test_amounts_are_read_alike(ledger: Ledger, amount: Money | Decimal | str) -> None:
    """A decimal string, a Decimal and Money of the same amount hold the same."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    assert ledger.reserve("acme", amount).amount == Money("1.5")


def test_an_int_is_dollars(ledger: Ledger) -> None:
    """A whole number is an amount in US dollars."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    assert ledger.reserve("acme", 3).amount == Money("3")


def test_a_refusal_above_changes_nothing_below(ledger: Ledger) -> None:
    """If any budget on the path refuses, none of them holds anything."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.set_budget("acme/lab", limits=["5 usd per day"])
    ledger.set_budget("acme/lab/agent", limits=["5 usd per day"])
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("acme/lab/agent", "1.01", key="big")
    assert refused.value.budget == "acme"
    for path in ("acme", "acme/lab", "acme/lab/agent"):
        assert str(only(ledger, path).held) == "0"
    assert ledger.holds(state=None) == []


def test_a_refusal_below_changes_nothing_above(ledger: Ledger) -> None:
    """If the leaf refuses, the budgets above it hold nothing."""
    ledger.set_budget("acme", limits=["5 usd per day"])
    ledger.set_budget("acme/agent", limits=["1 usd per day"])
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("acme/agent", "1.01")
    assert refused.value.budget == "acme/agent"
    assert standing(ledger, "acme") == ("5", "0", "0", "5")


def test_a_path_sixteen_deep_is_charged_at_every_level(ledger: Ledger) -> None:
    """The deepest path there can be holds on all sixteen budgets."""
    paths = ["/".join(["n"] * depth) for depth in range(1, 17)]
    for path in paths:
        ledger.set_budget(path, limits=["1 usd total"])
    ledger.reserve(paths[-1], "0.4")
    assert {str(only(ledger, path).held) for path in paths} == {"0.4"}


def test_nothing_runs_without_a_limit(ledger: Ledger) -> None:
    """A path with no limit anywhere is refused and says how to set one."""
    ledger.set_budget("acme", limits=[])
    for path in ("acme", "acme/agent", "elsewhere"):
        with pytest.raises(NoBudget, match=path):
            ledger.reserve(path, "0.01")
    assert ledger.holds(state=None) == []


def test_a_limit_anywhere_above_is_enough(ledger: Ledger) -> None:
    """A path that nobody declared spends under the limit above it."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme/never/declared", "0.6")
    assert standing(ledger, "acme") == ("1", "0", "0.6", "0.4")


def test_names_that_begin_alike_are_not_related(ledger: Ledger) -> None:
    """`acme-2` and `acme.eu` are not below `acme`."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    for path in ("acme-2", "acme.eu", "acme2", "acm"):
        with pytest.raises(NoBudget):
            ledger.reserve(path, "0.01")


def test_a_limit_of_zero_refuses_what_costs(ledger: Ledger) -> None:
    """Under `0 usd` nothing that costs runs, and what costs nothing does."""
    ledger.set_budget("acme", limits=["0 usd per day"])
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("acme", "0.000000001")
    assert refused.value.reason is Reason.TOO_LARGE
    ledger.reserve("acme", 0)


def test_the_largest_amount_is_exact(ledger: Ledger) -> None:
    """The largest amount of one operation is held to the nano-dollar."""
    largest = Money.nanos(LARGEST_NANOS)
    ledger.set_budget("acme", limits=["4000000000 usd total"])
    ledger.reserve("acme", largest, key="big")
    ledger.settle("big", largest)
    assert only(ledger, "acme").settled == largest


def test_balances_of_a_tree_list_every_limit_below(ledger: Ledger) -> None:
    """A budget's tree lists each of its limits once, and no sibling's."""
    for path in ("acme", "acme/a", "acme/a/b", "acme-2", "acme.eu"):
        ledger.set_budget(path, limits=["1 usd per day"])
    assert [b.budget for b in ledger.balances("acme", tree=True)] == ["acme", "acme/a", "acme/a/b"]
