"""A session of PostgreSQL is not the ledger's alone: others set it up, and may change it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from earmark.clock import NANOS_PER_SECOND, SystemClock
from earmark.errors import EarmarkError, InputError, StoreUnavailable
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.postgres import PostgresStore
from earmark.stores.postgres_link import Link
from support.last_resort import until
from support.ledger_books import check_books, standing
from support.pgbouncer import PgBouncer
from support.postgres_locks import locked, waiters
from support.postgres_server import DATABASE, USER, PostgresServer

PEOPLE: Final = "Zoë 🐘 Ωmega"


@pytest.fixture
def server(doomed_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that a test may configure; it has its own configuration again afterwards."""
    yield doomed_postgres
    if not doomed_postgres.running:
        doomed_postgres.start()
    with doomed_postgres.connect() as connection:
        connection.execute("ALTER SYSTEM RESET ALL")
        connection.execute(f"ALTER DATABASE {DATABASE} RESET ALL".encode())
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(params=["direct", "pooled"])
def url(request: pytest.FixtureRequest, server: PostgresServer, tmp_path: Path) -> Iterator[str]:
    """Books of the test's own, reached directly or through PgBouncer in transaction mode."""
    url = server.url(schema=f"session_{tmp_path.name.lower()}"[:63])
    if request.param == "direct":
        yield url
    else:
        with PgBouncer(server, pool=1) as pool:
            yield pool.via(url)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """An open ledger in which every kind of statement was used often enough to be prepared."""
    with open_ledger(url) as opened:
        for number in range(6):
            use(opened, f"warm{number}")
        yield opened


def use(ledger: Ledger, name: str) -> None:
    """Do everything once on a budget of its own, and see that it was done."""
    ledger.set_budget(name, limits=["10 usd total"], actor=PEOPLE)
    ledger.reserve(name, 4, key=f"{name}-é", labels={"who": PEOPLE})
    ledger.extend(f"{name}-é", 1)
    ledger.pause(name, reason=PEOPLE)
    ledger.resume(name)
    ledger.reserve(name, 3, key=f"{name}-2")
    ledger.presume(f"{name}-2")
    ledger.settle(f"{name}-é", 2)
    assert standing(ledger, name) == ("10", "5", "0", "5")
    kinds = " ".join(entry.kind for entry in ledger.entries(name))
    assert kinds == "limit reserve extend pause resume reserve presume settle"
    assert ledger.reservation(f"{name}-é").key == f"{name}-é"


def links(ledger: Ledger) -> tuple[Link, Link]:
    """Return what the ledger writes and reads through."""
    assert isinstance(ledger.store, PostgresStore)
    return ledger.store._writer.link, ledger.store._reader


def reload(server: PostgresServer, ledger: Ledger, **settings: str) -> None:
    """Configure the server with *settings*; return when the ledger's sessions have heard of it."""
    before = [loaded(link) for link in links(ledger)]
    with server.connect() as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
        connection.execute("SELECT pg_reload_conf()")
    for link, then in zip(links(ledger), before, strict=True):
        until(lambda: loaded(link) not in {then, None})  # noqa: B023


def loaded(link: Link) -> str | None:
    """Return when the session read the server's configuration; nothing if it is refused now."""
    try:
        row = link.connection.execute("SELECT pg_conf_load_time()::text").fetchone()
    except StoreUnavailable:
        return None
    return row[0] if row else None


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_transaction_that_was_rolled_back_is_done_again(
    ledger: Ledger, server: PostgresServer, url: str, how: str
) -> None:
    """Cancelled or ended in the middle, waiting for a lock: done once, and all goes on after it."""
    ledger.set_budget("acme", limits=["10 usd total"])
    ledger.reserve("acme", 1, key="x")
    with ThreadPoolExecutor(1) as threads:
        with locked(server, url.partition("schema=")[2], "acme") as holder:
            asked: Future[Any] = threads.submit(ledger.extend, "x", 1)
            until(lambda: bool(waiters(holder)))
            for pid in waiters(holder):
                holder.execute(f"SELECT {how}(%s)".encode(), (pid,))
        assert str(asked.result().amount) == "2"
    assert [entry.kind for entry in ledger.entries("acme")] == ["limit", "reserve", "extend"]
    use(ledger, "after")
    check_books(ledger)


