"""Listing: reservations, entries and alerts by budget, key, state and time, page by page."""

from datetime import datetime, timedelta

import pytest

from earmark.errors import InvalidDuration
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter
from earmark.ledger.values import Entry
from earmark.testing import ManualClock

MINUTE = timedelta(minutes=1)
PATHS = ("acme", "acme-2", "acme.eu", "acme/a", "acme/a/b", "acme0", "acmf")


@pytest.fixture
def forest(ledger: Ledger, clock: ManualClock) -> Ledger:
    """One reservation on each of several budgets whose names begin alike, a minute apart."""
    for path in PATHS:
        ledger.set_budget(path, limits=["10 usd per day"])
    for path in PATHS:
        clock.advance(MINUTE)
        ledger.reserve(path, 1, key=f"on {path}")
    return ledger


def start(clock: ManualClock) -> datetime:
    """Return the instant of the first reservation of `forest`."""
    return clock.now - (len(PATHS) - 1) * MINUTE


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("acme", ["acme", "acme/a", "acme/a/b"]),
        ("acme/a", ["acme/a", "acme/a/b"]),
        ("acme-2", ["acme-2"]),
        ("acm", []),
    ],
)
def test_a_budget_lists_what_is_below_it(forest: Ledger, path: str, found: list[str]) -> None:
    """Listing a budget gives its subtree and none of the siblings that begin alike."""
    assert [hold.budget for hold in forest.holds(path)] == found
    assert [e.budget for e in forest.entries(path) if e.kind == "reserve"] == found


def test_without_a_filter_everything_is_listed_in_order(forest: Ledger) -> None:
    """Reservations come in the order they were opened, entries in the order of commits."""
    assert [hold.budget for hold in forest.holds()] == list(PATHS)
    assert [entry.seq for entry in forest.entries()] == list(range(1, 2 * len(PATHS) + 1))


def test_open_ones_come_in_the_order_they_were_opened(ledger: Ledger) -> None:
    """The order is that of opening, whatever their deadlines are."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    for key, deadline in (("a", "3h"), ("b", "1h"), ("c", "2h")):
        ledger.reserve("acme", 1, key=key, deadline=deadline)
    assert [hold.key for hold in ledger.holds()] == ["a", "b", "c"]


def test_by_state(forest: Ledger) -> None:
    """The open ones are listed by default; any state, or all, on demand."""
    forest.settle("on acme", "0.5")
    forest.release("on acme-2")
    forest.presume("on acme.eu")
    for state, key in (
        ("settled", "on acme"), ("released", "on acme-2"), ("presumed", "on acme.eu"),
    ):  # fmt: skip
        assert [hold.key for hold in forest.holds(state=state)] == [key]  # type: ignore[arg-type]
    assert len(forest.holds()) == len(PATHS) - 3
    assert len(forest.holds(state=None)) == len(PATHS)


def test_by_key(forest: Ledger) -> None:
    """One key's reservation, and all entries of it."""
    forest.settle("on acme/a", "0.5")
    assert [hold.key for hold in forest.holds(state=None, key="on acme/a")] == ["on acme/a"]
    assert [e.kind for e in forest.entries(key="on acme/a")] == ["reserve", "settle"]
    assert forest.entries(key="nobody") == []


def test_by_time(forest: Ledger, clock: ManualClock) -> None:
    """*since* is included, *until* is not."""
    since, until = start(clock) + MINUTE, start(clock) + 3 * MINUTE
    assert [h.budget for h in forest.holds(since=since, until=until)] == list(PATHS[1:3])
    assert [e.budget for e in forest.entries(since=since, until=until)] == list(PATHS[1:3])
    assert forest.holds(since=clock.now + MINUTE) == []


def test_filters_add_up(forest: Ledger, clock: ManualClock) -> None:
    """All that is given must match."""
    assert [h.budget for h in forest.holds("acme", since=start(clock) + MINUTE)] == [
        "acme/a", "acme/a/b",
    ]  # fmt: skip
    assert forest.holds("acme", key="on acme-2", state=None) == []


def test_keys_are_found_by_how_they_begin(forest: Ledger) -> None:
    """Reservations and entries whose keys begin alike are listed, and none beside them."""
    for key in ("run", "run:", "run:/a#1", "run:é", "run;", "runs:1", "Run:1"):
        forest.reserve("acme", "0.01", key=key)
    wanted = Filter(prefix="run:")
    held = [each.key for each in forest.store.reservations(wanted)]
    assert held == ["run:", "run:/a#1", "run:é"]
    assert [each.key for each in forest.store.entries(wanted)] == held


def test_several_keys_are_one_question(forest: Ledger) -> None:
    """The reservations of the keys that are there, in the order of opening; of none, none."""
    forest.settle("on acme/a", "0.5")
    wanted = Filter(keys=["on acmf", "nobody", "on acme/a", "on acmf"])
    assert [each.key for each in forest.store.reservations(wanted)] == ["on acme/a", "on acmf"]
    assert [e.key for e in forest.store.reservations(Filter(keys=["on acme"], budget="acm"))] == []
    assert forest.store.reservations(Filter(keys=())) == []


def test_entries_page_by_number(forest: Ledger) -> None:
    """Pages continue after the last number seen and together give everything once."""
    pages, after = list[Entry](), 0
    while page := forest.entries("acme", after=after, most=2):
        assert len(page) <= 2
        pages += page
        after = page[-1].seq
    assert pages == forest.entries("acme")


def test_at_most_so_many(forest: Ledger) -> None:
    """*most* cuts the list after its first rows."""
    assert [hold.budget for hold in forest.holds(most=2)] == list(PATHS[:2])


def test_an_instant_beyond_64_bits_is_refused(forest: Ledger, clock: ManualClock) -> None:
    """A filter by a moment no ledger can hold says so in one sentence."""
    with pytest.raises(InvalidDuration, match="2262"):
        forest.entries(since=clock.now.replace(year=9999))
    with pytest.raises(InvalidDuration, match="time zone"):
        forest.holds(since=clock.now.replace(tzinfo=None))


def test_labels_come_back(ledger: Ledger) -> None:
    """Labels are kept with the reservation, in any script."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    ledger.reserve("acme", 1, key="a", labels={"run": "r-1", "wer": "Jörg"})
    import json

    assert json.loads(ledger.reservation("a").labels) == {"run": "r-1", "wer": "Jörg"}
