"""Tables beside a ledger in memory, in a SQLite database without a file: `…stores.tables`."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import threading
from collections.abc import Callable
from typing import TypeVar

import apsw

from earmark.clock import SystemClock
from earmark.ledger.owner_process import OwnerProcess
from earmark.stores.migrations_sqlite import prepare_sqlite
from earmark.stores.sqlite_errors import translated
from earmark.stores.tables import Row, Rows, in_transaction
from earmark.stores.tables_sqlite import SqliteTableRows

T = TypeVar("T")


class MemoryTables:
    """One connection, which writes and reads; what it holds lasts as long as anybody has it."""

    name = "memory:"

    def __init__(self) -> None:
        """Make empty tables."""
        self.lock = threading.RLock()
        """Held by the thread that uses the connection; taken before the ledger's own lock."""
        self.transaction_lock = threading.Lock()
        """Held, after `lock`, by the thread that is in a transaction; no interrupt keeps it."""
        self.writing_thread = 0
        """The thread that had `transaction_lock` last; written before it is acquired."""
        self._process = OwnerProcess()
        self._connection = apsw.Connection(":memory:")
        self._connection.execute("PRAGMA foreign_keys = ON")
        prepare_sqlite(self._connection, self.name, SystemClock())
        self._rows = SqliteTableRows(self._connection)

    @property
    def is_in_transaction(self) -> bool:
        """Whether the calling thread is in a transaction that writes."""
        # Without `lock`: another thread may use the connection, which refuses to be asked then.
        return self.writing_thread == threading.get_ident() and self.transaction_lock.locked()

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Do *work* in one transaction; there is one writer, whatever the lock."""
        del lock
        self._process.check(self.name)
        with self.lock, translated(self.name):
            if self.is_in_transaction:
                raise in_transaction(self.name)
            self.writing_thread = threading.get_ident()
            with self.transaction_lock:
                try:
                    self.begin()
                    found = work(self._rows)
                    self.end(keep=True)
                except BaseException:
                    self.end(keep=False)
                    raise
                return found

    def read(self, work: Callable[[Rows], T]) -> T:
        """Do *work* on one commit; within a write of the same thread, on what it wrote so far."""
        self._process.check(self.name)
        with self.lock, translated(self.name):
            if not self.transaction_lock.locked():
                # What an interrupt left.
                self.end(keep=False)
            return work(self._rows)

    def begin(self) -> None:
        """Begin a transaction; the caller has both locks, and ends it."""
        # What an interrupt left.
        self.end(keep=False)
        self._rows.run("BEGIN IMMEDIATE")

    def run(self, sql: str, *values: object) -> list[Row]:
        """Run one statement within the transaction that `begin` began."""
        with translated(self.name):
            return self._rows.run(sql, *values)

    def end(self, *, keep: bool) -> None:
        """End what `begin` began, as far as it came, and keep its changes or undo them."""
        if self._connection.in_transaction:
            self._rows.run("COMMIT" if keep else "ROLLBACK")

    def close(self) -> None:
        """Do nothing: others may have the same tables."""
