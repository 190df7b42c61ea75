"""The rows that one batch made or changed."""

from dataclasses import dataclass, field

from earmark.budget.budget import Budget
from earmark.ledger.values import Account, Alert, Entry, Reservation


@dataclass(slots=True)
class Changes:
    """The rows a batch made or changed; each is written once.

    Every accepted operation makes an entry, so there is something to write if there is an entry or
    an operation that was accepted as a repeat under a new key.
    """

    accounts: dict[int, Account] = field(default_factory=dict[int, Account])
    before: dict[int, Account] = field(default_factory=dict[int, Account])
    """The same accounts as they were; for a store that adds up what several writers change."""
    reservations: dict[str, Reservation] = field(default_factory=dict[str, Reservation])
    joined: set[str] = field(default_factory=set[str])
    """Those of them that count on more accounts than before."""
    entries: list[Entry] = field(default_factory=list[Entry])
    alerts: list[Alert] = field(default_factory=list[Alert])
    budgets: dict[str, Budget] = field(default_factory=dict[str, Budget])
    operations: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def clear(self) -> None:
        """Start the next batch."""
        # Emptied, not made anew: a batch of one operation is most of what a quiet ledger sees.
        self.accounts.clear()
        self.before.clear()
        self.reservations.clear()
        self.entries.clear()
        if self.alerts or self.budgets or self.operations:
            self.alerts.clear()
            self.budgets.clear()
            self.operations.clear()
        if self.joined:
            self.joined.clear()
