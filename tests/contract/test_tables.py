"""The tables beside the books, on every store: all or nothing, one writer at a time, once."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from earmark.errors import StoreClosed, StoreError, StoreUnavailable
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import AlsoWrite, Amounts, Reservation, Settle
from earmark.stores.memory import MemoryStore
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Rows, Tables
from earmark.testing import ManualClock
from support.board_workers import PROGRAMS, raise_by_one
from support.last_resort import LAST_RESORT_S
from support.ledger_books import DURABLE, STORES, check_books
from support.ledger_workers import go, in_threads, result, start_all
from support.postgres_server import PostgresServer
from support.tables_at import tables_at
from support.tcp_proxy import TcpProxy, cut_the_answer_to, cut_within

READ = "SELECT tree, seq FROM {schema}.nudge_mark ORDER BY tree"
PUT = "INSERT INTO {schema}.nudge_mark (tree, seq) VALUES (?, ?)"
LONG = (
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 200000)"
    " SELECT count(*) FROM c"
)
ADD = "UPDATE {schema}.nudge_mark SET seq = seq + 1 WHERE tree = ?"


@pytest.fixture
def tables(url: str, clock: ManualClock) -> Iterator[Tables]:
    """Empty tables."""
    with open_ledger(url, clock=clock) as ledger, closing(open_tables(ledger.store)) as opened:
        yield opened


@pytest.fixture(params=DURABLE)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Books that several can open the tables of."""
    with open_ledger(STORES[request.param](tmp_path)) as ledger:
        yield ledger


def test_threads_that_ask_at_once_share_the_tables_of_a_store_in_memory() -> None:
    """Whoever comes first makes them, and nobody makes them anew."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            store, found = MemoryStore(), list[Tables]()
            in_threads([lambda s=store, f=found: f.append(open_tables(s))] * 4)
            assert len(set(map(id, found))) == 1
            found[0].close()
    finally:
        sys.setswitchinterval(before)


@contextmanager
def both_tables(url: str) -> Iterator[tuple[Tables, Tables]]:
    """Open the same tables twice, as two programs do."""
    with (
        open_ledger(url) as ledger,
        closing(open_tables(ledger.store)) as one,
        closing(tables_at(url)) as other,
    ):
        yield one, other


def put(tables: Tables, tree: str, number: int) -> None:
    """Write one row."""
    tables.write("count", lambda rows: rows.run(PUT, tree, number))


def read(tables: Tables) -> list[tuple[object, ...]]:
    """Read all rows."""
    return tables.read(lambda rows: rows.run(READ))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_work_that_raises_changes_nothing(tables: Tables, error: type[BaseException]) -> None:
    """What was written before the exception is undone, and the next write works."""
    put(tables, "a", 1)

    def work(rows: Rows) -> None:
        rows.run(ADD, "a")
        rows.run(PUT, "b", 1)
        assert rows.run(READ) == [("a", 2), ("b", 1)]
        raise error("no")

    with pytest.raises(error):
        tables.write("count", work)
    assert read(tables) == [("a", 1)]
    put(tables, "c", 3)
    assert read(tables) == [("a", 1), ("c", 3)]


def test_values_are_kept_as_they_are(tables: Tables) -> None:
    """Text of any kind and whole numbers of 64 bits are read back; a mark in a text is text."""
    for name in ("é ü 漢 🜚", "'; DROP TABLE nudge_mark; --", "? {schema}. %s", "", "a\\b\n"):
        put(tables, name, (1 << 63) - 1)
        found = tables.read(
            lambda rows, name=name: rows.run(
                "SELECT tree, seq FROM {schema}.nudge_mark WHERE tree = ?", name
            )
        )
        assert found == [(name, (1 << 63) - 1)]


def test_a_statement_returns_its_rows(tables: Tables) -> None:
    """A change that says RETURNING gives rows; one that does not gives none."""
    put(tables, "a", 1)
    returning = ADD + " RETURNING seq"
    assert tables.write("count", lambda rows: rows.run(returning, "a")) == [(2,)]
    assert tables.write("count", lambda rows: rows.run(ADD, "a")) == []


def test_two_writers_of_one_lock_alternate(kept: Ledger) -> None:
    """Reading and writing in two statements loses nothing, in threads and in processes."""
    with both_tables(kept.store.url) as (one, other):
        put(one, "n", 0)

        def count(tables: Tables) -> None:
            for _ in range(40):
                tables.write("count", raise_by_one)

        workers = start_all(*[("count_up", kept.store.url, 40)] * 2, file=PROGRAMS)
        go(*workers)
        in_threads([lambda: count(one), lambda: count(one), lambda: count(other)])
        for worker in workers:
            result(worker)
        assert read(one) == [("n", 200)]


def test_writers_of_two_locks_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """On PostgreSQL, who holds one lock lets those pass who name another."""
    with both_tables(STORES["postgres"](tmp_path)) as (one, two):

        def hold(rows: Rows) -> None:
            rows.run(PUT, "a", 1)
            two.write("other", lambda others: others.run(PUT, "b", 1))

        one.write("count", hold)
        assert read(one) == [("a", 1), ("b", 1)]


def test_a_read_sees_one_commit(kept: Ledger) -> None:
    """What others commit while somebody reads is not there until the next read."""
    with both_tables(kept.store.url) as (one, other):
        put(one, "a", 1)

        def look(rows: Rows) -> tuple[object, object]:
            before = rows.run(READ)
            put(other, "b", 1)
            return before, rows.run(READ)

        before, after = one.read(look)
        assert before == after == [("a", 1)]
        assert read(one) == [("a", 1), ("b", 1)]


def test_the_ledger_and_the_tables_share_a_file(kept: Ledger) -> None:
    """Both write at the same time, and neither is ever refused or slower than its turn."""
    kept.set_budget("acme", limits=["100 usd total"])
    with closing(open_tables(kept.store)) as tables:
        put(tables, "n", 0)

        def spend() -> None:
            for _ in range(50):
                kept.settle(kept.reserve("acme", 1).key, 1)

        def count() -> None:
            for _ in range(50):
                tables.write("count", raise_by_one)

        in_threads([spend, count])
        assert read(tables) == [("n", 50)]
        check_books(kept)


def test_closed_tables_refuse(kept: Ledger) -> None:
    """After `close` reading and writing say so; closing again does nothing."""
    tables = open_tables(kept.store)
    put(tables, "a", 1)
    tables.close()
    tables.close()
    with pytest.raises(StoreClosed, match="closed"):
        read(tables)
    with pytest.raises(StoreClosed, match="closed"):
        put(tables, "b", 1)


def test_a_fork_must_open_its_own_tables(kept: Ledger) -> None:
    """A forked child that uses its parent's tables is refused; the parent goes on."""
    (worker,) = start_all(("forked", kept.store.url), file=PROGRAMS)
    go(worker)
    told = result(worker)
    assert told["parent"] == {"read": "done", "write": "done"}
    assert told["child"].pop("close") == "done"
    assert all("forked" in sentence for sentence in told["child"].values()), told


