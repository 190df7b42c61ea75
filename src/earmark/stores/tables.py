"""Tables beside the books: one port, for whatever keeps rows that are not the ledger's.

The board, the quilt, the nudges' outbox, the agents' leases and the service's tokens each write
their statements once. The databases agree on what those use: `?` is a value, `{schema}.` stands
before a table's name, values are text, whole numbers or null.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from earmark.errors import StoreUnavailable
from earmark.ledger.answers import reservation_of
from earmark.ledger.values import AlsoWrite, Decision, Operation, Refused, TableRows

T = TypeVar("T")
Row = tuple[Any, ...]
#: The tables within one transaction.
Rows = TableRows


def writes_also(batch: Sequence[Operation]) -> bool:
    """Return whether an operation of *batch* writes to other tables as well."""
    return any(_also(op) is not None for op in batch)


def write_also(batch: Sequence[Operation], decisions: Sequence[Decision], rows: Rows) -> None:
    """Write what the operations of *batch* write to other tables, in their own transaction.

    That of a repeated operation too: what was done before may have been another one.
    """
    for number, op in enumerate(batch):
        also = _also(op)
        if also is not None and not isinstance(decisions[number], Refused):
            also(rows, reservation_of(decisions[number]))


def in_transaction(store: str) -> StoreUnavailable:
    """Return the refusal of a transaction that would wait for the one its own thread is in."""
    detail = "this thread is in the middle of a transaction: call once that has ended"
    return StoreUnavailable(store=store, detail=detail)


def _also(op: Operation) -> AlsoWrite | None:
    # By name: a test against a union of types is several times slower, and this is asked of each.
    return getattr(op, "also", None)


class Tables(Protocol):
    """The tables of one store; any thread may call.

    Guaranteed: a `write` is one durable transaction, alone among the writes of all processes that
    name the same lock, and a `read` sees one commit. Not guaranteed: that `work` runs once. After a
    lost connection nobody knows whether it was committed, and it runs again: it must find out by
    what it wrote, such as the id of its operation. Within `work`, neither these tables nor the
    ledger beside them can be written by another call: where both share a writer, it is refused.
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
