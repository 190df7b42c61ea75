"""One SQLite file in use: the connections to it, and whether it is still the file at its path.

SQLite keeps programs apart by `fcntl`'s record locks, which belong to a process: when anybody in
the process closes any descriptor of the file (another SQLite library, a copy of the file, a
backup), all of the process's locks on it are gone, ours too. Whoever closes the file last then
finds nobody else using it, and removes the write-ahead log under us; what is committed after that
is in a file without a name. Two things are done about it:

- A lock of our own, shared, on the bytes that SQLite locks exclusively before it removes the log,
  and on those that tell whether the index of the log is in use. It belongs to an open file
  description (`F_OFD_SETLK`, Linux), which another descriptor's `close` does not touch.
- The inodes at the paths of the database and of its log are compared with those in use, before
  anything is decided and again before it is acknowledged: by that, a file that was moved, removed,
  replaced or linked under a second name is refused.
"""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import errno
import fcntl
import os
import struct
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import apsw

from earmark.errors import StoreUnavailable
from earmark.stores.regular_file import open_regular

#: Milliseconds for which another connection's lock is waited for.
BUSY_MS: Final = 5000
_PAUSE_MS: Final = 10

_HAS_OFD: Final = hasattr(fcntl, "F_OFD_SETLK")
#: https://www.sqlite.org/src/file/src/os_unix.c: SHARED_FIRST and SHARED_SIZE of the database, and
#: UNIX_SHM_DMS of the index of its log.
_SHARED: Final = (0x40000002, 510)
_IN_USE: Final = (128, 1)
#: Where the header of a database has its two format versions, and what they are with a log.
_VERSIONS, _WITH_LOG = 18, b"\x02\x02"
#: `struct flock`: type, whence, start, length, process.
_FLOCK: Final = "hhqqi4x"
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK})

Identity = tuple[int, int]
"""Device and inode."""