def test_books_in_memory_share_their_tables(clock: ManualClock) -> None:
    """Whoever opens the tables of a store in memory has the same ones; other stores have others."""
    with open_ledger("memory:", clock=clock) as ledger, open_ledger("memory:") as stranger:
        with closing(open_tables(ledger.store)) as tables:
            put(tables, "a", 1)
        assert read(open_tables(ledger.store)) == [("a", 1)]
        assert read(open_tables(stranger.store)) == []


# One connection for the ledger and the tables beside it ------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with a budget and an open hold, and one connection that writes to all of it."""
    with open_ledger(STORES[request.param](tmp_path)) as ledger:
        ledger.set_budget("acme", limits=["10 usd total"])
        ledger.reserve("acme", 1, key="k", deadline="1h")
        yield ledger


def settle(ledger: Ledger, also: AlsoWrite | None = None) -> None:
    """Settle the open hold, and write beside it."""
    ledger.committer.submit(Settle("k", Amounts(3), also))


def write_beside(rows: Rows, _: Reservation) -> None:
    """Write a row in the transaction of an operation."""
    rows.run(PUT, "b", 1)


NESTED: dict[str, Callable[[Ledger, Tables], object]] = {
    "settle": lambda ledger, _: settle(ledger),
    "settle and write": lambda ledger, _: settle(ledger, write_beside),
    "write": lambda _, tables: put(tables, "b", 1),
}


