"""The tables at a store's URL, for tests that have no ledger open there."""

from contextlib import closing

from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables


def tables_at(url: str) -> Tables:
    """Return the tables at *url*, on connections of their own, as another program has them."""
    with closing(open_ledger(url)) as ledger:
        return open_tables(ledger.store)
