"""A request that asks for more output than its budget pays for."""

from datetime import timedelta

import pytest

from earmark.admission.guard import Guard
from earmark.errors import BudgetExceeded, Reason
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.tickets import BODY

BOOK = PriceBook({"test/m": {"input_mtok": "3", "output_mtok": "15"}})
#: 0.06 USD of output.
LONG = {**BODY, "max_tokens": 4000}


def test_a_request_gets_the_most_that_fits_each_day() -> None:
    """And once that is spent it is refused until the day ends, as one that fitted that morning."""
    clock = ManualClock()
    with open_ledger("memory:", clock=clock) as ledger:
        ledger.set_budget("acme", limits=["0.05 usd per day"])
        guard = Guard(ledger, book=BOOK)
        for _ in range(2):
            ticket = guard.open("acme", LONG, provider="test", wait=None)
            limit = ticket.body["max_tokens"]
            assert limit == ticket.clamped_to
            assert Money("0.05") - Money("0.000015") < ticket.hold <= Money("0.05")
            ticket.presume()
            with pytest.raises(BudgetExceeded, match="it is spent") as refused:
                guard.open("acme", LONG, provider="test", wait=None)
            assert refused.value.reason is Reason.EXHAUSTED
            assert refused.value.resets_at is not None
            assert refused.value.requested < Money("0.05")
            clock.advance(timedelta(days=1))


def test_only_what_fits_no_empty_window_is_too_large() -> None:
    """Not even the shortest useful reply is paid for: waiting for the next day is no help."""
    with open_ledger("memory:", clock=ManualClock()) as ledger:
        ledger.set_budget("acme", limits=["0.0005 usd per day"])
        with pytest.raises(BudgetExceeded) as refused:
            Guard(ledger, book=BOOK).open("acme", LONG, provider="test", wait="48h")
        assert refused.value.reason is Reason.TOO_LARGE
        assert refused.value.requested > Money("0.0005")
