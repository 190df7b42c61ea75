"""Changing a budget changes what is given and nothing else, whoever set the rest and when."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from earmark.budget.budget import Budget
from earmark.errors import InvalidLimit
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import standing

FULL: dict[str, Any] = {
    "limits": ["10 usd per day", "3 calls per 30min"],
    "timezone": "Europe/Berlin",
    "alerts": [0.5, 0.9],
}
OTHER: dict[str, Any] = {"limits": ["7 usd total"], "timezone": "Asia/Kolkata", "alerts": []}


def parts(budget: Budget) -> dict[str, Any]:
    """Return what can be given of *budget*, as it is given."""
    return {
        "limits": [str(limit) for limit in budget.limits],
        "timezone": budget.timezone,
        "alerts": [ppm / 1_000_000 for ppm in budget.alerts],
    }


@pytest.mark.parametrize("given", [(), *[(part,) for part in FULL], ("timezone", "alerts")])
def test_what_is_not_given_stays(ledger: Ledger, given: tuple[str, ...]) -> None:
    """Each part alone, two of three, or nothing: the others are as they were."""
    ledger.set_budget("acme", **FULL)
    ledger.pause("acme", reason="stays too")
    budget = ledger.set_budget("acme", **{part: OTHER[part] for part in given})
    assert parts(budget) == FULL | {part: OTHER[part] for part in given}
    assert budget.paused is not None
    assert ledger.budgets() == [budget]
    assert len(ledger.entries()) == 2 + bool(given)


def test_a_new_budget_has_defaults_for_what_is_not_given(ledger: Ledger) -> None:
    """No limits, UTC, and alerts at 80 and 100 %."""
    defaults = {"limits": [], "timezone": "UTC", "alerts": [0.8, 1.0]}
    assert parts(ledger.set_budget("acme")) == defaults
    assert parts(ledger.set_budget("b", timezone="CET")) == defaults | {"timezone": "CET"}


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
    ledger.set_budget("acme", **FULL)
    assert ledger.set_budget("acme", limits=[]).limits == ()
    assert ledger.set_budget("acme", alerts=[]).alerts == ()


def test_changes_of_different_parts_at_once_are_all_kept(
    url: str, clock: ManualClock, request: pytest.FixtureRequest
) -> None:
    """Two callers that change different parts at the same time undo nothing of each other."""
    ledger = open_ledger(url, clock=clock)
    request.addfinalizer(ledger.close)
    ledger.set_budget("acme", **FULL)
    for turn in range(20):
        want = {"limits": [f"{turn} usd per day"], "alerts": [(turn + 1) / 100]}
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
        assert parts(budget) == FULL | want


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
