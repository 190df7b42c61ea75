"""Tables in a SQLite file, beside the ledger's, or in memory: `earmark.stores.tables`."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from functools import cache
from typing import Any, Final, TypeVar

import apsw

from earmark.clock import SystemClock
from earmark.errors import StoreClosed
from earmark.stores.migrations_sqlite import prepare_sqlite
from earmark.stores.sqlite_errors import raise_translated
from earmark.stores.sqlite_turn import Turn
from earmark.stores.tables import Row, Rows

T = TypeVar("T")

_PRAGMAS: Final = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON"


class SqliteTables:
    """Two connections to a file, or one to a database in memory."""

    def __init__(self, path: str) -> None:
        """Use the file at *path*, in which a ledger made the tables; `:memory:` is made here."""
        self._path = path
        self._in_memory = path == ":memory:"
        self._process = os.getpid()
        self._closed = False
        self._write_lock = threading.RLock()
        self._read_lock = self._write_lock if self._in_memory else threading.RLock()
        self._files = ExitStack()
        self._writer: _Rows | None = None
        self._reader: _Rows | None = None
        self._turn: Turn | None = None
        self._guarded(self._open)

    @property
    def name(self) -> str:
        """The store's URL."""
        return "memory:" if self._in_memory else f"sqlite:///{self._path}"

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Do *work* in one durable transaction; a file has one writer, whatever the lock."""
        del lock
        with self._write_lock:
            return self._guarded(lambda: self._twice(work))

    def read(self, work: Callable[[Rows], T]) -> T:
        """Do *work* on one commit."""
        with self._read_lock:
            return self._guarded(lambda: self._view(work))

    def close(self) -> None:
        """Close the file; what is in memory lasts as long as somebody has it."""
        if self._in_memory or self._process != os.getpid():
            return
        with self._write_lock, self._read_lock:
            self._closed = True
            self._drop()

    def _twice(self, work: Callable[[Rows], T]) -> T:
        """Do *work*, once more if the disk failed: what was kept is found, or nothing was."""
        try:
            return self._transaction(work)
        except apsw.IOError:
            # The descriptor that failed to sync may answer "synced" next time.
            with self._read_lock:
                self._drop()
            return self._transaction(work)

    def _transaction(self, work: Callable[[Rows], T]) -> T:
        rows = self._used(writing=True)
        with self._turn or nullcontext():
            return rows.within("BEGIN IMMEDIATE", work)

    def _view(self, work: Callable[[Rows], T]) -> T:
        return self._used(writing=False).within("BEGIN", work)

    def _used(self, *, writing: bool) -> "_Rows":
        if self._process != os.getpid():
            why = "opened before this process was forked: open it in here"
            raise StoreClosed(store=self.name, detail=why)
        if self._closed:
            raise StoreClosed(store=self.name, detail="closed")
        if self._writer is None or self._reader is None:
            self._open()
        rows = self._writer if writing else self._reader
        assert rows is not None, "just opened"
        return rows

    def _open(self) -> None:
        with ExitStack() as files:
            if self._in_memory:
                connection = self._connect(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
                files.callback(connection.close)
                prepare_sqlite(connection, self.name, SystemClock())
                self._writer = self._reader = _Rows(connection)
            else:
                # Never made here: to the ledger, a file without its tables is another program's.
                writer = self._connect(apsw.SQLITE_OPEN_READWRITE)
                files.callback(writer.close)
                self._turn = Turn(self._path, self.name)
                files.callback(self._turn.close)
                reader = self._connect(apsw.SQLITE_OPEN_READONLY)
                files.callback(reader.close)
                self._writer, self._reader = _Rows(writer), _Rows(reader)
            self._files = files.pop_all()

    def _connect(self, flags: int) -> apsw.Connection:
        connection = apsw.Connection(self._path, flags=flags)
        connection.set_busy_timeout(5000)
        connection.execute(_PRAGMAS)
        return connection

    def _drop(self) -> None:
        self._writer = self._reader = None
        with suppress(apsw.Error, OSError):
            self._files.close()

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (apsw.Error, OSError) as error:
            raise_translated(error, self.name)


class _Rows:
    """One connection's tables."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, *values: Any) -> list[Row]:  # noqa: ANN401 - apsw's values
        """Run one statement and return its rows."""
        return self._connection.execute(_plain(sql), values).fetchall()

    def within(self, begin: str, work: Callable[[Rows], T]) -> T:
        """Return what *work* gives, its changes committed."""
        self._connection.execute(begin)
        try:
            found = work(self)
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        return found


@cache
def _plain(sql: str) -> str:
    return sql.replace("{schema}.", "main.")
