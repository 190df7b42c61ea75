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
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import apsw

from earmark.budget.budget import Budget
from earmark.clock import SystemClock
from earmark.errors import StoreClosed, StoreError
from earmark.ledger.books import Books
from earmark.ledger.store import Filter
from earmark.ledger.values import (
    Account,
    Alert,
    Decision,
    Entry,
    Operation,
    Reservation,
    Reserve,
)
from earmark.stores.migrations_sqlite import prepare_sqlite
from earmark.stores.sqlite_errors import raise_translated, translated
from earmark.stores.sqlite_rows import SqliteRows
from earmark.stores.sqlite_snapshot import SqliteSnapshot
from earmark.stores.sqlite_turn import PATIENCE_S, Turn

#: Deadlines that pass at one time are presumed in pieces, so that no commit grows without bound.
MOST_PRESUMED: Final = 1000
#: How often the file is looked at while somebody waits for another process: a read of one page.
LOOK_EVERY_S: Final = 0.05

_READ_WRITE: Final = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
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
        self._patience_s = patience_s
        self._vfs = vfs
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        self._process = os.getpid()
        self._closed = False
        self._files = ExitStack()
        self._open()

    def _open(self) -> None:
        self._broken = True
        with translated(self.name), ExitStack() as files:
            if Path(self._path).is_dir():
                raise IsADirectoryError(f"{self._path} is a folder")
            # A folder that is missing or read-only is found here, before SQLite's vaguer words.
            self._turn = Turn(self._path, self.name, patience_s=self._patience_s)
            files.callback(self._turn.close)
            self._writer = self._connect(_READ_WRITE)
            files.callback(self._writer.close)
            with self._turn:
                prepare_sqlite(self._writer, self.name, SystemClock())
            self._reader = self._connect(apsw.SQLITE_OPEN_READONLY)
            files.callback(self._reader.close)
            self._files = files.pop_all()
        self._broken = False
        # One cursor for all: a connection makes a new one for each statement.
        self._write = self._writer.cursor().execute
        self._rows = SqliteRows(self._writer)
        self._books = Books(self._rows)
        self._seen = -1
        self._last_at = 0
        self._next_due = 0
        self._read_rows = SqliteRows(self._reader)

    def _connect(self, flags: int) -> apsw.Connection:
        connection = apsw.Connection(self._path, flags=flags, vfs=self._vfs)
        connection.set_busy_timeout(5000)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        return connection

    @property
    def name(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self._path}"

    @property
    def url(self) -> str:
        """The store's URL; there is no password in it."""
        return self.name

    # Writing --------------------------------------------------------------------------------------

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Decide and keep *batch* in one durable transaction; see `earmark.ledger.store.Store`.

        After a failed commit nobody knows what the disk holds: the file is opened anew and the
        batch applied once more, where what was kept answers as repeated.
        """
        self._check_process()
        with self._write_lock:
            self._check_open()
            try:
                self._mend()
                if not batch and now < self._next_due and self._version() == self._seen:
                    return []
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
                raise_translated(error, self.name)

    def _transaction(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        self._turn.take()
        try:
            self._write("BEGIN IMMEDIATE")
            try:
                decisions = self._decide(batch, now)
                self._write("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            self._books.written()
            return decisions
        finally:
            self._turn.give()

    def _decide(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        books = self._books
        version = self._version()
        if version != self._seen:
            books.forget()
            books.seq, self._last_at = self._rows.head()
            self._rows.learn_highest()
            self._next_due = 0
            self._seen = version
        now = max(now, self._last_at)
        self._presume_due(now)
        if len(batch) > 1:
            self._rows.fetch([op.key for op in batch if type(op) is Reserve])
        apply = books.apply
        decisions = [apply(operation, now) for operation in batch]
        self._rows.fetched_nothing()
        changes = books.changes
        if changes.entries or changes.operations:
            self._rows.write(changes, books.unwritten)
            self._last_at = now if changes.entries else self._last_at
            new = [r.expires for r in changes.reservations.values() if r.state == "open"]
            self._next_due = min(self._next_due, *new) if new else self._next_due
        return decisions

    def _version(self) -> int:
        """Return a number that changes when another connection commits."""
        return int(str(self._write("PRAGMA data_version").fetchall()[0][0]))

    def _presume_due(self, now: int) -> None:
        """Presume what is past its deadline; asks the file only when something can be."""
        if now < self._next_due:
            return
        due = self._rows.due(now, MOST_PRESUMED)
        self._books.presume(due, now)
        more = len(due) == MOST_PRESUMED
        self._next_due = now if more else self._rows.next_due(now)

    def _roll_back(self) -> None:
        self._seen = -1
        self._books.forget()
        self._rows.fetched_nothing()
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _mend(self) -> None:
        """Open the file anew if it failed before."""
        if not self._broken:
            return
        # The descriptor that failed to sync may answer "synced" next time; a new one tells the
        # truth.
        with self._read_lock:
            self._files.close()
            self._open()

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
        with self._reading():
            return int(str(self._reader.pragma("data_version")))

    # Reading --------------------------------------------------------------------------------------

    def heads(self) -> Mapping[str, int]:
        """Return the number of the last entry: one order holds for all."""
        with self._reading() as rows:
            return {"": rows.head()[0]}

    def accounts(self, path: str, now: int) -> tuple[Account, ...]:
        """Return the accounts above *path*, leaf first, in the intervals that contain *now*."""
        with self._reading() as rows, _Transaction(self._reader):
            return Books(rows).accounts_of(path, max(now, rows.head()[1]))

    def budget(self, path: str) -> Budget | None:
        """Return the budget at exactly *path*."""
        with self._reading() as rows:
            return rows.budget(path)

    def budgets(self, prefix: str | None) -> list[Budget]:
        """Return the budgets at or below *prefix*, by path."""
        with self._reading() as rows:
            return rows.budgets(prefix)

    def reservation(self, key: str) -> Reservation | None:
        """Return what *key* opened."""
        with self._reading() as rows:
            return rows.reservation(key)

    def reservations(self, wanted: Filter) -> list[Reservation]:
        """Return matching reservations in the order they were opened."""
        with self._reading() as rows:
            return list(rows.reservations(wanted))

    def entries(self, wanted: Filter) -> list[Entry]:
        """Return matching entries in the order of commits."""
        with self._reading() as rows:
            return list(rows.entries(wanted))

    def alerts(self, wanted: Filter) -> list[Alert]:
        """Return the alerts of matching budgets in the order of commits."""
        with self._reading() as rows:
            return list(rows.alerts(wanted))

    def snapshot(self) -> SqliteSnapshot:
        """Return everything as of one commit, on a connection of its own."""
        self._check_process()
        self._check_open()
        with translated(self.name):
            connection = self._connect(apsw.SQLITE_OPEN_READONLY)
            connection.execute("BEGIN")
            return SqliteSnapshot(connection, self.name)

    def close(self) -> None:
        """Close the file; everything acknowledged is already durable."""
        if self._process != os.getpid():
            return
        with self._write_lock, self._read_lock:
            self._closed = True
            self._files.close()

    def _check_process(self) -> None:
        # A forked child shares the parent's file descriptors, and may have copied a locked lock.
        if self._process != os.getpid():
            why = "opened before this process was forked: open it in here"
            raise StoreClosed(store=self.name, detail=why)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(store=self.name, detail="closed")

    @contextmanager
    def _reading(self) -> Generator[SqliteRows]:
        self._check_process()
        if self._broken:
            with self._write_lock:
                self._check_open()
                self._mend()
        with self._read_lock, translated(self.name):
            self._check_open()
            yield self._read_rows


class _Transaction:
    """One view of the file for several reads."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("COMMIT")
