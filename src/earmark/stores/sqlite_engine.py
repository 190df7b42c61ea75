"""The one owner of a SQLite file in a process: how it is written, read and opened again.

The ledger's store and the tables beside it use the same engine, so that they share one writing and
one reading connection, one lock for each, one lock file that keeps other processes from writing,
and one rule for what happens after a failure. A write to the tables leaves the ledger's working set
as it is: SQLite's change counter only moves when another connection commits.

The locks are taken in one order: first that of the writing connection, then that of the reading
one. So what is done in a transaction may read, and what is done in a read may not write: a thread
would wait for one that waits for it.

An interrupt may strike at any line, those that clean up after an error included. What must hold
all the same is held by a lock in a `with`, whose release nothing skips: whether a thread is in a
transaction or a read. And what was begun is marked as unfinished first, and found by the next use.
"""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Final, TypeVar

import apsw

from earmark.clock import SystemClock
from earmark.errors import StoreError, StoreUnavailable
from earmark.ledger.owner_process import OwnerProcess
from earmark.stores.migrations_sqlite import prepare_sqlite
from earmark.stores.regular_file import check_regular
from earmark.stores.sqlite_errors import raise_translated, translated
from earmark.stores.sqlite_file import Identity, SqliteFile, real_path
from earmark.stores.sqlite_writer_lock import PATIENCE_S, WriterLock
from earmark.stores.tables import in_transaction

T = TypeVar("T")

# The WAL stays short because each commit checkpoints past 1,000 pages: a background checkpointer
# let it grow to hundreds of megabytes. No mmap_size: several processes write.
_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA cache_size = -65536",
    "PRAGMA foreign_keys = ON",
)


def _nothing() -> None: ...


