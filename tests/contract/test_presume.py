"""What nobody knows the cost of: its hold counts, or what is known if that is more."""

from datetime import timedelta
from itertools import permutations

import pytest

from earmark.errors import InputError, ReservationClosed
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import AS_HELD, Amounts, Presume, Refused, Reserve
from earmark.money import LARGEST_NANOS, Money
from earmark.testing import ManualClock
from support.ledger_books import standing


@pytest.fixture
def held(ledger: Ledger) -> Ledger:
    """Books with 0.50 of 1.00 held as `call` for ten minutes."""
    ledger.set_budget("acme", limits=["1 usd per day", "5000 tokens per day"], alerts=[0.8, 1.0])
    ledger.reserve("acme", "0.50", key="call", units={"tokens": 1000}, deadline="10min")
    return ledger


def test_a_known_cost_above_the_hold_is_counted_in_full(held: Ledger) -> None:
    """It is an overrun like any other: nothing is cut down to the hold, and alerts are told."""
    found = held.presume("call", known="1.30")
    assert (found.state, found.settled, found.overrun) == ("presumed", Money("1.3"), Money("0.8"))
    assert standing(held, "acme") == ("1", "1.3", "0", "-0.3")
    assert [(alert.threshold, alert.settled) for alert in held.alerts()] == [
        (800_000, 1_300_000_000),
        (1_000_000, 1_300_000_000),
    ]
    assert held.audit().unresolved == 1


def test_a_known_cost_within_the_hold_leaves_the_hold_to_count(held: Ledger) -> None:
    """Each unit by itself: what is known of one says nothing of the others."""
    found = held.presume("call", known="0.10", units={"tokens": 1500})
    assert found.actual == Amounts(500_000_000, 1, 1500)
    tokens = held.balances("acme")[1]
    assert (tokens.settled, tokens.held, tokens.available) == (1500, 0, 3500)


def test_the_largest_counts_in_whatever_order_it_comes(ledger: Ledger, clock: ManualClock) -> None:
    """A deadline that passes, an unknown outcome and known costs come to the same."""
    for number, order in enumerate(permutations(["deadline", "0.63", "0.55", None])):
        budget, call = f"acme-{number}", f"call {number}"
        ledger.set_budget(budget, limits=["1 usd total"])
        ledger.reserve(budget, "0.50", key=call, deadline="10min")
        for each in order:
            if each == "deadline":
                clock.advance(timedelta(minutes=11))
                ledger.sweep()
            else:
                ledger.presume(call, known=each)
        assert ledger.reservation(call).settled == Money("0.63"), order
        assert standing(ledger, budget) == ("1", "0.63", "0", "0.37"), order


def test_what_raises_nothing_is_a_repeat(held: Ledger) -> None:
    """It makes no entry, and its answer says that it was done before."""
    assert not held.presume("call", known="0.63").repeated
    again = [held.presume("call", known=each) for each in ("0.63", "0.60", None)]
    assert [each.repeated for each in again] == [True] * 3
    assert not held.presume("call", known="0.64").repeated
    assert [(e.kind, e.amounts.usd) for e in held.entries(key="call")] == [
        ("reserve", 500_000_000),
        ("presume", 630_000_000),
        ("presume", 640_000_000),
    ]


@pytest.mark.parametrize(("truth", "settled"), [("0.42", "0.42"), ("0.99", "0.99"), (None, "0")])
def test_the_truth_corrects_it_and_ends_it(held: Ledger, truth: str | None, settled: str) -> None:
    """Settled or released afterwards, in either direction, nothing is presumed of it again."""
    held.presume("call", known="0.63")
    if truth is None:
        held.release("call")
    else:
        held.settle("call", truth)
    assert standing(held, "acme")[1:3] == (settled, "0")
    with pytest.raises(ReservationClosed):
        held.presume("call", known="2")
    assert standing(held, "acme")[1:3] == (settled, "0")


def test_a_cost_that_cannot_be_counted_is_refused_alone(ledger: Ledger, clock: ManualClock) -> None:
    """Its hold still can be presumed spent, and so can those beside it."""
    ledger.set_budget("a", limits=["10 usd total"])
    now, most = clock.instant(), Amounts(LARGEST_NANOS, AS_HELD, None)
    opened = [Reserve(f"k{n}", "a", Amounts(0, 1, None), 10**12) for n in range(1025)]
    ledger.store.apply([*opened, Reserve("held", "a", Amounts(10**9, 1, None), 10**12)], now)
    asked = [*(Presume(op.key, known=most) for op in opened), Presume("k1023")]
    answers = ledger.store.apply(asked, now)
    assert [type(each) is Refused for each in answers] == [*[False] * 1023, True, True, False]
    with pytest.raises(InputError, match=r"can count up to 9223372036\.854775807"):
        ledger.presume("k1024", known=Money.nanos(LARGEST_NANOS))
    assert ledger.presume("held").settled == Money(1)
    assert ledger.presume("k1024").settled == Money(0)


@pytest.mark.parametrize("known", ["-1", "nan", "1e30", "9007199.254740992"])
def test_an_amount_that_is_none_is_refused(edges: list[Ledger], known: str) -> None:
    """As everywhere, before a store is asked."""
    for books in edges:
        with pytest.raises(InputError):
            books.presume("call", known=known)
        with pytest.raises(TypeError):
            books.presume("call", known=0.63)  # pyright: ignore[reportArgumentType] - tested
