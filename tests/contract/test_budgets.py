"""Budgets change while money is spent under them: pauses, extensions, other limits."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest

from earmark.clock import from_datetime, iso
from earmark.errors import (
    BudgetExceeded,
    InputError,
    InvalidDuration,
    InvalidUsage,
    NoBudget,
    NotFound,
    Reason,
)
from earmark.ledger.ledger import Ledger
from earmark.testing import ManualClock
from support.ledger_books import only, standing

HOUR = timedelta(hours=1)


@pytest.fixture
def spent(ledger: Ledger) -> Ledger:
    """Books with 4 of 10 USD settled and 1 held."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    ledger.reserve("acme", 4, key="a")
    ledger.settle("a", 4)
    ledger.reserve("acme", 1, key="b", deadline="1d")
    return ledger


def test_changing_an_amount_keeps_what_was_spent(spent: Ledger) -> None:
    """A raised or lowered limit counts what is settled and held as before."""
    spent.set_budget("acme", limits=["20 usd per day"])
    assert standing(spent, "acme") == ("20", "4", "1", "15")
    spent.set_budget("acme", limits=["3 usd per day"])
    assert standing(spent, "acme") == ("3", "4", "1", "-2")
    with pytest.raises(BudgetExceeded):
        spent.reserve("acme", "0.01")
    spent.settle("b", "0.5")
    assert standing(spent, "acme") == ("3", "4.5", "0", "-1.5")


def test_a_limit_taken_away_and_given_back_remembers(spent: Ledger) -> None:
    """Removing a limit and setting it again in the same interval resets nothing."""
    spent.set_budget("acme", limits=[])
    with pytest.raises(NoBudget):
        spent.reserve("acme", "0.01")
    spent.set_budget("acme", limits=["10 usd per day"])
    assert standing(spent, "acme") == ("10", "4", "1", "5")


def test_another_window_counts_from_now(spent: Ledger) -> None:
    """A limit of another window is another account; the old one keeps its sums."""
    spent.set_budget("acme", limits=["10 usd per day", "1 usd per hour"])
    day, hour = spent.balances("acme")
    assert (str(day.settled), str(hour.settled)) == ("4", "0")


def test_setting_what_stands_changes_nothing(spent: Ledger) -> None:
    """Setting a budget to what it is leaves no entry."""
    before = spent.entries()
    spent.set_budget("acme", limits=["10.00 usd per day"])
    assert spent.entries() == before


def test_a_new_limit_above_binds_at_once(spent: Ledger) -> None:
    """A budget set above one that is spending counts what is reserved from now on."""
    spent.set_budget("acme/lab", limits=["5 usd per day"])
    spent.reserve("acme/lab/agent", 1)
    spent.set_budget("acme/lab/agent", limits=["0.5 usd per day"])
    with pytest.raises(BudgetExceeded) as refused:
        spent.reserve("acme/lab/agent", "0.6")
    assert refused.value.budget == "acme/lab/agent"
    assert standing(spent, "acme/lab") == ("5", "0", "1", "4")


def test_a_pause_stops_everything_below(spent: Ledger) -> None:
    """While a budget is paused nothing new starts below it; what runs is settled as ever."""
    spent.pause("acme", actor="Ada", reason="incident")
    for path in ("acme", "acme/lab/agent"):
        with pytest.raises(BudgetExceeded) as refused:
            spent.reserve(path, "0.01")
        assert (refused.value.reason, refused.value.retryable) == (Reason.PAUSED, False)
    assert only(spent, "acme").paused
    spent.settle("b", "0.5")
    spent.resume("acme", actor="Ada", reason="over")
    assert not only(spent, "acme").paused
    spent.reserve("acme", "0.01")


def test_a_pause_beside_stops_nothing(spent: Ledger) -> None:
    """A paused sibling, or a paused child, leaves its neighbours and parents running."""
    for path in ("acme/a", "acme/b"):
        spent.set_budget(path, limits=["1 usd per day"])
    spent.pause("acme/a")
    spent.reserve("acme/b", "0.1")
    spent.reserve("acme", "0.1")
    with pytest.raises(BudgetExceeded):
        spent.reserve("acme/a", "0.1")


