"""Following the entries of several trees of budgets by the number of the last one that was read."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import StoreUnavailable
from earmark.ledger.ledger import Ledger
from earmark.stores import postgres
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import STORES, open_books
from support.postgres_session import recycle
from support.unfinished_writer import until_looked, writing

TREES = ("a", "b", "c")
ROUNDS = 40


def test_who_follows_misses_nothing_and_gets_nothing_twice(ledger: Ledger) -> None:
    """Three trees are written at once by a thread each; a reader goes on and on after them."""
    books: Ledger = ledger if isinstance(ledger, Ledger) else vars(ledger)["_ledger"].sync
    for tree in TREES:
        books.set_budget(tree, limits=["1000 usd total"])

    def write(tree: str) -> None:
        for _ in range(ROUNDS):
            books.release(books.reserve(tree, 1).key)

    seen: list[int] = []
    with ThreadPoolExecutor(len(TREES)) as threads:
        running = [threads.submit(write, tree) for tree in TREES]
        while not all(each.done() for each in running):
            seen += [e.seq for e in ledger.entries(after=seen[-1] if seen else 0, most=7)]
        for each in running:
            each.result()
    while more := ledger.entries(after=seen[-1] if seen else 0, most=7):
        seen += [entry.seq for entry in more]
    assert seen == [entry.seq for entry in ledger.entries(most=10_000)]
    assert len(seen) == len(TREES) * (1 + 2 * ROUNDS)


@pytest.mark.parametrize("face", ["threads", "tasks"])
def test_a_number_that_is_not_committed_is_waited_for(
    tmp_path: Path, clock: ManualClock, face: str
) -> None:
    """One tree has taken a number, another commits the next: the first is read before it."""
    url = STORES["postgres"](tmp_path)
    ledger = open_books(url, clock, face=face)
    for tree in TREES:
        ledger.set_budget(tree, limits=["10 usd total"])
    last = ledger.entries()[-1].seq
    with writing(url, "a") as (slow, number), ThreadPoolExecutor(1) as threads:
        later = ledger.reserve("b", 1).seq
        assert later > number
        assert [e.seq for e in ledger.entries("b", after=last)] == [later], "one tree by itself"
        waits: Future[Any] = threads.submit(ledger.entries, after=last)
        until_looked(tmp_path, waits)
        slow.commit()
        assert [entry.seq for entry in waits.result()] == [number, later]
    ledger.close()
    recycle(tmp_path)


def test_who_never_finishes_is_not_waited_for_for_ever(tmp_path: Path, clock: ManualClock) -> None:
    """The reader is told, and may read one budget's entries meanwhile."""
    url = STORES["postgres"](tmp_path)
    assert sum(postgres.LOOK_PAUSES_S) > 5, "longer than the server leaves a silent writer its lock"
    with open_ledger(url, clock=clock) as ledger:
        for tree in TREES:
            ledger.set_budget(tree, limits=["10 usd total"])
        with writing(url, "a"):
            with pytest.raises(StoreUnavailable, match="does not finish"):
                ledger.entries()
            assert [entry.kind for entry in ledger.entries("b")] == ["limit"]
    recycle(tmp_path)


def test_what_is_written_after_the_look_is_not_read(tmp_path: Path, clock: ManualClock) -> None:
    """Two trees write between the look for writers and the read: the list ends before both."""
    url = STORES["postgres"](tmp_path)
    with open_ledger(url, clock=clock) as ledger, ExitStack() as slow:
        for tree in TREES:
            ledger.set_budget(tree, limits=["10 usd total"])
        before = ledger.entries()
        look = vars(type(ledger.store))["_last_complete"]

        def look_then_write() -> int:
            last: int = look(ledger.store)
            slow.enter_context(writing(url, "a"))
            ledger.reserve("b", 1)
            return last

        vars(ledger.store)["_last_complete"] = look_then_write
        assert ledger.entries() == before
    recycle(tmp_path)
