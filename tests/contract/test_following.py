"""Following the entries of several trees of budgets by the number of the last one that was read."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from earmark.errors import StoreUnavailable
from earmark.ledger.ledger import Ledger
from earmark.stores import postgres
from earmark.stores.open import open_ledger
from earmark.stores.postgres_url import PostgresUrl
from earmark.testing import ManualClock
from support.last_resort import until
from support.ledger_books import STORES, open_books
from support.postgres_session import recycle, shared_or_skip

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


@contextmanager
def writing(url: str, tree: str) -> Iterator[tuple[psycopg.Connection[Any], int]]:
    """Give a transaction that has written an entry in *tree* and is not committed; its number."""
    place = PostgresUrl.parse(url)
    take = "UPDATE {s}.tree SET last = nextval('{s}.entry_seq'), entries = entries + 1"
    write = (
        'INSERT INTO {s}.entry SELECT %s, at, kind, "key", budget, usd, calls, tokens, prior, data'
        " FROM {s}.entry WHERE budget = %s LIMIT 1"
    )
    with psycopg.connect(place.conninfo) as connection:
        number = connection.execute(
            f"{take} WHERE name = %s RETURNING last".replace("{s}", place.schema).encode(), (tree,)
        ).fetchall()[0][0]
        connection.execute(write.replace("{s}", place.schema).encode(), (number, tree))
        yield connection, number


def until_looked(folder: Path) -> None:
    """Return once a reader of the books of *folder* has looked for who still writes."""
    query = (
        "SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND query LIKE '%%virtualtransaction%%' AND query LIKE %s"
    )
    schema = PostgresUrl.parse(STORES["postgres"](folder)).schema
    with shared_or_skip().connect() as connection:
        until(lambda: connection.execute(query.encode(), (f"%{schema}%",)).fetchall())


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
        until_looked(tmp_path)
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
