"""The PostgreSQL store: the same books for many processes and hosts.

One connection writes (`earmark.stores.postgres_writer` decides and writes a batch), one reads, one
listens while somebody waits. A connection that is lost is made again, and what was asked is done
again under the same keys: what had been done answers as repeated.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar, Unpack

import psycopg

from earmark.budget.budget import Budget
from earmark.budget.fields import BudgetKind
from earmark.budget.path import ancestors
from earmark.clock import Clock
from earmark.errors import StoreUnavailable
from earmark.ledger.books import Books
from earmark.ledger.owner_process import OwnerProcess
from earmark.ledger.preview import preview
from earmark.ledger.store import Filter, PreviewOptions
from earmark.ledger.values import (
    Account,
    Alert,
    Amounts,
    Decision,
    Entry,
    Operation,
    Refused,
    Reservation,
)
from earmark.stores.migrations_postgres import prepare_postgres
from earmark.stores.postgres_batch import tree_of
from earmark.stores.postgres_clock import HostClock
from earmark.stores.postgres_errors import raise_from
from earmark.stores.postgres_link import Link
from earmark.stores.postgres_rows import PostgresRows
from earmark.stores.postgres_session import BEGIN_READING, connect, transaction
from earmark.stores.postgres_snapshot import PostgresSnapshot
from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.postgres_watch import PostgresWatch
from earmark.stores.postgres_writer import MOST_PRESUMED, Writer
from earmark.stores.tables_postgres import PostgresTables

T = TypeVar("T")
N = TypeVar("N", Entry, Reservation, Alert)

#: After which pauses it is looked whether those who write have finished: for twelve seconds, longer
#: than the server lets anybody keep a lock and say nothing.
LOOK_PAUSES_S: Final = (0.005,) * 100 + (0.1,) * 115


class PostgresStore:
    """Books in one schema of a PostgreSQL database; any thread may call."""

    def __init__(self, url: str, clock: Clock) -> None:
        """Open or make the books at *url*.

        Args:
            url: Where they are; its password is never shown.
            clock: Says when a migration was applied. The machine's own is compared with the
                server's, now and at each commit.
        """
        self.url = url
        """The URL, its password included: never shown."""
        self._url = PostgresUrl.parse(url)
        self._process = OwnerProcess()
        self._closed = False
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        host = HostClock(clock, self._url)
        self._writer = Writer(Link(self._url, host.check), self._url.schema, host)
        self._reader = Link(self._url)
        self._rows = PostgresRows(self._url.schema)
        self._rows.imagines = True
        self._watch = PostgresWatch(self._url)
        try:
            connection = self._writer.link.connection
            prepare_postgres(connection, self._url.schema, self.name, clock)
            self._writer.learn_head()
        except psycopg.Error as error:
            self._writer.link.drop()
            raise_from(error, self._url)
        except BaseException:
            self._writer.link.drop()
            raise

    @property
    def name(self) -> str:
        """The store's URL without a password."""
        return self._url.name

    @property
    def is_local(self) -> bool:
        """No: another program answers, maybe another host's."""
        return False

    def open_tables(self) -> PostgresTables:
        """Return the tables beside the ledger's, on connections of their own."""
        return PostgresTables(self.url)

    @property
    def is_in_transaction(self) -> bool:
        """Never: the tables beside have a connection of their own, for which nothing here waits."""
        return False

    # Writing --------------------------------------------------------------------------------------

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Decide and keep *batch* in one durable transaction; see `earmark.ledger.store.Store`.

        When the connection is lost, nobody knows whether the batch was committed: it is applied
        once more on a new one, where what was kept answers as repeated.
        """
        writer = self._writer
        if not batch and not self._read(lambda rows: rows.due_trees(max(now, writer.at))):
            # Whoever only reads sweeps first, and does not wait for a commit under way.
            return []
        with self._write_lock:
            self._check()
            return writer.link.retry(lambda: writer.apply(batch, now), writer.forget)

    def watch(self, trees: Collection[str], seen: int, patience_s: float) -> int:
        """Return a number other than *seen* once something was committed in *trees*."""
        self._check()
        return self._watch.wait(trees, seen, patience_s)

    # Reading --------------------------------------------------------------------------------------

    def heads(self) -> Mapping[str, int]:
        """Return the number of each tree's last entry: numbers are in order within a tree."""
        return self._read(lambda rows: rows.heads())

    def latest(self) -> int:
        """Return the instant of the latest entry of any tree; 0 without one."""
        return self._read(lambda rows: rows.head()[1])

    def accounts(self, path: str, now: int) -> tuple[Account, ...]:
        """Return the accounts above *path*, leaf first, in the intervals that contain *now*."""

        def read(rows: PostgresRows) -> tuple[Account, ...]:
            with transaction(self._reader.connection, BEGIN_READING):
                return Books(rows).accounts_of(path, max(now, rows.head()[1]))

        return self._read(read)

    def preview(
        self, path: str, amounts: Sequence[Amounts], now: int, **how: Unpack[PreviewOptions]
    ) -> list[Refused | None]:
        """Return why a reserve of each of *amounts* would be refused; see `Store`."""

        def read(rows: PostgresRows) -> list[Refused | None]:
            with transaction(self._reader.connection, BEGIN_READING):
                seq, last_at = rows.head()
                at = max(now, last_at)
                due = rows.due(tree_of(path), at, MOST_PRESUMED)
                try:
                    rows.fetch(ancestors(path), due, at)
                    return preview(rows, path, amounts, due=due, now=at, seq=seq, **how)
                finally:
                    rows.fetched_nothing()

        return self._read(read)

    def budget(self, path: str) -> Budget | None:
        """Return the budget at exactly *path*."""
        return self._read(lambda rows: rows.budget(path))

    def budgets(self, prefix: str | None, kind: BudgetKind | None = None) -> list[Budget]:
        """Return the budgets at or below *prefix*, by path; those of one *kind*, if given."""
        return self._read(lambda rows: rows.budgets(prefix, kind))

    def reservation(self, key: str) -> Reservation | None:
        """Return what *key* opened."""
        return self._read(lambda rows: rows.reservation(key))

    def reservations(self, query: Filter) -> list[Reservation]:
        """Return matching reservations in the order they were opened."""
        return self._in_order(query, lambda rows: list(rows.reservations(query)))

    def entries(self, query: Filter) -> list[Entry]:
        """Return matching entries in the order of commits."""
        return self._in_order(query, lambda rows: list(rows.entries(query)))

    def alerts(self, query: Filter) -> list[Alert]:
        """Return the alerts of matching budgets in the order of commits."""
        return self._in_order(query, lambda rows: list(rows.alerts(query)))

    def snapshot(self) -> PostgresSnapshot:
        """Return everything as of one commit, on a connection of its own."""
        self._check()
        return PostgresSnapshot(connect(self._url), self._url)

    def close(self) -> None:
        """Close the connections; everything acknowledged is already durable."""
        if not self._process.is_this:
            return
        with self._write_lock, self._read_lock:
            self._closed = True
            self._writer.link.drop()
            self._reader.drop()
            self._watch.close()

    def _in_order(self, query: Filter, read: Callable[[PostgresRows], list[N]]) -> list[N]:
        """Return what *read* finds; if *query* is complete, up to where nothing else can appear.

        Each tree takes its numbers under its own lock, so a number may be there to be read before a
        lower one of another tree: who went on after it would never see the lower one. Within one
        tree, numbers are in the order of commits.
        """
        if not query.complete or query.budget is not None or query.key is not None:
            return self._read(read)
        last = self._last_complete()
        return [each for each in self._read(read) if each.seq <= last]

    def _last_complete(self) -> int:
        """Return a number up to which everything that was ever numbered is there to be read."""
        last = self._read(PostgresRows.last_number)
        # Who begins later takes higher numbers.
        waited_for = self._read(PostgresRows.writers)
        pause = threading.Event()
        for pause_s in LOOK_PAUSES_S:
            if not waited_for:
                return last
            pause.wait(pause_s)
            waited_for &= self._read(PostgresRows.writers)
        detail = "somebody writes to the books and does not finish: ask again, or for one budget"
        raise StoreUnavailable(store=self.name, detail=detail)

    def _read(self, work: Callable[[PostgresRows], T]) -> T:
        def attempt() -> T:
            self._rows.connection = self._reader.connection
            return work(self._rows)

        with self._read_lock:
            self._check()
            return self._reader.retry(attempt)

    def _check(self) -> None:
        self._process.check(self.name, closed=self._closed)
