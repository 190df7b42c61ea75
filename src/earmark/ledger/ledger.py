"""The ledger as programs use it: `Ledger` for threads, `AsyncLedger` (beside it) for tasks."""

from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.sync_ledger import SyncLedger


class Ledger(SyncLedger):
    """Budgets and reservations in one store; share it between threads."""

    def as_async(self) -> AsyncLedger:
        """Return the same books for tasks; closing this one closes both."""
        return AsyncLedger(self)