@pytest.mark.parametrize("name", NESTED)
def test_a_write_within_a_write_is_refused_and_the_outer_one_goes_on(
    shared: Ledger, name: str
) -> None:
    """Neither waits for the other, and nothing of the outer one is kept before its end."""
    with closing(open_tables(shared.store)) as tables:

        def outer(rows: Rows) -> None:
            rows.run(PUT, "a", 1)
            with pytest.raises(StoreUnavailable, match="in the middle of a"):
                NESTED[name](shared, tables)
            assert shared.store.reservation("k") is not None
            rows.run(ADD, "a")

        tables.write("count", outer)
        assert read(tables) == [("a", 2)]
        with pytest.raises(ValueError, match="no"):
            tables.write("count", add_and_fail)
        assert read(tables) == [("a", 2)]
        settle(shared, write_beside)
        assert read(tables) == [("a", 2), ("b", 1)]
        check_books(shared)


def add_and_fail(rows: Rows) -> None:
    """Write, and raise."""
    rows.run(ADD, "a")
    raise ValueError("no")


@pytest.mark.parametrize("name", NESTED)
def test_a_write_within_an_operations_own_rows_is_refused(shared: Ledger, name: str) -> None:
    """It writes by the rows it is given; the operation is booked with them."""
    with closing(open_tables(shared.store)) as tables:

        def also(rows: Rows, _: Reservation) -> None:
            rows.run(PUT, "a", 1)
            with pytest.raises(StoreUnavailable, match="in the middle of a"):
                NESTED[name](shared, tables)
            rows.run(ADD, "a")

        settle(shared, also)
        assert read(tables) == [("a", 2)]
        assert shared.holds() == []
        check_books(shared)


def test_a_thread_that_writes_does_not_wait_for_one_that_waits_for_it(shared: Ledger) -> None:
    """An operation asked for within a write is refused, while another thread's waits for both."""
    with closing(open_tables(shared.store)) as tables:
        inside, asked = threading.Event(), threading.Event()

        def outer(rows: Rows) -> None:
            rows.run(PUT, "a", 1)
            inside.set()
            assert asked.wait(LAST_RESORT_S)
            for _ in range(100):
                with pytest.raises(StoreUnavailable, match="in the middle of a"):
                    shared.reserve("acme", 1)

        def other() -> None:
            assert inside.wait(LAST_RESORT_S)
            asked.set()
            settle(shared, write_beside)

        in_threads([lambda: tables.write("count", outer), other])
        assert read(tables) == [("a", 1), ("b", 1)]
        check_books(shared)


def test_whoever_wrote_last_reserves_while_another_thread_reads(shared: Ledger) -> None:
    """A write that ended leaves nothing that a later call of its thread would take for one."""
    with closing(open_tables(shared.store)) as tables:
        put(tables, "a", 1)
        begun, stop, failed = threading.Event(), threading.Event(), list[Exception]()

        def reading(rows: Rows) -> None:
            while not stop.is_set():
                # Long enough for the other thread to come in the middle of a statement.
                rows.run(LONG)
                begun.set()

        def reserving() -> None:
            assert begun.wait(LAST_RESORT_S)
            for _ in range(100):
                try:
                    shared.reserve("acme", "0.0001")
                except Exception as error:  # noqa: BLE001 - whatever it is
                    failed.append(error)
            stop.set()

        reader = threading.Thread(target=lambda: tables.read(reading), daemon=True)
        reader.start()
        reserving()
        reader.join(LAST_RESORT_S)
        assert not failed
        assert not reader.is_alive()
        check_books(shared)


def test_a_write_within_a_read_is_refused(tmp_path: Path) -> None:
    """Who opens a file anew waits for those that read it, who must not wait for him."""
    with (
        open_ledger(STORES["sqlite"](tmp_path)) as ledger,
        closing(open_tables(ledger.store)) as tables,
    ):
        ledger.set_budget("acme", limits=["10 usd total"])

        def reading(rows: Rows) -> object:
            for write in (lambda: put(tables, "a", 1), lambda: ledger.reserve("acme", 1)):
                with pytest.raises(StoreUnavailable, match="in the middle of a transaction"):
                    write()
            assert ledger.balances("acme")
            assert read(tables) == []
            return rows.run(READ)

        assert tables.read(reading) == []
        put(tables, "a", 1)
        ledger.reserve("acme", 1)