class SqliteFile:
    """A writing and a reading connection to one file, or only the latter; for one store."""

    writer: apsw.Connection
    """For one thread at a time; unset if there is none."""
    reader: apsw.Connection
    """For one thread at a time."""
    is_lost: bool
    """Whether the last `check` refused: until one passes, the connections are of no use."""

    def __init__(
        self,
        path: str,
        name: str,
        *,
        prepare: Callable[[apsw.Connection], None] | None,
        pragmas: tuple[str, ...] = (),
        vfs: str | None = None,
        same_as: Identity | None = None,
        writes: bool = True,
    ) -> None:
        """Open the file at *path*, called *name* in errors; make it if *prepare* makes its tables.

        Args:
            path: Where it is; a symbolic link is followed.
            name: The store's URL without a password.
            prepare: Makes or upgrades the tables; the caller keeps other programs from writing.
            pragmas: Statements for every connection.
            vfs: SQLite's VFS of that name.
            same_as: Refuse any other file.
            writes: Whether there is a writing connection.

        Raises:
            StoreUnavailable: It is another file, or it has several names.
            apsw.Error, OSError: It cannot be opened.
        """
        self.path = real_path(path)
        self._log = f"{self.path}-wal"
        self.is_lost = False
        self._name = name
        self._pragmas = pragmas
        self._vfs = vfs
        absolute = os.path.abspath(path)  # noqa: PTH100 - a link on the way stays one
        self._also = (absolute,) if absolute != self.path else ()
        self._connections: list[apsw.Connection] = []
        self._has_left = False
        self._used: tuple[int, ...] = ()
        creates = prepare is not None and same_as is None
        self._lock = _acquire(self.path, creates=creates)
        try:
            self.identity = self._refuse_other(same_as)
            self._open(prepare, writes=writes)
            self._refuse_other(self.identity)
            self._used = self._current_identity()
        except BaseException:
            self.abandon()
            raise

    def _open(self, prepare: Callable[[apsw.Connection], None] | None, *, writes: bool) -> None:
        made_half = Path(f"{self.path}-journal").exists()
        if prepare is not None and (made_half or not self._lock.has_log()):
            # To give the file its log takes an exclusive lock, and so comes before ours; so does
            # to undo what a power cut left half made.
            with closing(self._connect(_WRITES | _CREATES)) as first:
                prepare(first)
        self._lock.lock()
        # Opened under the lock: from here on no library removes the log they open.
        if writes:
            self.writer = self.connect(_WRITES)
        if prepare is not None:
            prepare(self.writer)
        self.reader = self.connect(apsw.SQLITE_OPEN_READONLY)
        self._lock.lock_index()

    def connect(self, flags: int) -> apsw.Connection:
        """Return another connection, which is closed with the file."""
        made = self._connect(flags)
        self._connections.append(made)
        # A first read: it opens the log and its index.
        made.pragma("user_version")
        return made

    def _connect(self, flags: int) -> apsw.Connection:
        made = apsw.Connection(self.path, flags=flags, vfs=self._vfs)
        made.set_busy_timeout(BUSY_MS)
        for pragma in self._pragmas:
            made.execute(pragma)
        return made

    def check(self) -> None:
        """Refuse if the file or its log is not the one at its path any more.

        Raises:
            StoreUnavailable: Nothing that was committed since the last check may be acknowledged.
        """
        try:
            # Twice a commit, and so as cheap as it can be: most of it is what the system does.
            file, log = os.stat(self.path), os.stat(self._log)  # noqa: PTH116 - the cost
            found = (file.st_ino, file.st_dev, file.st_nlink, log.st_ino, log.st_dev)
            if found == self._used and not (self._also and self._is_linked_elsewhere()):
                self.is_lost = False
                return
        except OSError:
            pass
        self.is_lost = self._used != self._current_identity()
        if self.is_lost:
            raise StoreUnavailable(store=self._name, detail=self._difference())

    def has_another_log(self) -> bool:
        """Return whether the log in use was removed or replaced, and the database was not."""
        used, found = self._used, self._current_identity()
        # Once this process has left the file, another one may fold its log into it and remove it.
        return not self._has_left and found != used and found[:3] == used[:3]

    def _is_linked_elsewhere(self) -> bool:
        found = [_identity(os.stat(link)) for link in self._also]  # noqa: PTH116 - beside `check`
        return any(each != self.identity for each in found)

    def _current_identity(self) -> tuple[int, ...]:
        """Return what `check` compares, as it is now; the log's part is empty without one."""
        found: list[int] = []
        with suppress(FileNotFoundError):
            file = Path(self.path).stat()
            found = [file.st_ino, file.st_dev, file.st_nlink]
            for link in self._also:
                file = Path(link).stat()
                if [file.st_ino, file.st_dev] != found[:2]:
                    return (file.st_ino, file.st_dev, file.st_nlink)
            log = Path(self._log).stat()
            found += [log.st_ino, log.st_dev]
        return tuple(found)

    def _difference(self) -> str:
        used, found = self._used, self._current_identity()
        if not found:
            problem = "the file is not at its path any more: put it back"
        elif found[:2] != used[:2]:
            problem = (
                f"another file is at its path (inode {found[0]}, opened was {used[0]}):"
                " put the one that was opened back, or open the books anew"
            )
        elif found[2] != 1:
            problem = _several_names(self.path, found[2])
        else:
            log = str(found[3]) if found[3:] else "none"
            problem = (
                f"its log {Path(self.path).name}-wal was removed or replaced by another program"
                f" (inode {log}, opened was {used[3] if used[3:] else 'none'})"
            )
        return f"{problem}; this is not acknowledged: ask again with the same key"

    def _refuse_other(self, same_as: Identity | None) -> Identity:
        """Return which file is at the path; refuse another than *same_as*, or several names."""
        at_path, opened = Path(self.path).stat(), os.fstat(self._lock.number)
        identity = (at_path.st_dev, at_path.st_ino)
        if identity != (opened.st_dev, opened.st_ino) or same_as not in {None, identity}:
            detail = "another file is at its path than was opened: open the books anew"
            raise StoreUnavailable(store=self._name, detail=detail)
        if at_path.st_nlink != 1:
            detail = _several_names(self.path, at_path.st_nlink)
            raise StoreUnavailable(store=self._name, detail=detail)
        return identity

    def close(self) -> None:
        """Close the connections; the last program to do so folds the log into the file."""
        if self.is_lost or self._used != self._current_identity():
            self.abandon()
        else:
            self._leave()
            self._close()

    def abandon(self) -> None:
        """Close the connections and touch nothing: the log at the path may be another program's."""
        for connection in self._connections:
            with suppress(apsw.Error):
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._close()
        self._leave()
        self._lock.close()

    def _leave(self) -> None:
        if not self._has_left:
            self._has_left = True
            self._lock.leave()

    def _close(self) -> None:
        # The writing one last: one that only reads cannot fold the log into the file.
        for connection in reversed(self._connections):
            with suppress(apsw.Error):
                connection.close()
        self._lock.close()


_WRITES: Final = apsw.SQLITE_OPEN_READWRITE
_CREATES: Final = apsw.SQLITE_OPEN_CREATE


