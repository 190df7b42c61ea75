"""The SQLite store: one file, durable through a power cut, shared by the processes of one machine.

A commit is: acquire the writer lock (a lock file, so that processes alternate instead of starving),
begin, find out whether another program wrote, decide the batch in Python, write each changed row
once, commit with `synchronous=FULL`, and only then answer. `earmark.stores.sqlite_engine` does what
any transaction does; here is what the ledger knows of its rows between two of them.
"""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar, Unpack

from earmark.budget.budget import Budget
from earmark.budget.fields import BudgetKind
from earmark.errors import StoreClosed, StoreCorrupt
from earmark.ledger.books import Books
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
    Reserve,
)
from earmark.stores.migrations_sqlite import schema_number, sqlite_schema_state
from earmark.stores.sqlite_engine import SqliteEngine
from earmark.stores.sqlite_errors import translated
from earmark.stores.sqlite_rows import SqliteRows
from earmark.stores.sqlite_snapshot import SqliteSnapshot
from earmark.stores.sqlite_writer_lock import PATIENCE_S
from earmark.stores.tables import write_also
from earmark.stores.tables_sqlite import SqliteTableRows, SqliteTables

#: Deadlines that pass at one time are presumed in pieces, so that no commit grows without bound.
MOST_PRESUMED: Final = 1000
#: How often the file is read while somebody waits for another process's commit: it is one page.
POLL_S: Final = 0.05

T = TypeVar("T")


