"""Which process may write a SQLite file: one at a time, by a lock file beside it.

A process that holds the lock and is stopped (Ctrl-Z, a debugger, a stuck disk) keeps it. The others
wait for a while, and then get an error that names it; they go on by themselves once it is released.

The lock is `flock`'s, which belongs to an open file: a forked child shares it with its parent and
would keep it for as long as it lives, so that it closes its copies first thing. The alternative,
`fcntl`'s record locks, are not inherited, but lost as soon as anybody in the process closes any
descriptor of the file.
"""

import fcntl
import io
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final
from weakref import WeakSet

from earmark.errors import StoreUnavailable
from earmark.stores.regular_file import open_regular

#: Seconds. Longer than any commit takes on a disk that works.
PATIENCE_S: Final = 30.0

_FLAGS: Final = os.O_RDWR | os.O_CREAT
#: The kernel's list of locks, and where in a line of it the holder and the file stand:
#: https://man7.org/linux/man-pages/man5/proc_locks.5.html
_LOCKS: Final = Path("/proc/locks")
_HOLDER, _FILE, _FIELDS = 4, 5, 8


class _LockFile(io.FileIO):
    """An open lock file; closed, and so unlocked, with the last reference or by a fork."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "rb+", opener=_open)
        _lock_files.add(self)

    def __del__(self) -> None:
        self.close()


def _open(path: str, _: int) -> int:
    # A link there, as in somebody else's checkout, would make and lock a file elsewhere.
    return open_regular(path, _FLAGS)


_lock_files: "WeakSet[_LockFile]" = WeakSet()


def _close_in_child() -> None:
    for file in list(_lock_files):
        file.close()


os.register_at_fork(after_in_child=_close_in_child)


class WriterLock:
    """The exclusive right to write one file; for one thread at a time, `with` acquires it.

    A thread that is interrupted in `acquire` or `release` calls `release` to be rid of the lock.
    """

    def __init__(self, path: str, name: str, *, patience_s: float = PATIENCE_S) -> None:
        """Make the lock file of the database at *path*, called *name* in errors, if need be.

        Raises:
            OSError: It cannot be made.
        """
        # The name that earlier versions of Earmark lock, too.
        self._path = f"{path}-turn"
        self._name = name
        self._patience_s = patience_s
        self._file = _LockFile(self._path)
        self._number = self._file.fileno()
        self._waiter: _LockWaiter | None = None

    def acquire(self) -> None:
        """Return when no other process writes, and keep the others from it.

        Raises:
            StoreUnavailable: Another process held the lock all the time; nothing was changed.
        """
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()

    def release(self) -> None:
        """Let the next process write; without the lock, nothing happens."""
        if self._waiter is not None and self._waiter.release():
            self._waiter = None
        if self._number < 0:
            # An interrupt may have come before the end of `close`.
            self._file.close()
            return
        fcntl.flock(self._number, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock file, which releases the lock; closing it again does nothing."""
        if self._waiter is not None:
            self._waiter.release()
        self._number = -1
        self._file.close()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.release()

    def _wait(self) -> None:
        waiter = self._waiter
        if waiter is None or not waiter.resume():
            # Kept here before it starts: whatever lock it gets, `release` finds it.
            waiter = self._waiter = _LockWaiter(self._path)
            waiter.thread.start()
        waiter.acquired.wait(self._patience_s)
        if not waiter.has_lock():
            detail = (
                f"{_holder(self._path)} has had the turn to write for {self._patience_s:g} s;"
                " nothing was changed: ask again when it is done"
            )
            raise StoreUnavailable(store=self._name, detail=detail)


class _LockWaiter:
    """Waits for the lock in a thread of its own: `flock` has no time-outs.

    Kept after a time-out: the next to wait uses it, and keeps its place in the kernel's queue.
    """

    def __init__(self, path: str) -> None:
        self.acquired = threading.Event()
        self.thread = threading.Thread(target=self._run, name="earmark-writer-lock", daemon=True)
        self._file = _LockFile(path)
        self._lock = threading.Lock()
        self._keeps_lock = True
        self._is_over = False

    def resume(self) -> bool:
        """Return whether it still waits; then it keeps the lock that it gets."""
        with self._lock:
            self._keeps_lock = self.thread.is_alive() and not self._is_over
            return self._keeps_lock

    def has_lock(self) -> bool:
        """Return whether it has acquired the lock; if not, it lets go of it once it does."""
        with self._lock:
            self._keeps_lock = self.acquired.is_set()
            return self._keeps_lock

    def release(self) -> bool:
        """Release the lock that it has or will get; return whether it had it."""
        with self._lock:
            self._keeps_lock = False
            if not self.acquired.is_set():
                return False
            self._is_over = True
            self._file.close()
            return True

    def _run(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._lock:
            if self._keeps_lock:
                self.acquired.set()
            else:
                self._is_over = True
                self._file.close()


def _holder(path: str) -> str:
    """Return who has the lock of the file at *path*, as far as the system tells."""
    with suppress(OSError, ValueError):
        file = Path(path).stat()
        file_id = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        for line in _LOCKS.read_text(encoding="ascii").splitlines():
            fields = line.split()
            if len(fields) == _FIELDS and fields[_FILE] == file_id:
                return _described(int(fields[_HOLDER]))
    return "another process"


def _described(process: int) -> str:
    with suppress(OSError):
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        if status.rpartition(")")[2].split()[0] in {"T", "t"}:
            return f"process {process}, which is stopped ('kill -CONT {process}' lets it go on),"
    return f"process {process}"
