"""From a ledger to the journal beside it."""

import asyncio

from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.store import Store
from earmark.runs.journal_tables import TablesJournal
from earmark.stores.open_tables import open_tables


async def journal_of(ledger: AsyncLedger) -> TablesJournal:
    """Return the journal in the same place as *ledger*'s books; the caller closes it.

    Raises:
        StoreUnavailable: The file cannot be opened.
    """
    return await asyncio.to_thread(open_ledger_journal, ledger.sync.store)


def open_ledger_journal(store: Store) -> TablesJournal:
    """Return the journal beside *store*; the caller closes it."""
    return TablesJournal(open_tables(store))