def real_path(path: str) -> str:
    """Return the one path of the database at *path*: absolute, and no symbolic link.

    SQLite puts the log beside the file that a link points to, and so is our lock file.
    """
    return os.path.realpath(path)


def _several_names(path: str, names: int) -> str:
    return (
        f"{path} is one of {names} names (hard links) of the same file, and under each name"
        " SQLite keeps another log, so that two programs would not see each other: remove all"
        f" but one ('find DIRECTORY -samefile {path}' lists them)"
    )


# The lock of our own ------------------------------------------------------------------------------


class _Lock:
    """Descriptors of one database and of its log's index, shared by all that use it in the process.

    Closing one of them drops the process's record locks on the file, those of SQLite too: they are
    open as long as anybody here uses the file.
    """

    def __init__(self, path: str, number: int, identity: Identity) -> None:
        self.number = number
        self.identity = identity
        self.users = 0
        self._path = path
        self._index = -1
        self._spare: list[int] = []

    def keep(self, number: int) -> None:
        """Keep another descriptor open, too."""
        self._spare.append(number)

    def has_log(self) -> bool:
        """Return whether the database keeps a write-ahead log."""
        return os.pread(self.number, len(_WITH_LOG), _VERSIONS) == _WITH_LOG

    def lock(self) -> None:
        """Keep everybody from locking the database exclusively, if it has a log."""
        if self.has_log():
            _set(self.number, fcntl.F_RDLCK, _SHARED)

    def lock_index(self) -> None:
        """Keep everybody from taking the index of the log for unused."""
        with _registry_lock, suppress(FileNotFoundError):
            at_path = os.stat(f"{self._path}-shm")  # noqa: PTH116 - beside its `fstat`
            if self._index < 0 or _identity(os.fstat(self._index)) != _identity(at_path):
                self.keep(self._index)
                self._index = open_regular(f"{self._path}-shm", os.O_RDONLY)
            _set(self._index, fcntl.F_RDLCK, _IN_USE)

    def leave(self) -> None:
        """Take note that one does not use it any more; the last one lets go of the locks."""
        with _registry_lock:
            self.users -= 1
            if self.users == 0:
                _set(self.number, fcntl.F_UNLCK, _SHARED)
                _set(self._index, fcntl.F_UNLCK, _IN_USE)

    def close(self) -> None:
        """Close the descriptors if nobody uses the file any more."""
        with _registry_lock:
            if self.users == 0 and _locks.get(self.identity) is self:
                del _locks[self.identity]
                self.close_descriptors()

    def close_descriptors(self) -> None:
        """Close them, whoever uses the file."""
        for number in (self.number, self._index, *self._spare):
            if number >= 0:
                os.close(number)
        self.number = self._index = -1
        self._spare.clear()


def _acquire(path: str, *, creates: bool) -> _Lock:
    """Return this process's descriptors of the file at *path*, for one user more."""
    with _registry_lock:
        found = None
        with suppress(FileNotFoundError):
            found = _locks.get(_identity(os.stat(path)))  # noqa: PTH116 - beside `fstat`
        if found is None:
            number = open_regular(path, os.O_RDONLY | (os.O_CREAT if creates else 0))
            identity = _identity(os.fstat(number))
            found = _locks.get(identity)
            if found is None:
                found = _locks[identity] = _Lock(path, number, identity)
            else:
                found.keep(number)
        found.users += 1
        return found


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino


def _set(number: int, kind: int, where: tuple[int, int]) -> None:
    """Set or remove the lock of an open file on the bytes *where*; waits for others for a while."""
    if not _HAS_OFD or number < 0:
        return
    request = struct.pack(_FLOCK, kind, os.SEEK_SET, *where, 0)
    pause = threading.Event()
    for left in reversed(range(BUSY_MS // _PAUSE_MS)):
        try:
            fcntl.fcntl(number, fcntl.F_OFD_SETLK, request)
        except BlockingIOError:
            if not left:
                raise
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return
        else:
            return
        pause.wait(_PAUSE_MS / 1000)


_locks: dict[Identity, _Lock] = {}
_registry_lock = threading.RLock()


def _forget_in_child() -> None:
    """Close the parent's descriptors: with a copy of them, the child would keep its locks."""
    global _registry_lock  # noqa: PLW0603 - another thread may have had it at the fork
    _registry_lock = threading.RLock()
    for lock in _locks.values():
        lock.close_descriptors()
    _locks.clear()


os.register_at_fork(after_in_child=_forget_in_child)
