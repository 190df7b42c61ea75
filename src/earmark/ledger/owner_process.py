"""Which process opened a store: a forked child has to open its own.

The child has the parent's descriptors and sockets, of which it would take the parent's locks or
answers, copies of locks that a thread of the parent held at the fork, and of rows in memory a copy
that both would spend.
"""

import os

from earmark.errors import StoreClosed


class OwnerProcess:
    """The process that made this; what it opened is of no use in another."""

    __slots__ = ("id",)

    def __init__(self) -> None:
        self.id = os.getpid()
        """What `os.getpid` gives there; compared in place where a call would show."""

    @property
    def is_this(self) -> bool:
        """Whether this is still that process."""
        return self.id == os.getpid()

    def check(self, store: str, *, closed: bool = False) -> None:
        """Refuse the use of *store*, its URL, in another process, or once it is *closed*.

        Raises:
            StoreClosed: It says which of the two it is.
        """
        if self.id != os.getpid():
            detail = "opened before this process was forked: open it in here"
            raise StoreClosed(store=store, detail=detail)
        if closed:
            raise StoreClosed(store=store, detail="closed")
