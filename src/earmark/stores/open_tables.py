"""From a store to the tables beside it."""

from earmark.ledger.store import Store
from earmark.stores.tables import Tables
from earmark.stores.tables_sqlite import SqliteTables

_SQLITE = "sqlite:///"


def open_tables(store: Store) -> Tables:
    """Return the tables in the same place as a ledger's *store*; the caller closes them.

    Every call on one store in memory gives the same tables, which last as long as the store.

    Raises:
        StoreUnavailable: The file cannot be opened.
    """
    # Those of a store in memory are nowhere but in it.
    own: Tables | None = getattr(store, "tables", None)
    return tables_at(store.url) if own is None else own


def tables_at(url: str) -> Tables:
    """Return the tables at a ledger's URL; open the ledger first, which makes them."""
    if url.startswith(_SQLITE):
        return SqliteTables(url.removeprefix(_SQLITE))
    # Only those who use it have the driver installed.
    from earmark.stores.tables_postgres import PostgresTables  # noqa: PLC0415

    return PostgresTables(url)
