"""Everything the memory store has, as of one moment: for audits and totals."""

from collections.abc import Iterator
from typing import Any, Final

from earmark.budget.budget import Budget
from earmark.ledger.values import Account, Entry, Kind, Reservation

_OF_BUDGETS: Final[frozenset[Kind]] = frozenset({"limit", "pause", "resume", "extension"})


class MemorySnapshot:
    """Copies of everything as of one moment."""

    gapless: bool = True

    def __init__(
        self,
        budgets: list[Budget],
        accounts: list[Account],
        reservations: list[Reservation],
        entries: list[Entry],
    ) -> None:
        self._budgets = budgets
        self._accounts = accounts
        self._reservations = reservations
        self._entries = entries

    def budgets(self) -> list[Budget]:
        """Return every budget."""
        return self._budgets

    def accounts(self) -> Iterator[Account]:
        """Yield every account."""
        return iter(self._accounts)

    def reservations(self) -> Iterator[Reservation]:
        """Yield every reservation."""
        return iter(self._reservations)

    def entries(self) -> Iterator[Entry]:
        """Yield every entry in the order of commits."""
        return iter(self._entries)

    def budget_changes(self) -> Iterator[Entry]:
        """Yield the entries that changed a budget, in the order of commits."""
        return (entry for entry in self._entries if entry.kind in _OF_BUDGETS)

    def table(self, name: str, columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield nothing: in memory there are no tables."""
        del name, columns
        return iter(())

    def problems(self) -> list[str]:
        """Return nothing: there is no file."""
        return []

    def close(self) -> None:
        """Do nothing."""
