"""Opening a store's own files: never through a link that somebody put there, never a pipe."""

import os
import stat
from typing import Final

#: A pipe without a writer must not block, and its kind is known only once it is open.
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE: Final = 0o644


class NotARegularFile(OSError):
    """A pipe, a device, a socket or a symbolic link has the name of a store's file."""


def check_regular(path: str) -> None:
    """Refuse what is at *path* if it is there and no regular file; a folder is not looked for.

    Raises:
        NotARegularFile: It is something else.
    """
    if os.path.lexists(path):
        _check(path, os.lstat(path))


def open_regular(path: str, flags: int) -> int:
    """Return a descriptor of the regular file at *path*, opened with *flags*; never blocks.

    Raises:
        NotARegularFile: It is something else, or a symbolic link.
        OSError: It cannot be opened.
    """
    check_regular(path)
    number = os.open(path, flags | _FLAGS, _MODE)
    try:
        _check(path, os.fstat(number))
    except BaseException:
        os.close(number)
        raise
    return number


def _check(path: str, found: os.stat_result) -> None:
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no regular file"
        raise NotARegularFile(f"{path} is {kind}")
