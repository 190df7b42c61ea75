"""Whose turn it is to write a SQLite file: one process at a time, by a lock file beside it.

A process that has the turn and is stopped (Ctrl-Z, a debugger, a stuck disk) keeps it. The others
wait for a while and are then told who it is; they go on by themselves once the turn is given.

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


class Turn:
    """The right to write one file; for one thread at a time, `with` takes and gives it.

    A thread that is interrupted in `take` or `give` calls `give` to be rid of whatever it got.
    """

    def __init__(self, path: str, name: str, *, patience_s: float = PATIENCE_S) -> None:
        """Make the lock file of the database at *path*, called *name* in errors, if need be.

        Raises:
            OSError: It cannot be made.
        """
        self._path = f"{path}-turn"
        self._name = name
        self._patience_s = patience_s
        self._file = _LockFile(self._path)
        self._number = self._file.fileno()
        self._asker: _Asker | None = None

    def take(self) -> None:
        """Return when no other process writes, and keep the others from it.

        Raises:
            StoreUnavailable: Another process had the turn all the time; nothing was changed.
        """
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()

    def give(self) -> None:
        """Let the next process write; without the turn, nothing happens."""
        if self._asker is not None and self._asker.give():
            self._asker = None
        fcntl.flock(self._number, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock file, which gives the turn; closing it again does nothing."""
        if self._asker is not None:
            self._asker.give()
        self._number = -1
        self._file.close()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.give()

    def _wait(self) -> None:
        asker = self._asker
        if asker is None or not asker.is_wanted_again():
            # Known here before it asks: whatever it gets, `give` finds it.
            asker = self._asker = _Asker(self._path)
            asker.thread.start()
        asker.granted.wait(self._patience_s)
        if not asker.has_turn():
            raise StoreUnavailable(store=self._name, detail=self._why())

    def _why(self) -> str:
        return (
            f"{_holder(self._path)} has had the turn to write for {self._patience_s:g} s;"
            " nothing was changed: ask again when it is done"
        )


class _Asker:
    """Stands in line, in a thread of its own: a lock file knows no time-outs.

    Kept while nobody waits for it: the next to wait goes on where this one stood in the line.
    """

    def __init__(self, path: str) -> None:
        self.granted = threading.Event()
        self.thread = threading.Thread(target=self._stand, name="earmark-turn", daemon=True)
        self._file = _LockFile(path)
        self._lock = threading.Lock()
        self._is_wanted = True
        self._is_over = False

    def is_wanted_again(self) -> bool:
        """Return whether it still stands in line; then it takes what it is given."""
        with self._lock:
            self._is_wanted = self.thread.is_alive() and not self._is_over
            return self._is_wanted

    def has_turn(self) -> bool:
        """Return whether it was given the turn; if not, nobody wants it any more."""
        with self._lock:
            self._is_wanted = self.granted.is_set()
            return self._is_wanted

    def give(self) -> bool:
        """Give what it has or will be given; return whether it had the turn."""
        with self._lock:
            self._is_wanted = False
            if not self.granted.is_set():
                return False
            self._is_over = True
            self._file.close()
            return True

    def _stand(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._lock:
            if self._is_wanted:
                self.granted.set()
            else:
                self._is_over = True
                self._file.close()


def _holder(path: str) -> str:
    """Return who has the lock of the file at *path*, as far as the system tells."""
    with suppress(OSError, ValueError):
        file = Path(path).stat()
        place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        for line in _LOCKS.read_text(encoding="ascii").splitlines():
            fields = line.split()
            if len(fields) == _FIELDS and fields[_FILE] == place:
                return _described(int(fields[_HOLDER]))
    return "another process"


def _described(process: int) -> str:
    with suppress(OSError):
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        if status.rpartition(")")[2].split()[0] in {"T", "t"}:
            return f"process {process}, which is stopped ('kill -CONT {process}' lets it go on),"
    return f"process {process}"
