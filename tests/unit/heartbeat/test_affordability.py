"""What a dispatch could pay for, before it is made: as the ledger would decide it."""

import pytest

from earmark.errors import BudgetExceeded, Reason
from earmark.heartbeat.affordability import amounts_of_call, is_final, least_refusal, refusals
from earmark.ledger.values import Amounts
from earmark.money import Money
from earmark.pricing.bound import DeclaredBound
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock


@pytest.mark.parametrize(
    ("need", "reason"),
    [
        (Amounts(600_000_000), None),
        (Amounts(600_000_001), Reason.HELD),
        (Amounts(900_000_001), Reason.EXHAUSTED),
        (Amounts(1_000_000_001), Reason.TOO_LARGE),
        (Amounts(0, 0), None),
    ],
)
def test_what_fits_to_the_last_nano_dollar_fits(need: Amounts, reason: Reason | None) -> None:
    """Of 1 USD with 0.1 spent and 0.3 held; beyond what is left, why it does not."""
    clock = ManualClock()
    with open_ledger("memory:", clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day", "9 calls per day"])
        ledger.settle(ledger.reserve("acme", "0.1").key, "0.1")
        ledger.reserve("acme", "0.3")
        (found,) = refusals(ledger, clock, "acme", [need])
        assert (found.reason if isinstance(found, BudgetExceeded) else None) == reason


def test_a_call_that_counts_no_tokens_never_fits_where_they_are_limited() -> None:
    """Its dispatch would be refused for ever: unlike a limit of 0, which stops and fails nobody."""
    clock = ManualClock()
    with open_ledger("memory:", clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day", "100 tokens per day"])
        ledger.set_budget("acme/stopped", limits=["0 usd total"])
        need = amounts_of_call(DeclaredBound(Money("0.1")))
        (uncounted,) = refusals(ledger, clock, "acme", [need])
        (stopped,) = refusals(ledger, clock, "acme/stopped", [Amounts(1, tokens=1)])
        assert isinstance(uncounted, BudgetExceeded)
        assert isinstance(stopped, BudgetExceeded)
        assert (uncounted.reason, is_final(uncounted)) == (Reason.UNPRICED, True)
        assert (stopped.reason, is_final(stopped)) == (Reason.TOO_LARGE, False)
        assert least_refusal([(Amounts(9), stopped), (need, uncounted)]) is stopped
        assert least_refusal([(need, uncounted), (Amounts(9), None)]) is None
