"""The port between the ledger and a store, and the views both speak.

A store applies batches of operations and lists what it holds. Guaranteed: a batch is one
transaction, decided by `earmark.ledger.rules` in order; when `apply` returns, it survives a power
cut (the memory store excepted, which says so by its name); readers see whole batches only. Not
guaranteed: fairness between processes, or that two processes see the same `version` number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from earmark.budget.budget import Budget
from earmark.ledger.values import Account, Alert, Decision, Entry, Operation, Reservation, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What to list: everything, or what matches all that is given."""

    budget: str | None = None
    """At or below this path."""
    key: str | None = None
    state: State | None = None
    """Reservations in this state."""
    since: int | None = None
    """Opened or committed at this instant or after it."""
    until: int | None = None
    """Opened or committed before this instant."""
    after: int = 0
    """Entries with a higher number: the cursor of a page."""
    most: int = 1_000_000_000


class Store(Protocol):
    """Where the books are kept."""

    @property
    def name(self) -> str:
        """The store's URL without a password."""
        ...

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Decide and keep *batch* in one transaction.

        It happens at *now*, or at the last entry's instant if that is later.

        Raises:
            StoreUnavailable: The outcome is unknown; apply the same operations again.
        """
        ...

    def version(self) -> int:
        """Return a number that changes when any process commits; cheap enough to poll."""
        ...

    def accounts(self, path: str, now: int) -> tuple[Account, ...]:
        """Return the accounts above *path*, leaf first, in the intervals that contain *now*."""
        ...

    def budgets(self, prefix: str | None) -> list[Budget]:
        """Return the budgets at or below *prefix*, by path."""
        ...

    def reservation(self, key: str) -> Reservation | None:
        """Return what *key* opened."""
        ...

    def reservations(self, wanted: Filter) -> list[Reservation]:
        """Return matching reservations in the order they were opened."""
        ...

    def entries(self, wanted: Filter) -> list[Entry]:
        """Return matching entries in the order of commits."""
        ...

    def alerts(self, wanted: Filter) -> list[Alert]:
        """Return the alerts of matching budgets in the order of commits."""
        ...

    def snapshot(self) -> "Snapshot":
        """Return everything as of one commit, for an audit; close it when done."""
        ...

    def close(self) -> None:
        """Let go of the store; everything acknowledged is already durable."""
        ...


class Snapshot(Protocol):
    """All rows as of one commit, in streams, so that an audit of millions of rows stays small."""

    def budgets(self) -> list[Budget]:
        """Return every budget."""
        ...

    def accounts(self) -> Iterator[Account]:
        """Yield every account."""
        ...

    def reservations(self) -> Iterator[Reservation]:
        """Yield every reservation."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield every entry in the order of commits."""
        ...

    def problems(self) -> list[str]:
        """Return what the storage engine itself finds wrong with its file."""
        ...

    def close(self) -> None:
        """End the snapshot."""
        ...
