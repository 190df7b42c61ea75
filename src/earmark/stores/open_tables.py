"""From a store to the tables beside it."""

import threading
from typing import Final
from weakref import WeakKeyDictionary

from earmark.ledger.store import Store
from earmark.stores.tables import Tables
from earmark.stores.tables_sqlite import SqliteTables

_SQLITE = "sqlite:///"
_MEMORY = "memory:"

#: Books in memory are nowhere but in their store, and so are the tables beside them.
_lock: Final = threading.Lock()
_in_memory: "WeakKeyDictionary[Store, Tables]" = WeakKeyDictionary()


def open_tables(store: Store) -> Tables:
    """Return the tables in the same place as a ledger's *store*; the caller closes them.

    Every call on one store in memory gives the same tables, which last as long as the store.

    Raises:
        StoreUnavailable: The file cannot be opened.
    """
    if store.url != _MEMORY:
        return tables_at(store.url)
    with _lock:
        if store not in _in_memory:
            _in_memory[store] = SqliteTables(":memory:")
        return _in_memory[store]


def tables_at(url: str) -> Tables:
    """Return the tables at a ledger's URL; open the ledger first, which makes them."""
    if url.startswith(_SQLITE):
        return SqliteTables(url.removeprefix(_SQLITE))
    # Only those who use it have the driver installed.
    from earmark.stores.tables_postgres import PostgresTables  # noqa: PLC0415

    return PostgresTables(url)
