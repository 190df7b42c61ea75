"""The journal at a store's URL, opened beside whoever else uses it."""

from earmark.runs.journal import Journal
from earmark.runs.journal_tables import TablesJournal
from earmark.stores.tables_memory import MemoryTables
from support.tables_at import tables_at


class MemoryJournal(TablesJournal):
    """A journal of its own, that lies beside no ledger."""

    def __init__(self) -> None:
        super().__init__(MemoryTables())


def open_journal(url: str) -> Journal:
    """Return the journal at a ledger's URL; open the ledger first, which makes the tables."""
    return MemoryJournal() if url == "memory:" else TablesJournal(tables_at(url))
