"""Tables that do what a database far away does: be gone, or lose an answer after the commit."""

from collections.abc import Callable
from typing import TypeVar

from earmark.errors import StoreUnavailable
from earmark.stores.tables import Rows, Tables

T = TypeVar("T")


class ShakyTables:
    """Other tables, reached over a bad line; they stay their owner's."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.down = False
        """While set, nothing is reached."""
        self.loses_answers = False
        """While set, each write is committed, its answer lost, and its work done again."""
        self.writes_left = -1
        """How many more writes succeed before the line is down; negative for all."""
        self.meanwhile: Callable[[], object] | None = None
        """What somebody else does right before the next write, once."""

    @property
    def name(self) -> str:
        """The name of the tables behind."""
        return self._tables.name

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Write, as often as the line makes it."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        self._count()
        self._check()
        if self.loses_answers:
            self._tables.write(lock, work)
        return self._tables.write(lock, work)

    def read(self, work: Callable[[Rows], T]) -> T:
        """Read, unless the line is down."""
        self._check()
        return self._tables.read(work)

    def close(self) -> None:
        """Do nothing."""

    def _count(self) -> None:
        if self.writes_left == 0:
            self.down = True
        self.writes_left -= 1

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable(store=self.name, detail="the line is down")
