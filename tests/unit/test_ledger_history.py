"""The check of histories finds what it is there to find."""

import pytest
from msgspec.structs import replace

from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Accepted, Amounts, Operation, Refused, Release, Reserve, Settle
from earmark.stores.open import open_ledger
from support.ledger_history import NEVER, Record, check_history, place

HOUR = 3600 * 10**9
ASKED: list[Operation] = [
    Reserve("k1", "acme", Amounts(6), HOUR),
    Reserve("k2", "acme", Amounts(5), HOUR),
    Settle("k1", Amounts(2)),
    Reserve("k2", "acme", Amounts(5), HOUR),
    Release("k2"),
]


@pytest.fixture
def ledger() -> Ledger:
    """Books with ten nano-dollars for `acme`."""
    made = open_ledger("memory:")
    made.set_budget("acme", limits=["0.00000001 usd total"])
    return made


@pytest.fixture
def history(ledger: Ledger) -> list[Record]:
    """What one client asked and was told, one question after the other."""
    return [
        Record(10 * number, 10 * number + 5, operation, ledger.committer.submit(operation))
        for number, operation in enumerate(ASKED, start=1)
    ]


def test_what_happened_is_right(ledger: Ledger, history: list[Record]) -> None:
    """A true history passes, whatever of it nobody was told."""
    check_history(ledger, history)
    for number, record in enumerate(history):
        untold = record._replace(answered=NEVER, decision=None)
        check_history(ledger, [*history[:number], untold, *history[number + 1 :]])


def test_a_lost_acknowledgement_is_found(ledger: Ledger, history: list[Record]) -> None:
    """What a client was told is done, and the books do not have, is found."""
    with pytest.raises(AssertionError, match="an acknowledged entry is lost"):
        place(ledger.entries()[:-1], history)


def test_what_nobody_asked_for_is_found(ledger: Ledger, history: list[Record]) -> None:
    """What the books have, and nobody asked for or asked for once only, is found."""
    with pytest.raises(AssertionError, match="nobody asked for"):
        check_history(ledger, history[:-1])


def test_an_order_against_time_is_found(ledger: Ledger, history: list[Record]) -> None:
    """What was answered before something was asked cannot come after it in the books."""
    first = history[0]._replace(invoked=100, answered=105)
    with pytest.raises(AssertionError, match="was decided on an older state"):
        check_history(ledger, [first, *history[1:]])


def test_an_answer_against_the_rules_is_found(ledger: Ledger, history: list[Record]) -> None:
    """A refusal that was none, or an amount that was another, is found."""
    refused, settled = history[1], history[2]
    assert isinstance(refused.decision, Refused)
    assert isinstance(settled.decision, Accepted)
    smaller = refused._replace(operation=Reserve("k2", "acme", Amounts(4), HOUR))
    with pytest.raises(AssertionError):
        check_history(ledger, [history[0], smaller, *history[2:]])
    assert settled.decision.reservation is not None
    row = replace(settled.decision.reservation, actual=Amounts(1))
    other = settled._replace(decision=replace(settled.decision, reservation=row))
    with pytest.raises(AssertionError):
        check_history(ledger, [*history[:2], other, *history[3:]])