CHANGES: Final = (
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "RESET ALL",
    "BEGIN",
    "SET client_encoding = 'LATIN1'",
    "SET synchronous_commit = off",
    "SET search_path = nowhere",
    "SET default_transaction_isolation = 'serializable'",
    "SET TimeZone = 'Pacific/Chatham'; SET DateStyle = 'German, DMY'",
)


@pytest.mark.parametrize("url", ["direct"], indirect=True)
@pytest.mark.parametrize("change", CHANGES)
def test_a_session_that_somebody_changed_is_mended(ledger: Ledger, change: str) -> None:
    """Its statements dropped, its settings changed, left in a transaction: all works on."""
    for link in links(ledger):
        link.connection.pgconn.exec_(change.encode())
    use(ledger, "after")
    check_books(ledger)


SETTINGS: Final = {
    "client_encoding": "'LATIN1'",
    "search_path": "nowhere",
    "array_nulls": "off",
    "default_transaction_isolation": "'serializable'",
    "TimeZone": "'Pacific/Chatham'",
    "DateStyle": "'German, DMY'",
    "IntervalStyle": "'sql_standard'",
    "standard_conforming_strings": "on",
    "extra_float_digits": "-15",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
}


@pytest.mark.parametrize("asked", ["while it runs", "for new sessions"])
def test_how_a_server_is_set_up_makes_no_difference(
    ledger: Ledger, server: PostgresServer, asked: str
) -> None:
    """What the server or the database would have of its sessions, they do not have here."""
    if asked == "while it runs":
        reload(server, ledger, **SETTINGS)
    else:
        with server.connect() as connection:
            for name, value in SETTINGS.items():
                connection.execute(f"ALTER DATABASE {DATABASE} SET {name} = {value}".encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (USER,)
            )
    use(ledger, "after")
    tables = open_tables(ledger.store)
    insert = "INSERT INTO {schema}.quilt_patches VALUES (?, 'n', ?, 1, ?, 0, 0)"
    tables.write("quilt", lambda rows: rows.run(insert, PEOPLE, "{}", PEOPLE))
    read = "SELECT type, author FROM {schema}.quilt_patches WHERE type = ?"
    assert tables.read(lambda rows: rows.run(read, PEOPLE)) == [(PEOPLE, PEOPLE)]
    tables.close()
    check_books(ledger)


@pytest.mark.parametrize("url", ["direct"], indirect=True)
def test_a_server_that_only_reads_for_a_while_is_waited_for(
    ledger: Ledger, server: PostgresServer
) -> None:
    """It is refused with the reason, and taken again once it writes; nothing is overruled."""
    reload(server, ledger, default_transaction_read_only="on")
    with pytest.raises(StoreUnavailable, match="only reads"):
        ledger.reserve("warm0", 1)
    reload(server, ledger, default_transaction_read_only="off")
    use(ledger, "after")


# What was acknowledged is kept -------------------------------------------------------------------


def test_a_commit_is_kept_also_where_the_server_would_not_wait_for_it(
    ledger: Ledger, server: PostgresServer
) -> None:
    """`synchronous_commit` is switched off under a live ledger, and the server dies."""
    tables = open_tables(ledger.store)
    insert = "INSERT INTO {schema}.quilt_patches VALUES ('kept', ?, '{}', 1, '', 0, 0)"
    tables.write("quilt", lambda rows: rows.run(insert, "a"))
    reload(server, ledger, synchronous_commit="off", wal_writer_delay="10000")
    keys = [ledger.reserve("warm0", "0.01").key for _ in range(25)]
    tables.write("quilt", lambda rows: rows.run(insert, "b"))
    server.kill()
    server.start()
    with server.connect() as connection:
        connection.execute("ALTER SYSTEM RESET ALL")
        connection.execute("SELECT pg_reload_conf()")
    until(lambda: is_on(server, "synchronous_commit"))
    assert [ledger.reservation(key).state for key in keys] == ["open"] * 25
    kept = "SELECT name FROM {schema}.quilt_patches WHERE type = 'kept' ORDER BY name"
    assert tables.read(lambda rows: rows.run(kept)) == [("a",), ("b",)]
    tables.close()
    check_books(ledger)


