"""The journal at a store's URL, opened beside whoever else uses it."""

from earmark.runs.journal import Journal, MemoryJournal
from earmark.runs.journal_tables import TablesJournal
from earmark.stores.open_tables import tables_at


def open_journal(url: str) -> Journal:
    """Return the journal at a ledger's URL; open the ledger first, which makes the tables."""
    return MemoryJournal() if url == "memory:" else TablesJournal(tables_at(url))
