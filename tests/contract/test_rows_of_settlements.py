"""What a closing operation writes to other tables is in its own transaction, on every store."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import BudgetExceeded, EarmarkError, ReservationClosed, StoreError
from earmark.ledger.answers import reservation_of
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import (
    AlsoWrite,
    Amounts,
    Extend,
    Presume,
    Release,
    Reservation,
    Reserve,
    Settle,
    TableRows,
)
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.testing import ManualClock
from support.ledger_books import check_books
from support.postgres_server import PostgresServer
from support.tcp_proxy import TcpProxy, cut_the_answer_to, cut_within

PUT = (
    "INSERT INTO {schema}.nudge_mark (tree, seq) VALUES (?, ?)"
    " ON CONFLICT (tree) DO NOTHING RETURNING tree"
)
READ = "SELECT tree, seq FROM {schema}.nudge_mark ORDER BY tree"


class Marks:
    """Books, and a row beside them for each reservation: its key and state, and what it cost."""

    def __init__(self, url: str, clock: ManualClock | None = None) -> None:
        self.ledger: Ledger = open_ledger(url, clock=clock)
        self._tables = open_tables(self.ledger.store)
        self.calls = 0
        self.ledger.set_budget("acme", limits=["10 usd total"])

    def also(self, rows: TableRows, done: Reservation) -> None:
        """Write the row of *done*."""
        self.calls += 1
        assert done.actual is not None
        rows.run(PUT, f"{done.key} {done.state}", done.actual.usd)

    def read(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return self._tables.read(lambda rows: rows.run(READ))

    def close(self, operation: Settle | Release | Presume) -> Reservation:
        """Do *operation*."""
        return reservation_of(self.ledger.committer.submit(operation))

    def together(self, *operations: Settle | Release | Presume) -> list[Any]:
        """Do *operations* side by side; return the answers, errors among them."""
        committer = self.ledger.committer

        async def main() -> list[Any]:
            answers = map(committer.submit_async, operations)
            return await asyncio.gather(*answers, return_exceptions=True)

        return asyncio.run(main())

    def end(self) -> None:
        """Check the books and close everything."""
        check_books(self.ledger)
        if self._tables is not None:
            self._tables.close()
        self.ledger.close()


@pytest.fixture
def marks(url: str, clock: ManualClock) -> Iterator[Marks]:
    """Empty books."""
    made = Marks(url, clock)
    yield made
    made.end()


def closing(kind: str, also: AlsoWrite | None, key: str = "k") -> Settle | Release | Presume:
    """Return the operation that closes *key*."""
    match kind:
        case "settled":
            return Settle(key, Amounts(3), also)
        case "released":
            return Release(key, also=also)
        case _:
            return Presume(key, also)


CLOSED = {"settled": 3, "released": 0, "presumed": 2_000_000_000}


@pytest.mark.parametrize("kind", CLOSED)
def test_a_row_is_written_of_what_was_closed(marks: Marks, kind: str) -> None:
    """It is given the reservation as it was closed, and is written once however often asked."""
    marks.ledger.reserve("acme", 1, key="k")
    marks.ledger.extend("k", 1)
    for _ in range(2):
        assert marks.close(closing(kind, marks.also)).state == kind
        assert marks.read() == [(f"k {kind}", CLOSED[kind])]


@pytest.mark.parametrize("kind", CLOSED)
def test_a_row_is_written_though_another_closed_it(marks: Marks, url: str, kind: str) -> None:
    """Somebody else's operation of the same content left no row: the repeat writes it."""
    marks.ledger.reserve("acme", 2, key="k")
    if url == "memory:":
        marks.close(closing(kind, None))
    else:
        with open_ledger(url, clock=marks.ledger.clock) as other:
            other.reserve("acme", 1, key="other")
            other.committer.submit(closing(kind, None))
    assert marks.read() == []
    marks.close(closing(kind, marks.also))
    assert marks.read() == [(f"k {kind}", CLOSED[kind])]


def test_a_row_is_written_after_others_wrote_to_the_tree(marks: Marks, url: str) -> None:
    """What was known of the tree is old: decided again, it is written once."""
    marks.ledger.reserve("acme", 2, key="k")
    if url != "memory:":
        with open_ledger(url, clock=marks.ledger.clock) as other:
            other.settle(other.reserve("acme", 1, key="other").key, 1)
    marks.close(closing("settled", marks.also))
    assert marks.read() == [("k settled", 3)]


