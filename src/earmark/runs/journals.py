"""From a ledger to the journal beside it."""

import asyncio

from earmark.ledger.async_ledger import AsyncLedger
from earmark.runs.journal import Journal, MemoryJournal

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql:", "postgres:")


async def journal_of(ledger: AsyncLedger) -> Journal:
    """Return the journal in the same place as *ledger*'s books; the caller closes it.

    Raises:
        StoreUnavailable: The file cannot be opened.
    """
    return await asyncio.to_thread(open_journal, ledger.sync.store.url)


def open_journal(url: str) -> Journal:
    """Return the journal at a ledger's URL; open the ledger first, which makes the tables."""
    if url.startswith(_SQLITE):
        from earmark.runs.journal_sqlite import SqliteJournal  # noqa: PLC0415 - loads what is used

        return SqliteJournal(url.removeprefix(_SQLITE))
    if url.startswith(_POSTGRES):
        # Only those who use it have the driver installed.
        from earmark.runs.journal_postgres import PostgresJournal  # noqa: PLC0415

        return PostgresJournal(url)
    return MemoryJournal()