def test_a_pause_ends_by_itself(spent: Ledger, clock: ManualClock) -> None:
    """A pause until an instant holds until just before it."""
    spent.pause("acme", until=clock.now + HOUR)
    clock.advance(HOUR - timedelta(microseconds=1))
    with pytest.raises(BudgetExceeded):
        spent.reserve("acme", "0.01")
    clock.advance(timedelta(microseconds=1))
    spent.reserve("acme", "0.01")
    assert not only(spent, "acme").paused


@pytest.mark.parametrize("late", [timedelta(0), HOUR], ids=["now", "an hour ago"])
@pytest.mark.parametrize(
    "act",
    [
        lambda books, until: books.pause("acme", until=until),
        lambda books, until: books.extend_budget("acme", "2 usd per day", until=until),
    ],
    ids=["pause", "extension"],
)
def test_what_would_have_ended_before_it_begins_is_refused(
    spent: Ledger, clock: ManualClock, act: Callable[[Ledger, datetime], object], late: timedelta
) -> None:
    """A moment that is not ahead is a mistake: it is refused with both moments, nothing changes."""
    before = spent.entries()
    with pytest.raises(InvalidDuration) as refused:
        act(spent, clock.now - late)
    then, now = (iso(from_datetime(each)) for each in (clock.now - late, clock.now))
    assert str(refused.value) == f"'{then}' is not a moment to come: give one after {now}"
    assert spent.entries() == before


def test_an_extension_that_has_ended_is_still_answered(spent: Ledger, clock: ManualClock) -> None:
    """Asked again under its key it gives the first answer, also when it is over."""
    ask = partial(spent.extend_budget, "acme", "2 usd per day", until=clock.now + HOUR, key="more")
    ask()
    before = spent.entries()
    clock.advance(2 * HOUR)
    assert ask().path == "acme"
    assert spent.entries() == before


def test_changing_limits_keeps_a_pause(spent: Ledger) -> None:
    """Setting limits neither ends a pause nor takes an extension away."""
    spent.pause("acme", reason="stop")
    spent.set_budget("acme", limits=["20 usd per day"])
    with pytest.raises(BudgetExceeded):
        spent.reserve("acme", "0.01")


def test_an_extension_adds_until_it_ends(spent: Ledger, clock: ManualClock) -> None:
    """Two dollars more for an hour; after it what was spent above the limit blocks."""
    spent.extend_budget("acme", "2 usd per day", until=clock.now + HOUR, actor="Ada", reason="demo")
    assert standing(spent, "acme") == ("12", "4", "1", "7")
    spent.reserve("acme", 7, key="c")
    spent.settle("c", 7)
    clock.advance(HOUR)
    assert standing(spent, "acme") == ("10", "11", "1", "-2")
    with pytest.raises(BudgetExceeded):
        spent.reserve("acme", "0.01")


def test_extensions_add_up(spent: Ledger, clock: ManualClock) -> None:
    """Two extensions count together, and each ends at its own time."""
    spent.extend_budget("acme", "2 usd per day", until=clock.now + HOUR)
    spent.extend_budget("acme", "3 usd per day", until=clock.now + 2 * HOUR)
    assert str(only(spent, "acme").limit) == "15"
    clock.advance(HOUR)
    assert str(only(spent, "acme").limit) == "13"
    clock.advance(HOUR)
    assert str(only(spent, "acme").limit) == "10"


def test_an_extension_of_another_window_adds_nothing_here(
    spent: Ledger, clock: ManualClock
) -> None:
    """An extension adds only to the limit of its own unit and window."""
    spent.set_budget("acme", limits=["10 usd per day", "3 usd per hour", "3 calls per day"])
    spent.extend_budget("acme", "2 usd per hour", until=clock.now + HOUR)
    spent.extend_budget("acme", "2 calls per day", until=clock.now + HOUR)
    assert [str(each.limit) for each in spent.balances("acme")] == ["10", "5", "5"]


