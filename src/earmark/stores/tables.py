"""Tables beside the books: one port, for whatever keeps rows that are not the ledger's.

The board, the quilt, the nudges' outbox, the agents' leases and the service's tokens each write
their statements once. The databases agree on what those use: `?` is a value, `{schema}.` stands
before a table's name, values are text, whole numbers or null.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


class Rows(Protocol):
    """The tables within one transaction."""

    def run(self, sql: str, *values: object) -> list[Row]:
        """Run one statement and return its rows: those a query found, or those it `RETURNING`s."""
        ...


class Tables(Protocol):
    """The tables of one store; any thread may call.

    Guaranteed: a `write` is one durable transaction, alone among the writes of all processes that
    name the same lock, and a `read` sees one commit. Not guaranteed: that `work` runs once. After a
    lost connection nobody knows whether it was committed, and it runs again: it must find out by
    what it wrote, such as the id of its operation.
    """

    @property
    def name(self) -> str:
        """The store's URL without a password."""
        ...

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Return what *work* gives, once its changes are durable; an exception undoes them.

        Raises:
            StoreUnavailable: The outcome is unknown; call again with the same operation.
        """
        ...

    def read(self, work: Callable[[Rows], T]) -> T:
        """Return what *work* gives; it changes nothing.

        Raises:
            StoreUnavailable: The store cannot be read now.
        """
        ...

    def close(self) -> None:
        """Let go of the connections; a second time does nothing."""
        ...
