"""How many commits to SQLite files something costs: each is a flush of the disk."""

from collections.abc import Generator
from contextlib import contextmanager

import apsw


class Commits:
    """Counts the commits that change something."""

    def __init__(self) -> None:
        self.count = 0

    def watch(self, connection: apsw.Connection) -> None:
        """Count those of *connection*."""
        connection.set_commit_hook(self._note)

    def _note(self) -> bool:
        self.count += 1
        return False


@contextmanager
def counted_commits() -> Generator[Commits]:
    """Count what is committed through connections that are made within the block."""
    counting = Commits()
    apsw.connection_hooks.append(counting.watch)
    try:
        yield counting
    finally:
        apsw.connection_hooks.remove(counting.watch)
