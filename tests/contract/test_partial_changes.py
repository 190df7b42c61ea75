"""Changing a budget changes what is given and nothing else, whoever set the rest and when."""

import threading
from datetime import timedelta
from typing import Any, cast

import pytest

from earmark.budget.fields import GivenFields
from earmark.budget.settable import read_given
from earmark.errors import InvalidLimit
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.budget_fields import fields_of, given
from support.ledger_books import standing


def test_an_omitted_zone_gives_nothing_back(ledger: Ledger, clock: ManualClock) -> None:
    """In Berlin the day has turned at 23:00 UTC, in UTC it has not: it stays Berlin's day."""
    ledger.set_budget("acme", limits=["10 usd per day"], timezone="Europe/Berlin")
    clock.advance(timedelta(hours=11, minutes=30))
    ledger.settle(ledger.reserve("acme", 10).key, 10)
    ledger.set_budget("acme", limits=["10.00 usd per day"])
    ledger.set_budget("acme", limits=["11 usd per day"])
    assert standing(ledger, "acme") == ("11", "10", "0", "1")


def test_a_list_that_is_given_replaces_the_whole_list(ledger: Ledger) -> None:
    """Also an empty one: it takes all limits or all alerts away."""
    ledger.set_budget("acme", **given())
    assert ledger.set_budget("acme", limits=[]).limits == ()
    assert ledger.set_budget("acme", alerts=[]).alerts == ()


def test_changes_of_different_parts_at_once_are_all_kept(
    url: str, clock: ManualClock, request: pytest.FixtureRequest
) -> None:
    """Two callers that change different parts at the same time undo nothing of each other."""
    ledger = open_ledger(url, clock=clock)
    request.addfinalizer(ledger.close)
    full = fields_of(ledger.set_budget("acme", **given()))
    for turn in range(20):
        want: dict[str, Any] = {"limits": [f"{turn} usd per day"], "alerts": [(turn + 1) / 100]}
        start = threading.Barrier(len(want))

        def change(part: str, value: Any, start: threading.Barrier = start) -> None:
            start.wait()
            ledger.set_budget("acme", **{part: value})

        threads = [threading.Thread(target=change, args=each) for each in want.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (budget,) = ledger.budgets("acme")
        assert fields_of(budget) == full | read_given(cast("GivenFields", want))


@pytest.mark.parametrize(
    ("limits", "said"),
    [(["10 usd per day", "9 calls total"], "10 usd per day, 9 calls total"), ([], "it has none")],
)
@pytest.mark.parametrize("added", ["5 usd per week", "5 tokens per day", "5 usd total"])
def test_an_extension_of_no_limit_of_the_budget_is_refused(
    ledger: Ledger, clock: ManualClock, limits: list[str], said: str, added: str
) -> None:
    """It would add to nothing: the answer names the limits there are, and nothing is changed."""
    ledger.set_budget("acme", limits=limits)
    with pytest.raises(InvalidLimit) as refused:
        ledger.extend_budget("acme", added, until=clock.now + timedelta(hours=1))
    assert said in str(refused.value)
    assert added in str(refused.value)
    assert len(ledger.entries()) == 1
    assert ledger.budgets()[0].extensions == ()
