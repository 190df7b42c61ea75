"""The SQLite store: one file, durable through a power cut, shared by the processes of one machine.

A commit is: take the turn (a lock file, so that processes alternate instead of starving), begin,
look whether somebody else wrote, decide the batch in Python, write each changed row once, commit
with `synchronous=FULL`, and only then answer.
"""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import apsw

from earmark.budget.budget import Budget
from earmark.clock import SystemClock
from earmark.errors import StoreClosed, StoreCorrupt, StoreError
from earmark.ledger.books import Books
from earmark.ledger.preview import preview
from earmark.ledger.store import Filter
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
from earmark.stores.migrations_sqlite import prepare_sqlite, schema_number, sqlite_standing
from earmark.stores.regular_file import check_regular
from earmark.stores.sqlite_errors import raise_translated, translated
from earmark.stores.sqlite_file import Identity, SqliteFile, real_path
from earmark.stores.sqlite_rows import SqliteRows
from earmark.stores.sqlite_snapshot import SqliteSnapshot
from earmark.stores.sqlite_turn import PATIENCE_S, Turn
from earmark.stores.tables import write_also
from earmark.stores.tables_sqlite import SqliteTableRows

#: Deadlines that pass at one time are presumed in pieces, so that no commit grows without bound.
MOST_PRESUMED: Final = 1000
#: How often the file is looked at while somebody waits for another process: a read of one page.
LOOK_EVERY_S: Final = 0.05

T = TypeVar("T")

# The WAL stays short because each commit checkpoints past 1,000 pages: a background checkpointer
# let it grow to hundreds of megabytes. No mmap_size: several processes write.
_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA cache_size = -65536",
    "PRAGMA foreign_keys = ON",
)