def is_on(server: PostgresServer, setting: str) -> bool:
    """Return whether new sessions have *setting* on."""
    with server.connect() as connection:
        return connection.execute(f"SHOW {setting}".encode()).fetchone() == ("on",)


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_becomes_forgetful_gets_no_more_commits(
    ledger: Ledger, server: PostgresServer, setting: str
) -> None:
    """Switched off under a live ledger: a commit is refused with the reason, and not made."""
    before = len(ledger.entries())
    tables = open_tables(ledger.store)
    insert = "INSERT INTO {schema}.quilt_patches VALUES ('kept', ?, '{}', 1, '', 0, 0)"
    tables.write("quilt", lambda rows: rows.run(insert, "before"))
    reload(server, ledger, **{setting: "off"})
    for refused in (
        lambda: ledger.reserve("warm0", 1, key="x"),
        lambda: ledger.pause("warm0"),
        lambda: tables.write("quilt", lambda rows: rows.run(insert, "x")),
    ):
        with pytest.raises(StoreUnavailable, match=f"the server has {setting} off"):
            refused()
    reload(server, ledger, **{setting: "on"})
    assert len(ledger.entries()) == before
    tables.write("quilt", lambda rows: rows.run(insert, "x"))
    tables.close()
    use(ledger, "after")


# Time --------------------------------------------------------------------------------------------


class Stepped(SystemClock):
    """The machine's clock, which somebody sets."""

    minutes = 0

    def instant(self) -> int:
        """Return the time it was set to."""
        return super().instant() + self.minutes * 60 * NANOS_PER_SECOND

    def uptime(self) -> int:
        """Return a time that is as wrong: only the server can tell."""
        return super().uptime() + self.minutes * 60 * NANOS_PER_SECOND


@pytest.mark.parametrize(("minutes", "words"), [(6, "ahead of"), (-6, "behind")])
def test_a_clock_that_is_set_wrong_while_it_runs_reaches_no_entry(
    url: str, minutes: int, words: str
) -> None:
    """More than five minutes from the server's: refused with the reason, until it is set right."""
    clock = Stepped()
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        ledger.reserve("acme", "0.1", key="first")
        asked: list[Callable[[], object]] = [
            lambda: ledger.reserve("acme", "0.1", key="x"),
            lambda: ledger.extend("first", "0.1"),
            lambda: ledger.pause("acme"),
        ]
        clock.minutes = minutes
        for each in asked:
            with pytest.raises(StoreUnavailable, match=f"clock is .* {words} the server's"):
                each()
        clock.minutes = minutes * 2 // 3
        assert [entry.kind for entry in ledger.entries()] == ["limit", "reserve"]
        for each in asked:
            each()
        check_books(ledger)


# Text --------------------------------------------------------------------------------------------


def test_a_database_without_an_encoding_will_do(server: PostgresServer) -> None:
    """`SQL_ASCII` keeps the bytes it is given: every character comes back."""
    with made(server, "SQL_ASCII") as url, open_ledger(url) as ledger:
        for number in range(4):
            use(ledger, f"b{number}")
        check_books(ledger)


def test_a_database_that_cannot_hold_every_character_is_refused(server: PostgresServer) -> None:
    """In one sentence, before anything is made in it."""
    with made(server, "LATIN1") as url, pytest.raises(StoreUnavailable, match="text in LATIN1"):
        open_ledger(url)


@contextmanager
def made(server: PostgresServer, encoding: str) -> Iterator[str]:
    """Make a database in *encoding*; give the URL of books in it."""
    name = f"in_{encoding.lower()}"
    with server.connect() as connection:
        create = f"CREATE DATABASE {name} OWNER {USER} ENCODING '{encoding}'"
        connection.execute(f"{create} TEMPLATE template0".encode())
        yield server.url(schema="books").replace(f"/{DATABASE}?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.parametrize("text", ["a\0", "a\ud800"], ids=["NUL", "half a character"])
def test_a_text_that_cannot_be_kept_is_not_taken_for_an_outage(ledger: Ledger, text: str) -> None:
    """It is refused at once, as the caller's: the connections stay, and nobody waits for more."""
    writer, reader = (link.connection for link in links(ledger))
    store = ledger.store
    tables = open_tables(store)
    for refused in (
        lambda: store.reservation(text),
        lambda: store.budgets(text),
        lambda: tables.read(lambda rows: rows.run("SELECT ?", text)),
        lambda: tables.write("x", lambda rows: rows.run("SELECT ?", text)),
    ):
        with pytest.raises(EarmarkError) as caught:
            refused()
        assert isinstance(caught.value, InputError)
    tables.close()
    assert (writer, reader) == tuple(link.connection for link in links(ledger))