def test_the_257th_extension_is_refused_alone(ledger: Ledger, clock: ManualClock) -> None:
    """One extension too many is one caller's input error; the books go on."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    for _ in range(256):
        ledger.extend_budget("acme", "0.01 usd per day", until=clock.now + HOUR)
    with pytest.raises(InputError, match="256"):
        ledger.extend_budget("acme", "0.01 usd per day", until=clock.now + HOUR)
    assert standing(ledger, "acme") == ("12.56", "0", "0", "12.56")
    ledger.reserve("acme", "12.56")


@pytest.mark.parametrize("act", ["pause", "resume", "extend_budget", "balances"])
def test_an_unknown_budget_is_not_found(ledger: Ledger, clock: ManualClock, act: str) -> None:
    """Nothing can be done to a budget that does not stand; the answer names it."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    extra = {"until": clock.now + HOUR} if act == "extend_budget" else {}
    arguments = ("acme/x", "1 usd per day") if extra else ("acme/x",)
    with pytest.raises(NotFound, match="acme/x"):
        getattr(ledger, act)(*arguments, **extra)


def test_who_and_why_is_kept(spent: Ledger, clock: ManualClock) -> None:
    """Each change of a budget is an entry with actor, reason and what changed."""
    spent.pause("acme", actor="Ada", reason="incident")
    spent.resume("acme", actor="Bo", reason="fixed")
    spent.extend_budget("acme", "2 usd per day", until=clock.now + HOUR, actor="Cy", reason="demo")
    spent.set_budget("acme", limits=["11 usd per day"], actor="Di", reason="growth")
    last = spent.entries("acme")[-4:]
    assert [entry.kind for entry in last] == ["pause", "resume", "extension", "limit"]
    for entry, words in zip(
        last, ["Ada incident", "Bo fixed", "Cy demo", "Di growth"], strict=True
    ):
        for word in words.split():
            assert word in entry.data


def test_budgets_list_by_path(ledger: Ledger) -> None:
    """Budgets at or below a path are listed by path; siblings that begin alike are not."""
    for path in ("acme/b", "acme", "acme-2", "acme/a/x", "acme.eu", "other"):
        ledger.set_budget(path, limits=["1 usd per day"])
    assert [b.path for b in ledger.budgets("acme")] == ["acme", "acme/a/x", "acme/b"]
    assert len(ledger.budgets()) == 6


def test_whoever_sets_a_session_s_budget_makes_it_a_budget(ledger: Ledger) -> None:
    """Its calls stay; it is listed with those that people made, and no session takes it back."""
    ledger.set_budget("acme", limits=["10 usd total"])
    for name in ("fields", "named", "paused"):
        ledger.set_budget(f"acme/{name}", kind="session")
    ledger.settle(ledger.reserve("acme/fields", "1").key, "1")
    assert ledger.set_budget("acme/fields", limits=["5 usd total"], actor="Ada").kind == "budget"
    assert ledger.set_budget("acme/named", kind="budget").kind == "budget"
    assert ledger.set_budget("acme/paused", kind="session", limits=["1 usd total"])
    assert ledger.set_budget("acme/paused").kind == "session"
    ledger.pause("acme/paused", reason="no person sets its fields")
    listed = [each.path for each in ledger.budgets(kind="budget")]
    assert listed == ["acme", "acme/fields", "acme/named"]
    assert [each.path for each in ledger.budgets(kind="session")] == ["acme/paused"]
    with pytest.raises(InvalidUsage, match="is of kind 'budget'"):
        ledger.set_budget("acme/fields", kind="session")
    with pytest.raises(InvalidUsage, match="is of kind 'session'"):
        ledger.set_budget("acme/paused", kind="run")
    ledger.set_budget("acme/run", kind="run")
    assert ledger.set_budget("acme/run", limits=["1 usd total"]).kind == "run"
    with pytest.raises(InvalidUsage, match="is of kind 'run'"):
        ledger.set_budget("acme/run", kind="budget")
    assert ledger.budgets(kind="budget") == ledger.budgets()[:3]
    assert ledger.audit().ok
