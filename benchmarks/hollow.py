"""What asking and answering cost alone: a ledger whose store decides nothing and writes nothing.

Requests are read and checked, handed to the committer's thread in batches and answered, as with
every store. What is left over of the time for an operation is all that a ledger may take for it.
"""

from collections.abc import Sequence

from benchmarks.load import COST, HOLD, LEAF, make_budgets
from earmark.clock import SystemClock
from earmark.ledger import requests
from earmark.ledger.committer import GroupCommitter
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Store
from earmark.ledger.values import Decision, Operation
from earmark.stores.memory import MemoryStore
from earmark.stores.open import open_ledger


class HollowStore(MemoryStore):
    """Answers every batch at once, with one decision for all."""

    def __init__(self) -> None:
        super().__init__()
        self._answer = _decision()

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Return the same answer to each."""
        del now
        return [self._answer] * len(batch)


def hollow_ledger() -> Ledger:
    """Return a ledger on a hollow store; it takes the operations of `benchmarks.load`."""
    clock = SystemClock()
    store: Store = HollowStore()
    return Ledger(store, GroupCommitter(store, clock), clock)


def _decision() -> Decision:
    """Return what a real store answers to a settle."""
    with open_ledger("memory:") as ledger:
        make_budgets(ledger)
        key = ledger.reserve(LEAF, HOLD).key
        settled = ledger.settle(key, COST)
        # A repeat has the whole reservation in it, and nothing else.
        return ledger.store.apply((requests.settle(key, COST, None),), settled.closed)[0]