class SqliteStore:
    """The ledger in a file; any thread may call."""

    def __init__(
        self, path: str | Path, *, vfs: str | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        """Open or make the file at *path*, through the SQLite VFS *vfs* if one is named.

        *patience_s* is how long it waits for another process that may write.
        """
        self._is_closed = False
        self._acknowledged = 0
        """The number of the last entry that was acknowledged to a caller here."""
        self._engine = SqliteEngine(path, self, opened=self._use, vfs=vfs, patience_s=patience_s)

    def _use(self, engine: SqliteEngine) -> None:
        """Read by the connections of *engine*, which has opened the file; forget everything else.

        Raises:
            StoreCorrupt: Entries are missing that were acknowledged.
        """
        self._writer = engine.writer
        self._rows = SqliteRows(engine.writer)
        self._table_rows = SqliteTableRows(engine.writer)
        self._books = Books(self._rows)
        self._data_version = -1
        self._last_at = 0
        self._next_due = 0
        self._read_rows = SqliteRows(engine.reader)
        self._schema = schema_number(engine.writer)
        last, _ = self._rows.head()
        if last < self._acknowledged:
            detail = (
                f"the file ends with entry {last}, but entry {self._acknowledged} was acknowledged:"
                " its log was removed or an old file put in its place; restore the newest copy"
            )
            raise StoreCorrupt(store=engine.name, detail=detail)

    @property
    def name(self) -> str:
        """The store's URL."""
        return self._engine.name

    @property
    def is_local(self) -> bool:
        """Yes: it is a file."""
        return True

    @property
    def url(self) -> str:
        """The store's URL with an absolute path; there is no password in it."""
        return f"sqlite:///{self._engine.path}"

    def open_tables(self) -> SqliteTables:
        """Return the tables beside the ledger's, on the same connections; the caller closes them.

        Raises:
            StoreClosed: The store was closed.
        """
        self._check_open()
        return SqliteTables(self._engine)

    # Writing --------------------------------------------------------------------------------------

    @property
    def is_in_transaction(self) -> bool:
        """Whether the calling thread is in a transaction, here or in the tables beside."""
        return self._engine.is_in_transaction

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Decide and keep *batch* in one durable transaction; see `earmark.ledger.store.Store`.

        After a failed commit the batch is applied once more, where what was kept answers as
        repeated.
        """
        if self._is_closed:
            self._check_open()
        if not batch and not self._read(lambda rows: rows.is_due(now)):
            # Whoever only reads sweeps first, and does not wait for a commit under way.
            return []
        return self._engine.transaction(
            lambda: self._decide(batch, now), self._committed, self._undone, is_numbered=True
        )

    def _committed(self) -> None:
        # The connection's own number, not the file's: what others commit from here on counts.
        self._data_version = self._writer.data_version()
        self._books.written()
        self._acknowledged = self._books.seq

    def _undone(self) -> None:
        self._data_version = -1
        self._books.forget()
        self._rows.fetched_nothing()

    def _decide(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        books = self._books
        if self._writer.data_version() != self._data_version:
            self._catch_up()
        if now < self._last_at:  # noqa: PLR1730 - a call costs more than the comparison
            now = self._last_at
        if now >= self._next_due:
            self._presume_due(now)
        if len(batch) > 1:
            self._rows.fetch([op.key for op in batch if type(op) is Reserve])
        apply = books.apply
        decisions = [apply(operation, now) for operation in batch]
        if len(batch) > 1:
            self._rows.fetched_nothing()
        changes = books.changes
        if changes.entries or changes.operations:
            self._rows.write(changes, books.unwritten)
            self._last_at = now if changes.entries else self._last_at
            for row in changes.reservations.values():
                if row.state == "open" and row.expires < self._next_due:
                    self._next_due = row.expires
        write_also(batch, decisions, self._table_rows)
        return decisions

    def _catch_up(self) -> None:
        """Forget what was read before somebody else wrote entries.

        Each change of the ledger's rows adds an entry with a higher number, so that the last one
        says whether the working set is still true: a write to the tables beside the ledger's leaves
        it so. After a rollback the working set is empty, and its number 0.
        """
        migrated = self._is_migrated()
        head = self._rows.head()
        if migrated or head != (self._books.seq, self._last_at):
            self._books.forget()
            self._books.seq, self._last_at = head
            self._rows.learn_highest()
            self._next_due = 0

    def _is_migrated(self) -> bool:
        """Return whether another program has changed the tables since the file was opened.

        Raises:
            SchemaMismatch: In a way of which this program would leave something out of its sums.
        """
        number = schema_number(self._writer)
        if number == self._schema:
            return False
        sqlite_schema_state(self._writer, self.name).check_known(self.name)
        self._schema = number
        return True

    def _presume_due(self, now: int) -> None:
        """Presume what is past its deadline; asks the file, for something can be."""
        due = self._rows.due(now, MOST_PRESUMED)
        self._books.presume(due, now)
        more = len(due) == MOST_PRESUMED
        self._next_due = now if more else self._rows.next_due(now)

    def watch(self, trees: Collection[str], seen: int, patience_s: float) -> int:
        """Return SQLite's own change counter, once it is not *seen* any more; polls it."""
        del trees
        pause = threading.Event()
        polls = 1 + int(patience_s / POLL_S)
        while (found := self._changes()) == seen and polls > 0:
            polls -= 1
            pause.wait(POLL_S)
        return found

    def _changes(self) -> int:
        """Return a number that moves when any process commits, this one included."""
        return self._read(lambda _: int(str(self._engine.reader.pragma("data_version"))))

    # Reading --------------------------------------------------------------------------------------

    def heads(self) -> Mapping[str, int]:
        """Return the number of the last entry: one order holds for all."""
        return self._read(lambda rows: {"": rows.head()[0]})

    def latest(self) -> int:
        """Return the instant of the last entry; 0 without one."""
        return self._read(lambda rows: rows.head()[1])

    def accounts(self, path: str, now: int) -> tuple[Account, ...]:
        """Return the accounts above *path*, leaf first, in the intervals that contain *now*."""

        def read(rows: SqliteRows) -> tuple[Account, ...]:
            return Books(rows).accounts_of(path, max(now, rows.head()[1]))

        return self._read(read, as_of_one_commit=True)

    def preview(
        self, path: str, amounts: Sequence[Amounts], now: int, **how: Unpack[PreviewOptions]
    ) -> list[Refused | None]:
        """Return why a reserve of each of *amounts* would be refused; see `Store`."""

        def read(rows: SqliteRows) -> list[Refused | None]:
            seq, last_at = rows.head()
            at = max(now, last_at)
            due = rows.due(at, MOST_PRESUMED)
            return preview(rows, path, amounts, due=due, now=at, seq=seq, **how)

        return self._read(read, as_of_one_commit=True)

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
        return self._read(lambda rows: list(rows.reservations(query)))

    def entries(self, query: Filter) -> list[Entry]:
        """Return matching entries in the order of commits."""
        return self._read(lambda rows: list(rows.entries(query)))

    def alerts(self, query: Filter) -> list[Alert]:
        """Return the alerts of matching budgets in the order of commits."""
        return self._read(lambda rows: list(rows.alerts(query)))

    def snapshot(self) -> SqliteSnapshot:
        """Return everything as of one commit, on a connection of its own."""
        self._check_open()
        file = self._engine.open_reader()
        with translated(self.name):
            file.reader.execute("BEGIN")
        return SqliteSnapshot(file.reader, self.name, file)

    def _read(self, work: Callable[[SqliteRows], T], *, as_of_one_commit: bool = False) -> T:
        self._check_open()
        return self._engine.read(
            lambda: work(self._read_rows), as_of_one_commit=as_of_one_commit, is_numbered=True
        )

    def close(self) -> None:
        """Let go of the file; everything acknowledged is already durable."""
        self._is_closed = True
        self._engine.close(self)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed(store=self.name, detail="closed")
