"""The port between the ledger and a store, and the views both speak.

A store applies batches of operations and lists what it holds. Guaranteed: a batch is one
transaction, decided by `earmark.ledger.rules` in order; when `apply` returns, it survives a power
cut (the memory store excepted, which says so by its name); readers see whole batches only. Not
guaranteed: fairness between processes, or that two processes see the same `version` number.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, Unpack

from earmark.budget.budget import Budget
from earmark.budget.fields import BudgetKind
from earmark.ledger.values import (
    Account,
    Alert,
    Amounts,
    Decision,
    Entry,
    Operation,
    Refused,
    Reservation,
    State,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What to list: everything, or what matches all that is given."""

    budget: str | None = None
    """At or below this path."""
    key: str | None = None
    prefix: str | None = None
    """Keys that begin so: found by the index of keys, however many others there are."""
    keys: Collection[str] | None = None
    """Reservations with one of these keys: one question for all of them."""
    state: State | None = None
    """Reservations in this state."""
    since: int | None = None
    """Opened or committed at this instant or after it."""
    until: int | None = None
    """Opened or committed before this instant."""
    after: int = 0
    """Entries with a higher number: the cursor of a page."""
    most: int = 1_000_000_000
    complete: bool = False
    """End before the first number that something still being written may come before or have."""


class PreviewOptions(TypedDict, total=False):
    """How a preview decides; `False` where it is not given."""

    together: bool
    """Each as if those before it that fit were held."""
    enforced: bool
    """As if the tree were not observed."""


class Store(Protocol):
    """Where the books are kept."""

    @property
    def name(self) -> str:
        """The store's URL without a password."""
        ...

    @property
    def url(self) -> str:
        """The URL that opens the same store again, its password included: never shown."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether a read is one of this host's memory or disk, and takes microseconds."""
        ...

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Decide and keep *batch* in one transaction.

        It happens at *now*, or at the last entry's instant if that is later, as it is where *now*
        is 0: the host's clock does not matter then.

        Raises:
            StoreUnavailable: The outcome is unknown; apply the same operations again.
        """
        ...

    @property
    def is_in_transaction(self) -> bool:
        """Whether the calling thread is in a transaction that `apply` would wait for, for ever."""
        ...

    def watch(self, trees: Collection[str], seen: int, patience_s: float) -> int:
        """Return a number other than *seen* once any process committed something in *trees*.

        Without a commit, *seen* after about *patience_s*. It may be wrong in one direction: say
        that something was committed where nothing was. *trees*: first parts of budgets' paths.

        Raises:
            StoreUnavailable: The store cannot be looked at now.
        """
        ...

    def heads(self) -> Mapping[str, int]:
        """Return up to which number all entries are there to be read, by tree.

        Where one order holds for all trees, it is under the empty name. Whoever has read a tree up
        to its head misses nothing by going on after it, whatever else is being committed.
        """
        ...

    def latest(self) -> int:
        """Return the instant of the latest entry; 0 without one."""
        ...

    def accounts(self, path: str, now: int) -> tuple[Account, ...]:
        """Return the accounts above *path*, leaf first, in the intervals that contain *now*."""
        ...

    def preview(
        self, path: str, amounts: Sequence[Amounts], now: int, **how: Unpack[PreviewOptions]
    ) -> list[Refused | None]:
        """Return for each of *amounts* why a reserve of it on *path* at *now* would be refused.

        As `apply` would decide it, what is past its deadline presumed first; nothing is written.
        """
        ...

    def budget(self, path: str) -> Budget | None:
        """Return the budget at exactly *path*."""
        ...

    def budgets(self, prefix: str | None, kind: BudgetKind | None = None) -> list[Budget]:
        """Return the budgets at or below *prefix*, by path; those of one *kind*, if given."""
        ...

    def reservation(self, key: str) -> Reservation | None:
        """Return what *key* opened."""
        ...

    def reservations(self, query: Filter) -> list[Reservation]:
        """Return matching reservations in the order they were opened."""
        ...

    def entries(self, query: Filter) -> list[Entry]:
        """Return matching entries in the order of commits."""
        ...

    def alerts(self, query: Filter) -> list[Alert]:
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

    @property
    def gapless(self) -> bool:
        """Whether the entries are numbered 1, 2, 3…; else `problems` knows what is missing."""
        ...

    def budgets(self) -> list[Budget]:
        """Return every budget."""
        ...

    def accounts(self) -> Iterator[Account]:
        """Yield every account."""
        ...

    def reservations(self) -> Iterator[Reservation]:
        """Yield every reservation in the order they were opened."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield every entry in the order of commits."""
        ...

    def budget_changes(self) -> Iterator[Entry]:
        """Yield the entries that changed a budget, in the order of commits: few among all."""
        ...

    def table(self, name: str, columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield *columns* of every row of a table, of the ledger or not, as they are stored."""
        ...

    def problems(self) -> list[str]:
        """Return what the storage itself finds wrong: a damaged file, a gap in the numbers."""
        ...

    def close(self) -> None:
        """End the snapshot."""
        ...
