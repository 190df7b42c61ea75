"""Heads: up to which number all entries of a tree can be read."""

import threading
from collections.abc import Iterator

import pytest

from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_workers import in_threads


@pytest.fixture
def ledger(url: str, clock: ManualClock) -> Iterator[Ledger]:
    """Empty books."""
    with open_ledger(url, clock=clock) as opened:
        yield opened


def test_a_head_is_the_number_of_the_last_entry(ledger: Ledger) -> None:
    """Each tree's head, or the one head of all, moves with the last entry."""
    assert set(ledger.store.heads().values()) <= {0}
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.set_budget("c8", limits=["1 usd per day"])
    hold = ledger.reserve("c8", "0.1")
    heads = ledger.store.heads()
    assert heads in ({"": hold.seq}, {"acme": ledger.entries("acme")[-1].seq, "c8": hold.seq})


def test_what_is_below_a_head_is_there(ledger: Ledger) -> None:
    """While others commit, the entries up to a head are all there, and stay all there are."""
    trees = ("acme", "c8", "c9")
    for tree in trees:
        ledger.set_budget(tree, limits=["1000 usd per day"])
    done = threading.Event()
    seen: list[tuple[str, int, list[int]]] = []

    def write(tree: str) -> None:
        for _ in range(20):
            ledger.release(ledger.reserve(tree, "0.1").key)

    def look() -> None:
        while not done.is_set():
            for tree, head in ledger.store.heads().items():
                found = ledger.store.entries(Filter(budget=tree or None))
                seen.append((tree, head, [entry.seq for entry in found if entry.seq <= head]))

    looking = threading.Thread(target=look)
    looking.start()
    in_threads([lambda tree=tree: write(tree) for tree in trees])
    done.set()
    looking.join()
    for tree, head, numbers in seen:
        now = ledger.store.entries(Filter(budget=tree or None))
        assert numbers == [entry.seq for entry in now if entry.seq <= head]


def test_alerts_are_read_from_an_entry_on(ledger: Ledger) -> None:
    """Alerts of entries after a number are those that later entries crossed."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    marks: list[int] = []
    for _ in range(2):
        ledger.settle(ledger.reserve("acme", "0.5").key, "0.5")
        marks.append(max(ledger.store.heads().values()))
    assert [alert.threshold for alert in ledger.store.alerts(Filter())] == [800_000, 1_000_000]
    late = ledger.store.alerts(Filter(after=marks[0]))
    assert [alert.threshold for alert in late] == [800_000, 1_000_000]
    assert ledger.store.alerts(Filter(after=marks[1])) == []
