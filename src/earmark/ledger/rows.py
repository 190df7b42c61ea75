"""What the fold of a batch reads of a store, inside the store's transaction."""

from collections.abc import Iterable
from typing import Protocol

from earmark.budget.budget import Budget
from earmark.budget.window import Interval
from earmark.ledger.values import Account, Reservation


class LedgerRows(Protocol):
    """What a store can read inside its transaction."""

    def budget(self, path: str) -> Budget | None:
        """Return the budget at exactly *path*."""
        ...

    def account(self, number: int) -> Account:
        """Return the account of that number, without its alert thresholds."""
        ...

    def find_account(self, budget: str, unit: str, window: str, start: int) -> Account | None:
        """Return the account of that limit and interval, without its alert thresholds."""
        ...

    def next_account(self) -> int:
        """Return a number above those of all accounts."""
        ...

    def reservation(self, key: str) -> Reservation | None:
        """Return what *key* opened."""
        ...

    def operation(self, key: str) -> str | None:
        """Return the content of the keyed operation that was accepted under *key*."""
        ...

    def entry_data(self, seq: int) -> str:
        """Return the `data` of the entry of that number."""
        ...

    def counted(self, path: str, interval: Interval) -> Iterable[Reservation]:
        """Return the reservations for which `counting.is_counted` says so."""
        ...
