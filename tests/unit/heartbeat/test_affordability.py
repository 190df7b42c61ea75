"""What a dispatch could pay for, before it is made: as the rules of the ledger compare."""

import pytest

from earmark.errors import Reason
from earmark.heartbeat.affordability import Need, obstacle
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock


@pytest.mark.parametrize(
    ("need", "reason"),
    [
        (Need(usd=600_000_000, calls=1), None),
        (Need(usd=600_000_001, calls=1), Reason.HELD),
        (Need(usd=900_000_001, calls=1), Reason.EXHAUSTED),
        (Need(usd=1_000_000_001, calls=1), Reason.TOO_LARGE),
        (Need(usd=0, calls=0), None),
    ],
)
def test_what_fits_to_the_last_nano_dollar_fits(need: Need, reason: Reason | None) -> None:
    """Of 1 USD with 0.1 spent and 0.3 held; beyond what is left, why it does not."""
    clock = ManualClock()
    with open_ledger("memory:", clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day", "9 calls per day"])
        ledger.settle(ledger.reserve("acme", "0.1").key, "0.1")
        ledger.reserve("acme", "0.3")
        found = obstacle(ledger.store.accounts("acme", clock.instant()), need)
        assert (found.refusal.reason if found else None) == reason
