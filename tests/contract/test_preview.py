"""What `preview` says: what `reserve` then does, with nothing written and nobody waited for."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from earmark.errors import BudgetExceeded, InputError, NoBudget, Reason
from earmark.ledger.answers import as_error
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts, Reservation, Settle, TableRows
from earmark.testing import ManualClock
from support.last_resort import LAST_RESORT_S
from support.ledger_workers import in_threads


@pytest.fixture
def used(ledger: Ledger, clock: ManualClock) -> Ledger:
    """Of 1 USD a day 0.1 are spent, 0.3 held and 0.2 held for ten minutes; 9 calls an hour."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.set_budget("acme/agent", limits=["9 calls per hour", "2 usd total"])
    ledger.extend_budget("acme", "1 usd per day", until=clock.now + timedelta(hours=2))
    ledger.extend_budget("acme/agent", "1 calls per hour", until=clock.now + timedelta(hours=2))
    ledger.settle(ledger.reserve("acme/agent", "0.1").key, "0.1")
    ledger.reserve("acme", "0.3")
    ledger.reserve("acme/agent", "0.2", deadline="10min")
    return ledger


Change = Callable[[Ledger, ManualClock], object]


def minutes(count: int) -> Change:
    """Return what lets *count* minutes go by."""
    return lambda _, clock: clock.advance(timedelta(minutes=count))


def limits(text: str) -> Change:
    """Return what gives the upper budget the limit *text* alone."""
    return lambda ledger, _: ledger.set_budget("acme", limits=[text])


def paused(ledger: Ledger, _: ManualClock) -> None:
    """Pause the upper budget."""
    ledger.pause("acme", actor="Ada")


AMOUNTS = ("2.000000001", "1.9", "1.600000001", "1.6", "1.400000001", "1.4", "0.2", "0")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(minutes(0), id="now"),
        pytest.param(minutes(11), id="a deadline has passed"),
        pytest.param(minutes(121), id="an extension has ended"),
        pytest.param(minutes(60 * 24), id="tomorrow"),
        pytest.param(paused, id="paused"),
        pytest.param(limits("0.35 usd per day"), id="lowered"),
        pytest.param(limits("3 tokens total"), id="uncounted"),
    ],
)
def test_a_preview_says_what_reserve_then_does(
    used: Ledger, clock: ManualClock, change: Change
) -> None:
    """The same refusal to the last word, or none where the amount then is reserved."""
    change(used, clock)
    for amount in AMOUNTS:
        refused = used.preview("acme/agent", amount)
        if refused is None:
            assert used.reserve("acme/agent", amount).state == "open"
            continue
        with pytest.raises(BudgetExceeded) as raised:
            used.reserve("acme/agent", amount)
        assert (refused.reason, refused.budget) == (raised.value.reason, raised.value.budget)
        assert as_error(refused).facts() == raised.value.facts()


def test_units_are_previewed_as_they_are_reserved(used: Ledger) -> None:
    """Calls count one unless given; ten of ten fit on an extended limit, eleven never do."""
    assert used.preview("acme/agent", 0, units={"calls": 8}) is None
    refused = used.preview("acme/agent", 0, units={"calls": 11})
    assert refused is not None
    assert (refused.reason, refused.requested) == (Reason.TOO_LARGE, 11)


def test_where_nothing_is_limited_a_preview_says_so(ledger: Ledger) -> None:
    """As `reserve` does: nothing runs unlimited by accident."""
    refused = ledger.preview("nobody/here", "1")
    assert refused is not None
    assert isinstance(as_error(refused), NoBudget)


def test_what_no_reserve_takes_is_an_input_error(edges: list[Ledger]) -> None:
    """A path, an amount or a unit that is none is refused without asking a store."""
    for ledger in edges:
        for path, amount in (("acme//x", "1"), ("acme", "-1"), ("acme", "nan")):
            with pytest.raises(InputError):
                ledger.preview(path, amount)


def test_several_together_take_the_room_of_each_other(used: Ledger, clock: ManualClock) -> None:
    """Each is decided as if those before it that fit were held; apart, each by itself."""
    asked = [Amounts(900_000_000), Amounts(600_000_000), Amounts(500_000_000)]
    at = clock.instant()
    apart = used.store.preview("acme/agent", asked, at)
    assert apart == [None, None, None]
    first, second, third = used.store.preview("acme/agent", asked, at, together=True)
    assert (first, third) == (None, None)
    assert second is not None
    assert second.reason is Reason.HELD
    assert second.account is not None
    assert second.account.held == 1_400_000_000


def test_a_preview_writes_nothing_and_waits_for_nobody(
    open_store: Callable[[], Ledger], clock: ManualClock
) -> None:
    """Not even what is past its deadline, which it counts as spent; a writer is under way."""
    ledger = open_store()
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.1", key="open")
    ledger.reserve("acme", "0.6", key="due", deadline="10min")
    inside, go_on = threading.Event(), threading.Event()

    def slow(_rows: TableRows, _closed: Reservation) -> None:
        inside.set()
        assert go_on.wait(LAST_RESORT_S)

    def settle() -> None:
        ledger.committer.submit(Settle("open", Amounts(3), slow))

    def ask() -> None:
        assert inside.wait(LAST_RESORT_S)
        try:
            at = clock.instant() + 30 * 60 * 10**9
            (refused,) = ledger.store.preview("acme", [Amounts(350_000_000)], at)
            assert refused is not None
            assert refused.reason is Reason.HELD
            (refused,) = ledger.store.preview("acme", [Amounts(450_000_000)], at)
            assert refused is not None
            assert refused.reason is Reason.EXHAUSTED, "what is due counts as spent"
            found = ledger.store.reservation("due")
            assert found is not None
            assert found.state == "open"
        finally:
            go_on.set()

    in_threads([settle, ask])
    assert [entry.kind for entry in ledger.entries()] == ["limit", "reserve", "reserve", "settle"]