class SqliteStore:
    """One writing and one reading connection to a file; any thread may call."""

    def __init__(
        self, path: str | Path, *, vfs: str | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        """Open or make the file at *path*, through the SQLite VFS *vfs* if one is named.

        *patience_s* is how long it waits for another process that has the turn to write.
        """
        self._path = str(Path(path))
        # Where it is now: a relative path means another file once the process changes its folder.
        self._url = f"sqlite:///{os.path.abspath(path)}"  # noqa: PTH100 - a link stays one
        self._patience_s = patience_s
        self._vfs = vfs
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        self._process = os.getpid()
        self._closed = False
        self._acknowledged = 0
        """The number of the last entry of which a caller here was told."""
        self._broken = True
        with translated(self.name):
            self._open(None)

    def _open(self, same_as: Identity | None) -> None:
        """Open the file, which is *same_as* the one that was open before."""
        path = self._url.removeprefix("sqlite:///")
        if Path(path).is_dir():
            raise IsADirectoryError(f"{self._path} is a folder")
        check_regular(real_path(path))
        # A folder that is missing or read-only is found here, before SQLite's vaguer words.
        self._turn = Turn(real_path(path), self.name, patience_s=self._patience_s)
        try:
            with self._turn:
                self._file = SqliteFile(
                    path,
                    self.name,
                    prepare=lambda made: prepare_sqlite(made, self.name, SystemClock()),
                    pragmas=_PRAGMAS,
                    vfs=self._vfs,
                    same_as=same_as,
                )
                self._reader, self._writer = self._file.reader, self._file.writer
                # What a program wrote before it or its disk failed is found in the log, and may be
                # on no disk yet: it is synced before a repeat is answered by it.
                self._writer.pragma("wal_checkpoint")
        except BaseException:
            self._turn.close()
            raise
        # One cursor for all: a connection makes a new one for each statement.
        self._write = self._writer.cursor().execute
        self._rows = SqliteRows(self._writer)
        self._table_rows = SqliteTableRows(self._writer)
        self._books = Books(self._rows)
        self._seen = -1
        self._last_at = 0
        self._next_due = 0
        self._read_rows = SqliteRows(self._reader)
        self._schema = schema_number(self._writer)
        self._check_nothing_lost()
        self._broken = False

    def _check_nothing_lost(self) -> None:
        last, _ = self._rows.head()
        if last < self._acknowledged:
            detail = (
                f"the file ends with entry {last}, but entry {self._acknowledged} was acknowledged:"
                " its log was removed or an old file put in its place; restore the newest copy"
            )
            raise StoreCorrupt(store=self.name, detail=detail)

    @property
    def name(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self._path}"

    @property
    def url(self) -> str:
        """The store's URL with an absolute path; there is no password in it."""
        return self._url

    # Writing --------------------------------------------------------------------------------------

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Decide and keep *batch* in one durable transaction; see `earmark.ledger.store.Store`.

        After a failed commit nobody knows what the disk holds: the file is opened anew and the
        batch applied once more, where what was kept answers as repeated. After an interrupt at
        whatever line, it is opened anew by the next call.
        """
        if self._process != os.getpid():
            self._check_process()
        if not batch and not self._read(lambda rows: rows.is_due(now)):
            # Whoever only reads sweeps first, and does not wait for a commit under way.
            return []
        with self._write_lock:
            if self._closed:
                self._check_open()
            try:
                if self._broken or self._file.is_lost:
                    self._mend()
                return self._transaction(batch, now)
            except apsw.IOError as error:
                self._broken = True
                try:
                    self._mend()
                    return self._transaction(batch, now)
                except (apsw.Error, OSError, StoreError):
                    self._broken = True
                    raise_translated(error, self.name)
            except (apsw.Error, OSError) as error:
                self._file.check()
                raise_translated(error, self.name)
            except BaseException as error:
                self._broken = self._broken or not isinstance(error, Exception)
                raise

    def _transaction(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        try:
            self._turn.take()
            self._file.check()
            self._write("BEGIN IMMEDIATE")
            decisions = self._decide(batch, now)
            write_also(batch, decisions, self._table_rows)
            self._write("COMMIT")
            # A look at the connection, not at the file: what others commit from here on counts.
            self._seen = self._writer.data_version()
            # Nobody is told of what was committed to a file that nobody else will read.
            self._file.check()
            self._books.written()
            self._acknowledged = self._books.seq
            self._turn.give()
        except BaseException:
            self._undo()
            raise
        return decisions

    def _undo(self) -> None:
        """Roll back and give the turn, from wherever the transaction was left."""
        self._seen = -1
        self._books.forget()
        self._rows.fetched_nothing()
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except apsw.Error:
            self._broken = True
        finally:
            self._turn.give()

    def _decide(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        books = self._books
        if self._writer.data_version() != self._seen:
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
        sqlite_standing(self._writer, self.name).check_known(self.name)
        self._schema = number
        return True

    def _presume_due(self, now: int) -> None:
        """Presume what is past its deadline; asks the file, for something can be."""
        due = self._rows.due(now, MOST_PRESUMED)
        self._books.presume(due, now)
        more = len(due) == MOST_PRESUMED
        self._next_due = now if more else self._rows.next_due(now)

    def _mend(self) -> None:
        """Open the file anew if it failed or was interrupted before, or is not at its path."""
        if not (self._broken or self._file.is_lost):
            return
        self._broken = True
        # The descriptor that failed to sync may answer "synced" next time; a new one tells the
        # truth.
        with self._read_lock:
            self._turn.close()
            self._file.abandon()
            self._open(self._file.identity)

    def watch(self, trees: Collection[str], seen: int, patience_s: float) -> int:
        """Return SQLite's own change counter, once it is not *seen* any more; looks often."""
        del trees
        pause = threading.Event()
        looks = 1 + int(patience_s / LOOK_EVERY_S)
        while (found := self._changes()) == seen and looks > 0:
            looks -= 1
            pause.wait(LOOK_EVERY_S)
        return found

    def _changes(self) -> int:
        """Return a number that moves when any process commits, this one included."""
        return self._read(lambda _: int(str(self._reader.pragma("data_version"))))

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
            # One view of the file for several reads.
            self._reader.execute("BEGIN")
            found = Books(rows).accounts_of(path, max(now, rows.head()[1]))
            self._reader.execute("COMMIT")
            return found

        return self._read(read)

    def preview(
        self, path: str, amounts: Sequence[Amounts], now: int, *, together: bool = False
    ) -> list[Refused | None]:
        """Return why a reserve of each of *amounts* would be refused; see `Store`."""

        def read(rows: SqliteRows) -> list[Refused | None]:
            self._reader.execute("BEGIN")
            seq, last_at = rows.head()
            at = max(now, last_at)
            due = rows.due(at, MOST_PRESUMED)
            found = preview(rows, path, amounts, due=due, now=at, seq=seq, together=together)
            self._reader.execute("COMMIT")
            return found

        return self._read(read)

    def budget(self, path: str) -> Budget | None:
        """Return the budget at exactly *path*."""
        return self._read(lambda rows: rows.budget(path))

    def budgets(self, prefix: str | None) -> list[Budget]:
        """Return the budgets at or below *prefix*, by path."""
        return self._read(lambda rows: rows.budgets(prefix))

    def reservation(self, key: str) -> Reservation | None:
        """Return what *key* opened."""
        return self._read(lambda rows: rows.reservation(key))

    def reservations(self, wanted: Filter) -> list[Reservation]:
        """Return matching reservations in the order they were opened."""
        return self._read(lambda rows: list(rows.reservations(wanted)))

    def entries(self, wanted: Filter) -> list[Entry]:
        """Return matching entries in the order of commits."""
        return self._read(lambda rows: list(rows.entries(wanted)))

    def alerts(self, wanted: Filter) -> list[Alert]:
        """Return the alerts of matching budgets in the order of commits."""
        return self._read(lambda rows: list(rows.alerts(wanted)))

    def snapshot(self) -> SqliteSnapshot:
        """Return everything as of one commit, on a connection of its own."""
        self._check_process()
        self._check_open()
        with translated(self.name):
            self._file.check()
            file = SqliteFile(
                self._url.removeprefix("sqlite:///"),
                self.name,
                prepare=None,
                vfs=self._vfs,
                same_as=self._file.identity,
                writes=False,
            )
            file.reader.execute("BEGIN")
            return SqliteSnapshot(file.reader, self.name, file)

    def _read(self, work: Callable[[SqliteRows], T]) -> T:
        """Return what *work* reads, if it is the file at its path that was read."""
        self._check_process()
        if self._broken or self._file.is_lost:
            with self._write_lock, translated(self.name):
                self._check_open()
                self._mend()
        with self._read_lock:
            self._check_open()
            try:
                found = work(self._read_rows)
                self._file.check()
            except BaseException as error:
                self._end_reading(error)
                raise
            return found

    def _end_reading(self, error: BaseException) -> None:
        """Make the reading connection ready for the next, and raise *error* as the store's own."""
        if not isinstance(error, Exception):
            self._broken = True
            return
        with suppress(apsw.Error):
            if self._reader.in_transaction:
                self._reader.execute("ROLLBACK")
        if isinstance(error, apsw.Error | OSError):
            self._file.check()
            raise_translated(error, self.name)

    def close(self) -> None:
        """Close the file; everything acknowledged is already durable."""
        if self._process != os.getpid():
            return
        with self._write_lock, self._read_lock:
            self._closed = True
            self._turn.close()
            self._file.close()

    def _check_process(self) -> None:
        # A forked child shares the parent's file descriptors, and may have copied a locked lock.
        if self._process != os.getpid():
            why = "opened before this process was forked: open it in here"
            raise StoreClosed(store=self.name, detail=why)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(store=self.name, detail="closed")