class SqliteEngine:
    """One writing and one reading connection to a file; any thread may call."""

    writer: apsw.Connection
    """For what a `transaction` does; another one after the file was opened anew."""
    reader: apsw.Connection
    """For what a `read` does; another one after the file was opened anew."""

    def __init__(
        self,
        path: str | Path,
        user: object,
        *,
        opened: "Callable[[SqliteEngine], None]",
        vfs: str | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Open or make the file at *path*; closed by *user* and by all it is shared with.

        Args:
            path: Where it is.
            user: Who opens it.
            opened: Called whenever the file was opened, before anything else uses it; what it
                raises is raised by whoever needed the file open.
            vfs: SQLite's VFS of that name.
            patience_s: How long another process may keep this one from writing.

        Raises:
            StoreUnavailable: It cannot be opened.
        """
        self.name = f"sqlite:///{Path(path)}"
        # Where it is now: a relative path means another file once the process changes its folder.
        self.path = os.path.abspath(path)  # noqa: PTH100 - a link stays one
        self._opened = opened
        self._vfs = vfs
        self._patience_s = patience_s
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        self._process = OwnerProcess()
        self._users = {id(user)}
        self._is_closed = False
        self._transaction_lock = threading.Lock()
        """Held, after the write lock, by the thread that is in a transaction."""
        self._writing_thread = 0
        """The thread that had the transaction lock last; written before it is acquired."""
        self._is_write_unfinished = False
        """Whether a transaction is under way, or an interrupt ended one; so for a read below."""
        self._reading_lock = threading.Lock()
        """Held, after the read lock, by the thread that is in a read."""
        self._reading_thread = 0
        """The same of the reading lock, if it reads as of one commit; else 0."""
        self._is_read_unfinished = False
        self._is_broken = True
        """Whether an error or an interrupt left the connections in a state nobody knows."""
        self._has_lost_rows = False
        """Whether a log was removed or replaced, which may have been the only place of some."""
        with translated(self.name):
            self._open(None)

    def share(self, user: object) -> None:
        """Keep the file open for *user* as well, who closes it, too."""
        self._process.check(self.name)
        with self._write_lock:
            self._check_open()
            self._users.add(id(user))

    def close(self, user: object) -> None:
        """End the use by *user*, once however often it asks; the last user closes the file."""
        if not self._process.is_this:
            return
        with self._write_lock, self._read_lock:
            self._users.discard(id(user))
            if not self._users and not self._is_closed:
                self._is_closed = True
                self._writer_lock.close()
                self._file.close()

    def _check_open(self) -> None:
        # Before a lock is waited for, the process is checked alone: a copy of it may be locked.
        self._process.check(self.name, closed=self._is_closed)

    # Writing --------------------------------------------------------------------------------------

    @property
    def is_in_transaction(self) -> bool:
        """Whether the calling thread is in a transaction of either connection."""
        is_writing = self._writing_thread == get_ident() and self._transaction_lock.locked()
        return is_writing or self._is_reading_here()

    def transaction(
        self,
        work: Callable[[], T],
        committed: Callable[[], None] = _nothing,
        undone: Callable[[], None] = _nothing,
        *,
        is_numbered: bool = False,
    ) -> T:
        """Return what *work* gives, once its changes are durable in the file that is at its path.

        After a failed commit nobody knows what the disk holds: the file is opened anew and *work*
        done once more. After an interrupt at whatever line, the next call opens it anew.

        Args:
            work: Changes rows by `writer`.
            committed: Called after the commit, before another process can write.
            undone: Called where an error or an interrupt ends the transaction, before the next one.
            is_numbered: Whether the caller finds out by numbers of its own if rows are lost.

        Raises:
            StoreUnavailable: The outcome is unknown, or this thread is in a transaction or a read.
        """
        if self._process.id != os.getpid():
            self._process.check(self.name)
        if self._reading_thread and self._is_reading_here():
            raise in_transaction(self.name)
        if self._is_read_unfinished:
            self._find_unfinished_read()
        with self._write_lock:
            if self._is_closed:
                self._check_open()
            if self._transaction_lock.locked():
                # By this thread, as it has the write lock.
                raise in_transaction(self.name)
            self._writing_thread = get_ident()
            with self._transaction_lock:
                try:
                    return self._transact_or_repeat(work, committed, undone, is_numbered)
                except BaseException as error:
                    if not isinstance(error, Exception):
                        self._is_broken = True
                        # Once more: it may have struck where an error ended the transaction.
                        self._roll_back()
                    raise

    def _transact_or_repeat(
        self,
        work: Callable[[], T],
        committed: Callable[[], None],
        undone: Callable[[], None],
        is_numbered: bool,  # noqa: FBT001 - as of `transaction`
    ) -> T:
        self._is_broken = self._is_broken or self._is_write_unfinished
        try:
            if self._is_broken or self._file.is_lost or self._has_lost_rows:
                self._reopen(is_numbered=is_numbered)
            return self._transact(work, committed, undone)
        except apsw.IOError as error:
            self._is_broken = True
            try:
                self._reopen(is_numbered=is_numbered)
                return self._transact(work, committed, undone)
            except (apsw.Error, OSError, StoreError):
                self._is_broken = True
                raise_translated(error, self.name)
        except (apsw.Error, OSError) as error:
            self._file.check()
            raise_translated(error, self.name)

    def _transact(
        self, work: Callable[[], T], committed: Callable[[], None], undone: Callable[[], None]
    ) -> T:
        self._is_write_unfinished = True
        try:
            self._writer_lock.acquire()
            self._file.check()
            self._execute("BEGIN IMMEDIATE")
            found = work()
            self._execute("COMMIT")
            # Nothing is acknowledged that was committed to a file that nobody else will read.
            self._file.check()
            committed()
            self._writer_lock.release()
        except BaseException as error:
            undone()
            self._roll_back()
            self._is_write_unfinished = not isinstance(error, Exception)
            raise
        self._is_write_unfinished = False
        return found

    def _roll_back(self) -> None:
        """End the transaction and release the lock file, from wherever the transaction was left."""
        try:
            if self.writer.in_transaction:
                self.writer.execute("ROLLBACK")
        except apsw.Error:
            self._is_broken = True
        finally:
            self._writer_lock.release()

    # Reading --------------------------------------------------------------------------------------

    def read(
        self, work: Callable[[], T], *, as_of_one_commit: bool = False, is_numbered: bool = False
    ) -> T:
        """Return what *work* reads by `reader`, if that is the file at its path; changes nothing.

        Args:
            work: Reads rows by `reader`.
            as_of_one_commit: Whether all its statements see the same commit.
            is_numbered: As of `transaction`.

        Raises:
            StoreUnavailable: The file cannot be read now.
        """
        self._process.check(self.name)
        if self._is_read_unfinished:
            self._find_unfinished_read()
        is_usable = not (self._is_broken or self._file.is_lost)
        if not (
            (is_usable and (is_numbered or not self._has_lost_rows)) or self._is_reading_here()
        ):
            with self._write_lock, translated(self.name):
                self._check_open()
                if self._transaction_lock.locked():
                    # By this thread, whose changes would be lost with the connection.
                    raise in_transaction(self.name)
                self._reopen(is_numbered=is_numbered)
        with self._read_lock:
            self._check_open()
            if self._reading_lock.locked():
                # By this thread, as it has the read lock: its outer read goes on and ends itself.
                return self._read(work, as_of_one_commit=as_of_one_commit)
            self._reading_thread = get_ident() if as_of_one_commit else 0
            with self._reading_lock:
                self._is_read_unfinished = True
                try:
                    found = self._read(work, as_of_one_commit=as_of_one_commit)
                except Exception:
                    with suppress(apsw.Error):
                        self._is_read_unfinished = self.reader.in_transaction
                    raise
                self._is_read_unfinished = self.reader.in_transaction
                return found

    def _read(self, work: Callable[[], T], *, as_of_one_commit: bool) -> T:
        """Return what *work* reads, in a transaction if need be that the thread is not yet in."""
        try:
            begins = as_of_one_commit and not self.reader.in_transaction
            found = self._read_one_commit(work) if begins else work()
            self._file.check()
        except (apsw.Error, OSError) as error:
            self._file.check()
            raise_translated(error, self.name)
        return found

    def _read_one_commit(self, work: Callable[[], T]) -> T:
        self.reader.execute("BEGIN")
        try:
            found = work()
        except Exception:
            with suppress(apsw.Error):
                self.reader.execute("ROLLBACK")
            raise
        self.reader.execute("COMMIT")
        return found

    def _is_reading_here(self) -> bool:
        return self._reading_thread == get_ident() and self._reading_lock.locked()

    def _find_unfinished_read(self) -> None:
        """Take the file for broken if an interrupt ended a read, and none is under way."""
        if not self._reading_lock.locked():
            with self._read_lock:
                is_left = self._is_read_unfinished and not self._reading_lock.locked()
                self._is_broken = self._is_broken or is_left

    def open_reader(self) -> SqliteFile:
        """Return a reading connection of its own to the same file; the caller closes it.

        Raises:
            StoreUnavailable: It is not the file at its path any more.
        """
        self._check_open()
        with translated(self.name):
            self._file.check()
            return SqliteFile(
                self.path,
                self.name,
                prepare=None,
                vfs=self._vfs,
                same_as=self._file.identity,
                writes=False,
            )

    # Opening --------------------------------------------------------------------------------------

    def _reopen(self, *, is_numbered: bool) -> None:
        """Open the file anew if it failed or was interrupted before, or was not at its path.

        What is not numbered is refused for good where its log is another one: nothing would tell
        what went with the one that was removed.
        """
        self._has_lost_rows = self._has_lost_rows or self._file.has_another_log()
        if self._has_lost_rows and not is_numbered:
            self._file.check()
            detail = "its log was removed or replaced, and rows may have gone with it"
            raise StoreUnavailable(store=self.name, detail=f"{detail}: open the store anew")
        if not (self._is_broken or self._file.is_lost):
            return
        self._is_broken = True
        # The descriptor that failed to sync may answer "synced" next time; a new one tells the
        # truth.
        with self._read_lock:
            self._writer_lock.close()
            self._file.abandon()
            self._open(self._file.identity)

    def _open(self, same_as: Identity | None) -> None:
        """Open the file, which is *same_as* the one that was open before."""
        if Path(self.path).is_dir():
            raise IsADirectoryError(f"{self.name.removeprefix('sqlite:///')} is a folder")
        check_regular(real_path(self.path))
        # A folder that is missing or read-only is found here, before SQLite's vaguer words.
        self._writer_lock = WriterLock(real_path(self.path), self.name, patience_s=self._patience_s)
        try:
            with self._writer_lock:
                self._file = SqliteFile(
                    self.path,
                    self.name,
                    prepare=self._make_tables,
                    pragmas=_PRAGMAS,
                    vfs=self._vfs,
                    same_as=same_as,
                )
                # What a program wrote before it or its disk failed is found in the log, and may be
                # on no disk yet: it is synced before a repeat is answered by it.
                self._file.writer.pragma("wal_checkpoint")
        except BaseException:
            self._writer_lock.close()
            raise
        self.writer, self.reader = self._file.writer, self._file.reader
        # One cursor for all: a connection makes a new one for each statement.
        self._execute = self.writer.cursor().execute
        self._opened(self)
        self._is_write_unfinished = self._is_read_unfinished = False
        self._is_broken = False

    def _make_tables(self, connection: apsw.Connection) -> None:
        prepare_sqlite(connection, self.name, SystemClock())
