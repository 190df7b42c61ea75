"""From a ledger to the journal beside it."""

import asyncio
from typing import Final
from weakref import WeakKeyDictionary

from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.store import Store
from earmark.runs.journal import Journal, LedgerJournal, MemoryJournal
from earmark.runs.journal_tables import TablesJournal
from earmark.stores.open_tables import tables_at
from earmark.stores.tables import Tables

_MEMORY: Final = "memory:"

#: Books in memory are nowhere but in their store, and so is the journal beside them.
_in_memory: "WeakKeyDictionary[Store, MemoryJournal]" = WeakKeyDictionary()


async def journal_of(ledger: AsyncLedger) -> LedgerJournal:
    """Return the journal in the same place as *ledger*'s books; the caller closes it.

    Raises:
        StoreUnavailable: The file cannot be opened.
    """
    return await asyncio.to_thread(journal_beside, ledger.sync.store)


def journal_beside(store: Store) -> LedgerJournal:
    """Return the journal beside *store*; of one store in memory, always the same."""
    if store.url == _MEMORY:
        return _in_memory.setdefault(store, MemoryJournal())
    return TablesJournal(tables_at(store.url))


def journal_with(store: Store, tables: Tables) -> Journal:
    """Return the journal of *store* that uses *tables*, which stay the caller's to close."""
    return journal_beside(store) if store.url == _MEMORY else TablesJournal(tables)
