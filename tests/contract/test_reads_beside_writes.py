"""What reads wait for, and what a write to the tables beside the ledger's costs the ledger."""

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from earmark.errors import BudgetExceeded
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts, Reservation, Settle, TableRows
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.testing import ManualClock
from support.last_resort import LAST_RESORT_S
from support.ledger_workers import in_threads

PUT = "INSERT INTO {schema}.nudge_mark (tree, seq) VALUES (?, ?)"


@pytest.fixture
def kept(open_store: Callable[[], Ledger]) -> Ledger:
    """Durable books with a budget and an open hold."""
    ledger = open_store()
    ledger.set_budget("acme", limits=["10 usd per day"])
    ledger.reserve("acme", "1", key="k", deadline="1h")
    return ledger


def test_reads_do_not_wait_for_a_commit_under_way(kept: Ledger) -> None:
    """Nothing is past its deadline, so that nothing has to be written first."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(_rows: TableRows, _closed: Reservation) -> None:
        inside.set()
        assert go_on.wait(LAST_RESORT_S)

    def read() -> None:
        assert inside.wait(LAST_RESORT_S)
        try:
            (balance,) = kept.balances("acme")
            (hold,) = kept.holds("acme")
            assert (str(balance.held), hold.key, len(kept.entries())) == ("1", "k", 2)
        finally:
            go_on.set()

    in_threads([lambda: _settle(kept, slow), read])
    assert [str(balance.settled) for balance in kept.balances("acme")] == ["0.000000003"]


def _settle(ledger: Ledger, also: Callable[[TableRows, Reservation], None]) -> None:
    ledger.committer.submit(Settle("k", Amounts(3), also))


def test_a_read_presumes_what_is_past_its_deadline(kept: Ledger, clock: ManualClock) -> None:
    """Also where another program opened the hold."""
    clock.advance(timedelta(hours=2))
    assert [str(balance.settled) for balance in kept.balances("acme")] == ["1"]


@pytest.mark.parametrize("writer", ["this program", "another"])
def test_a_write_beside_the_books_keeps_what_the_ledger_knows(tmp_path: Path, writer: str) -> None:
    """The accounts above a path are read once, not again after each write to the board."""
    read: list[str] = []

    def note(_: apsw.Cursor, sql: str, __: object) -> bool:
        if "FROM account WHERE" in sql:
            read.append(sql)
        return True

    def watch(connection: apsw.Connection) -> None:
        connection.exec_trace = note

    url = f"sqlite:///{tmp_path / 'books.db'}"
    apsw.connection_hooks.append(watch)
    try:
        ledger = open_ledger(url)
    finally:
        apsw.connection_hooks.remove(watch)
    with ledger, open_ledger(url) as another:
        ledger.set_budget("acme", limits=["10 usd per day"])
        ledger.reserve("acme", "1", deadline="1h")
        read.clear()
        beside = ledger if writer == "this program" else another
        with closing(open_tables(beside.store)) as tables:
            for number in range(3):
                tables.write("count", lambda rows, n=number: rows.run(PUT, f"t{n}", 1))
                ledger.reserve("acme", "1", deadline="1h")
        assert not read
        # What another program writes to the books themselves is read.
        another.set_budget("acme", limits=["5 usd per day"])
        with pytest.raises(BudgetExceeded):
            ledger.reserve("acme", "2", deadline="1h")
        assert read