def test_an_error_in_a_nested_read_leaves_the_outer_read_as_it_was(shared: Ledger) -> None:
    """Only the outermost read ends the transaction; it goes on to see its own commit."""
    with closing(open_tables(shared.store)) as tables, closing(apart(shared, tables)) as other:

        def fail(rows: Rows) -> None:
            rows.run(READ)
            raise ValueError("no")

        def outer(rows: Rows) -> list[tuple[object, ...]]:
            assert rows.run(READ) == []
            with pytest.raises(ValueError, match="no"):
                tables.read(fail)
            with pytest.raises(StoreError, match="no such column"):
                tables.read(lambda inner: inner.run("SELECT missing FROM {schema}.nudge_mark"))
            if other is not tables:
                put(other, "a", 1)
            return rows.run(READ)

        assert tables.read(outer) == []
        put(tables, "b", 1)
        assert ("b", 1) in read(tables)


def apart(ledger: Ledger, tables: Tables) -> Tables:
    """Open the same tables as another program does, if there can be one."""
    return tables if ledger.store.url == "memory:" else tables_at(ledger.store.url)


def test_the_tables_of_a_file_open_no_connection(tmp_path: Path) -> None:
    """They use the ledger's, which stay open until the last of both is closed."""
    opened: list[apsw.Connection] = []
    apsw.connection_hooks.append(opened.append)
    try:
        with open_ledger(STORES["sqlite"](tmp_path)) as ledger:
            ledger.set_budget("acme", limits=["10 usd total"])
            before = len(opened)
            with closing(open_tables(ledger.store)) as tables:
                put(tables, "a", 1)
                assert read(tables) == [("a", 1)]
            ledger.reserve("acme", 1)
            left = open_tables(ledger.store)
            assert len(opened) == before
    finally:
        apsw.connection_hooks.remove(opened.append)
    with pytest.raises(StoreClosed):
        open_tables(ledger.store)
    put(left, "b", 2)
    left.close()
    assert not (tmp_path / "books.db-wal").exists()


def test_tables_make_no_books(tmp_path: Path) -> None:
    """The name of the store has no password, and tables are of a ledger that is there."""
    url = STORES["sqlite"](tmp_path)
    with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
        assert tables.name == url


# What was lost on its way -------------------------------------------------------------------------


@pytest.fixture
def proxy(doomed_postgres: PostgresServer) -> Iterator[TcpProxy]:
    """A line to the server that can be cut."""
    with TcpProxy(("127.0.0.1", doomed_postgres.port)) as made:
        yield made


def once(rows: Rows) -> str:
    """Write a row, unless it was written: how every user of the tables survives a repeat."""
    if rows.run("SELECT seq FROM {schema}.nudge_mark WHERE tree = 'op'"):
        return "found"
    rows.run(PUT, "op", 1)
    return "written"


CUTS = {
    "before the commit": (lambda: cut_within(b"COMMIT"), "written"),
    "after the commit": (lambda: cut_the_answer_to(b"COMMIT"), "found"),
}


@pytest.mark.parametrize("moment", CUTS)
def test_a_write_that_was_cut_off_is_done_once(
    moment: str, doomed_postgres: PostgresServer, proxy: TcpProxy, tmp_path: Path
) -> None:
    """Whether the commit was lost or only its answer: the work runs again and finds out."""
    cut, answer = CUTS[moment]
    url = doomed_postgres.url(schema=f"tables_{tmp_path.name.lower()}"[:63])
    with open_ledger(proxy.via(url)) as ledger, closing(open_tables(ledger.store)) as tables:
        assert read(tables) == []
        tables.write("count", lambda rows: rows.run(READ))
        proxy.judge = cut()
        assert tables.write("count", once) == answer
        assert proxy.cuts == 1
        assert read(tables) == [("op", 1)]


def test_a_connection_that_was_ended_is_made_again(tmp_path: Path) -> None:
    """A backend that an operator ends in the middle of a write or a read costs a repeat."""
    ended: list[str] = []

    def ending(what: str, then: Callable[[Rows], object]) -> Callable[[Rows], object]:
        def work(rows: Rows) -> object:
            if what not in ended:
                ended.append(what)
                rows.run("SELECT pg_terminate_backend(pg_backend_pid())")
            return then(rows)

        return work

    with both_tables(STORES["postgres"](tmp_path)) as (tables, _):
        tables.write("count", ending("write", once))
        found = tables.read(ending("read", lambda rows: rows.run(READ)))
    assert (ended, found) == (["write", "read"], [("op", 1)])
