"""From a store to the tables beside it."""

from typing import Protocol, cast

from earmark.ledger.store import Store
from earmark.stores.tables import Tables


class _StoreWithTables(Protocol):
    """What every store of this package offers beside what the ledger needs."""

    def open_tables(self) -> Tables: ...


def open_tables(store: Store) -> Tables:
    """Return the tables in the same place as a ledger's *store*; the caller closes them.

    Those in a file share the connections of the store, and those in memory are always the same
    ones, which last as long as the store.

    Raises:
        StoreUnavailable: The store cannot be opened.
        StoreClosed: It was closed.
    """
    return cast("_StoreWithTables", store).open_tables()
