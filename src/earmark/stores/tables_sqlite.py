"""Tables in a SQLite file, beside the ledger's, or in memory: `earmark.stores.tables`."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from earmark.clock import SystemClock
from earmark.errors import StoreClosed
from earmark.stores.migrations_sqlite import prepare_sqlite
from earmark.stores.sqlite_errors import translated
from earmark.stores.sqlite_file import Identity, SqliteFile, real_path
from earmark.stores.sqlite_turn import Turn
from earmark.stores.tables import Row, Rows

T = TypeVar("T")

_PRAGMAS: Final = ("PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON")


class SqliteTables:
    """Two connections to a file, or one to a database in memory."""

    def __init__(self, path: str) -> None:
        """Use the file at *path*, in which a ledger made the tables; `:memory:` is made here."""
        self._path = path
        self._process = os.getpid()
        self._closed = False
        self._broken = False
        self._write_lock = threading.RLock()
        self._file: SqliteFile | None = None
        self._turn: Turn | None = None
        if path == ":memory:":
            connection = apsw.Connection(path)
            connection.execute("; ".join(_PRAGMAS))
            prepare_sqlite(connection, self.name, SystemClock())
            self._read_lock = self._write_lock
            self._writer = self._reader = SqliteTableRows(connection)
        else:
            self._read_lock = threading.RLock()
            with translated(self.name):
                self._open(None)

    @property
    def name(self) -> str:
        """The store's URL."""
        return "memory:" if self._path == ":memory:" else f"sqlite:///{self._path}"

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Do *work* in one durable transaction; a file has one writer, whatever the lock.

        Once more if the disk failed: what was kept is found, or nothing was.
        """
        del lock
        with self._write_lock, translated(self.name):
            self._mend()
            try:
                return self._transaction(work)
            except apsw.IOError:
                # The descriptor that failed to sync may answer "synced" next time.
                self._broken = True
                self._mend()
                return self._transaction(work)

    def read(self, work: Callable[[Rows], T]) -> T:
        """Do *work* on one commit."""
        if self._is_unusable():
            with self._write_lock, translated(self.name):
                self._mend()
        with self._read_lock, translated(self.name):
            self._check_open()
            return self._within(self._reader, "BEGIN", work)

    def begin(self) -> None:
        """Begin a transaction of a database in memory; its thread ends it by `end`."""
        self._write_lock.acquire()
        self._writer.run("BEGIN IMMEDIATE")

    def run(self, sql: str, *values: object) -> list[Row]:
        """Run one statement within the transaction that `begin` began."""
        with translated(self.name):
            return self._writer.run(sql, *values)

    def end(self, *, keep: bool) -> None:
        """End what `begin` began, as far as it came, and keep its changes or undo them."""
        try:
            if keep:
                self._writer.run("COMMIT")
            else:
                self._writer.roll_back()
        finally:
            # Interrupted before, the lock was not taken: only its owner can release it.
            with suppress(RuntimeError):
                self._write_lock.release()

    def close(self) -> None:
        """Close the file; what is in memory lasts as long as somebody has it."""
        if self._file is None or self._process != os.getpid():
            return
        with self._write_lock, self._read_lock:
            self._closed = True
            if self._turn is not None:
                self._turn.close()
            self._file.close()

    def _transaction(self, work: Callable[[Rows], T]) -> T:
        turn = self._turn
        if turn is None:
            return self._within(self._writer, "BEGIN IMMEDIATE", work)
        try:
            turn.take()
            found = self._within(self._writer, "BEGIN IMMEDIATE", work)
            turn.give()
        except BaseException:
            turn.give()
            raise
        return found

    def _within(self, rows: "SqliteTableRows", begin: str, work: Callable[[Rows], T]) -> T:
        """Return what *work* gives, its changes committed to the file that is at its path."""
        try:
            # What was read need only be of the file that is there afterwards.
            if self._file is not None and rows is self._writer:
                self._file.check()
            found = rows.within(begin, work)
            if self._file is not None:
                self._file.check()
        except BaseException as error:
            # Interrupted anywhere: what is in memory is rolled back, a file is opened anew.
            self._broken = self._broken or not isinstance(error, Exception)
            rows.roll_back()
            raise
        return found

    def _is_unusable(self) -> bool:
        return self._file is not None and (self._broken or self._file.is_lost)

    def _mend(self) -> None:
        """Open the file anew if it failed or was interrupted before.

        A file that is not at its path is waited for: unlike the entries, rows are not numbered, and
        nothing would tell whether some went with a log that was removed.
        """
        self._check_open()
        if self._file is None or not self._is_unusable():
            return
        if self._file.is_lost:
            self._file.check()
        if not self._broken:
            return
        self._broken = True
        with self._read_lock:
            if self._turn is not None:
                self._turn.close()
            self._file.abandon()
            self._open(self._file.identity)

    def _check_open(self) -> None:
        if self._process != os.getpid():
            why = "opened before this process was forked: open it in here"
            raise StoreClosed(store=self.name, detail=why)
        if self._closed:
            raise StoreClosed(store=self.name, detail="closed")

    def _open(self, same_as: Identity | None) -> None:
        """Open the file, never made here: one without tables is another program's to the ledger."""
        Path(self._path).stat()
        turn = Turn(real_path(self._path), self.name)
        try:
            with turn:
                file = SqliteFile(
                    self._path, self.name, prepare=None, pragmas=_PRAGMAS, same_as=same_as
                )
                # What is found in the log may be on no disk yet, see `SqliteStore`.
                file.writer.pragma("wal_checkpoint")
        except BaseException:
            turn.close()
            raise
        self._turn, self._file = turn, file
        self._writer, self._reader = SqliteTableRows(file.writer), SqliteTableRows(file.reader)
        self._broken = False


class SqliteTableRows:
    """One connection's tables."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, *values: Any) -> list[Row]:  # noqa: ANN401 - apsw's values
        """Run one statement and return its rows."""
        return self._connection.execute(_plain(sql), values).fetchall()

    def within(self, begin: str, work: Callable[[Rows], T]) -> T:
        """Return what *work* gives, its changes committed; else the caller rolls back."""
        self._connection.execute(begin)
        found = work(self)
        self._connection.execute("COMMIT")
        return found

    def roll_back(self) -> None:
        """End a transaction, if there is one, without its changes."""
        with suppress(apsw.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


@cache
def _plain(sql: str) -> str:
    return sql.replace("{schema}.", "main.")