def test_a_refused_operation_writes_no_row(marks: Marks) -> None:
    """What is released cannot be settled, and what is unknown cannot be closed."""
    marks.ledger.reserve("acme", 1, key="k")
    marks.ledger.release("k")
    for refused in (closing("settled", marks.also), closing("presumed", marks.also, "none")):
        with pytest.raises(EarmarkError):
            marks.close(refused)
    with pytest.raises(ReservationClosed):
        marks.close(closing("presumed", marks.also))
    assert (marks.calls, marks.read()) == (0, [])


def test_a_row_that_cannot_be_written_fails_its_operation_alone(marks: Marks) -> None:
    """Neither it nor its row is kept; those committed with it are, with theirs."""
    for key in "abc":
        marks.ledger.reserve("acme", 1, key=key)

    def broken(rows: TableRows, done: Reservation) -> None:
        if marks.ledger.store.url != "memory:":
            marks.also(rows, done)
        raise ValueError("no row")

    answers = marks.together(
        closing("settled", marks.also, "a"),
        closing("settled", broken, "b"),
        closing("settled", marks.also, "c"),
    )
    assert [isinstance(each, Exception) for each in answers] == [False, True, False]
    assert isinstance(answers[1], StoreError | ValueError)
    assert marks.read() == [("a settled", 3), ("c settled", 3)]
    assert [each.key for each in marks.ledger.holds()] == ["b"]
    marks.close(closing("settled", marks.also, "b"))
    assert len(marks.read()) == 3


CUTS = {
    "before the commit": lambda: cut_within(b"COMMIT"),
    "after the commit": lambda: cut_the_answer_to(b"COMMIT"),
    "before the row": lambda: cut_within(b"INSERT INTO"),
}


@pytest.mark.parametrize("moment", CUTS)
def test_a_cut_off_settlement_has_its_row_once(
    moment: str, doomed_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Whether the commit was lost or only its answer: settled once, with one row."""
    url = doomed_postgres.url(schema=f"rows_{tmp_path.name.lower()}"[:63])
    with TcpProxy(("127.0.0.1", doomed_postgres.port)) as proxy:
        marks = Marks(proxy.via(url))
        marks.ledger.reserve("acme", 1, key="k")
        proxy.judge = CUTS[moment]()
        marks.close(closing("settled", marks.also))
        assert proxy.cuts
        assert marks.read() == [("k settled", 3)]
        assert [entry.kind for entry in marks.ledger.entries(key="k")] == ["reserve", "settle"]
        marks.end()


def test_what_an_operation_writes_is_undone_with_it(marks: Marks) -> None:
    """It fails at its second statement: the first one is undone, and the operation is not done."""

    def half(rows: TableRows, done: Reservation) -> None:
        rows.run(PUT, f"half {done.key}", 1)
        rows.run("INSERT INTO {schema}.no_such_table VALUES (1)")

    marks.ledger.reserve("acme", 1, key="k")
    for operation in (
        Reserve("other", "acme", Amounts(1), 10**9, also=half),
        Extend("k", Amounts(1), "more", also=half),
        Settle("k", Amounts(3), half),
    ):
        with pytest.raises(EarmarkError):
            marks.ledger.committer.submit(operation)
    assert marks.read() == []
    assert [(each.key, each.state) for each in marks.ledger.holds(state=None)] == [("k", "open")]


def test_an_undone_operation_leaves_every_limit_an_account_of_its_own(url: str) -> None:
    """The next limit's account has no number that another one has: each holds what is its own."""

    def fails(rows: TableRows, done: Reservation) -> None:
        raise ValueError(f"{rows} {done}")

    with open_ledger(url) as ledger:
        for path in "ab":
            ledger.set_budget(path, limits=["1 usd total"])
        ledger.reserve("b", "1", key="k")
        with pytest.raises((EarmarkError, ValueError)):
            ledger.committer.submit(Settle("k", Amounts(3), fails))
        ledger.reserve("a", "0.1")
        with pytest.raises(BudgetExceeded):
            ledger.reserve("b", "0.9")
        assert [str(each.held) for each in ledger.balances("b")] == ["1"]
        check_books(ledger)
