"""What a PostgreSQL server must be before it may keep the books, and what is said if it is not."""

import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from earmark.clock import NANOS_PER_SECOND, SystemClock
from earmark.errors import BudgetExceeded, EarmarkError, StoreError, StoreUnavailable
from earmark.stores.open import open_ledger
from earmark.stores.postgres import PostgresStore
from earmark.stores.postgres_session import DURABLE, TIMEOUTS
from support.pgbouncer import PgBouncer
from support.postgres_programs import free_port
from support.postgres_server import PostgresServer
from support.postgres_session import fresh_url, password_of


class Wrong(SystemClock):
    """The machine's clock, some minutes ahead or behind."""

    def __init__(self, minutes: int) -> None:
        self.minutes = minutes

    def instant(self) -> int:
        """Return the wrong time."""
        return super().instant() + self.minutes * 60 * NANOS_PER_SECOND


@pytest.fixture
def server(doomed_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server whose settings a test may change; it has the safe ones again afterwards."""
    yield doomed_postgres
    doomed_postgres.restart(**dict.fromkeys(DURABLE, "on"), default_transaction_read_only="off")


def said_by(url: str) -> str:
    """Return the refusal to open *url*, and check that nothing of it has the password."""
    password = url.partition("://")[2].partition("@")[0].partition(":")[2]
    with pytest.raises(EarmarkError) as caught:
        open_ledger(url)
    told = "".join(traceback.format_exception(caught.value))
    assert password == "" or password not in told + repr(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("setting", DURABLE)
def test_a_server_that_may_forget_is_refused(server: PostgresServer, setting: str) -> None:
    """With any of the three settings off, the books do not open; unless a test says so."""
    server.restart(**{setting: "off"})
    assert f"the server has {setting} off" in said_by(server.url(schema=f"without_{setting}"))
    with open_ledger(server.url(schema=f"without_{setting}", unsafe="test")) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        assert ledger.reserve("acme", 1).state == "open"


def test_a_server_that_only_reads_is_refused(server: PostgresServer) -> None:
    """A replica's sentence says to use the server that writes."""
    server.restart(default_transaction_read_only="on")
    assert "only reads" in said_by(server.url(schema="readonly"))


def test_nobody_waits_for_ever(postgres: object, tmp_path: Path) -> None:
    """The writing connection gives up on locks, on statements, and on being idle in the middle."""
    del postgres
    with open_ledger(fresh_url(tmp_path)) as ledger:
        store = ledger.store
        assert isinstance(store, PostgresStore)
        connection = store._writer.link.connection
        for name, millis in TIMEOUTS.items():
            query = "SELECT setting::int FROM pg_settings WHERE name = %s"
            assert connection.execute(query, (name,)).fetchone() == (millis,)


def test_a_wrong_password_is_said_without_it(tmp_path: Path) -> None:
    """The sentence names the place and the cause; the password is in no part of the error."""
    url = fresh_url(tmp_path)
    good = password_of(url)
    told = said_by(url.replace(good, "not-the-password"))
    assert "does not let this user in" in told


def test_what_cannot_be_reached_is_said() -> None:
    """No server, no database, no TLS: each in a sentence of its own."""
    gone = f"postgresql://ada:hush-hush@127.0.0.1:{free_port()}/books"
    assert "refused" in said_by(gone)


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    """The sentence says to make the database or to correct the URL."""
    url = urlsplit(fresh_url(tmp_path))
    assert "no such database" in said_by(urlunsplit(url._replace(path="/nobooks")))


@pytest.mark.parametrize(("minutes", "words"), [(6, "ahead of"), (-6, "behind")])
def test_a_host_whose_clock_is_wrong_is_refused(tmp_path: Path, minutes: int, words: str) -> None:
    """More than five minutes from the server's it does not start; it would turn all windows."""
    url, clock = fresh_url(tmp_path), Wrong(minutes)
    with pytest.raises(StoreUnavailable, match=rf"clock is 3(59|60) s {words} the server's"):
        open_ledger(url, clock=clock)
    clock.minutes = minutes * 2 // 3
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])


def test_tls_is_asked_for_as_the_url_says(tmp_path: Path) -> None:
    """`sslmode=require` is not silently dropped: a server without TLS does not get in."""
    assert "SSL" in said_by(f"{fresh_url(tmp_path)}&sslmode=require")
    with open_ledger(f"{fresh_url(tmp_path)}&sslmode=disable") as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])


def test_nothing_shows_the_password_later(tmp_path: Path) -> None:
    """Neither the open ledger nor an error of its store has the password."""
    url = fresh_url(tmp_path)
    password = password_of(url)
    ledger = open_ledger(url)
    shown = [repr(ledger), repr(ledger.store), ledger.store.name]
    ledger.close()
    with pytest.raises(StoreError) as caught:
        ledger.reserve("acme", 1)
    shown.append("".join(traceback.format_exception(caught.value)))
    assert not [text for text in shown if password in text]


def test_a_pooler_in_transaction_mode_will_do(
    doomed_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Behind PgBouncer, with two connections for three ledgers, the books are the same."""
    del tmp_path
    with PgBouncer(doomed_postgres, pool=2) as pool:
        url = pool.via(doomed_postgres.url(schema="pooled"))
        with open_ledger(url) as one, open_ledger(url) as two:
            one.set_budget("acme", limits=["10.50 usd total"])
            for n in range(10):
                (one, two)[n % 2].reserve("acme", 1, key=f"k{n}")
            with pytest.raises(BudgetExceeded):
                two.reserve("acme", 1)
            for n in range(10):
                (two, one)[n % 2].settle(f"k{n}", "0.5")
            # Woken from the other ledger, though nothing is notified through a pool.
            held = one.reserve("acme", "5.5", key="all")
            one.release(held.key)
            assert two.reserve("acme", "5.5", wait="10min").state == "open"
            assert one.audit().ok
