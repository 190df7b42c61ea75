"""From a URL to the database beneath the store, for those who look after it."""

from importlib.util import find_spec

from earmark.clock import Clock
from earmark.errors import InvalidConfig
from earmark.stores.store_url import SQLITE, check_url, sqlite_path
from earmark.stores.upkeep import Upkeep


def open_upkeep(url: str, clock: Clock) -> Upkeep:
    """Return the database at *url*; it is opened, and made, when it is used.

    Raises:
        InvalidConfig: The URL is none of a store that lasts.
    """
    check_url(url)
    if url.startswith(SQLITE) and url != SQLITE:
        from earmark.stores.upkeep_sqlite import SqliteUpkeep  # noqa: PLC0415 - loads what is used

        return SqliteUpkeep(sqlite_path(url), clock)
    if url.startswith(("postgresql:", "postgres:")):
        if find_spec("psycopg") is None:
            detail = "PostgreSQL needs the extra 'postgres': pip install 'earmark[postgres]'"
            raise InvalidConfig(place="store URL", detail=detail)
        from earmark.stores.upkeep_postgres import (  # noqa: PLC0415 - loads what is used
            PostgresUpkeep,
        )

        return PostgresUpkeep(url, clock)
    scheme = url.partition(":")[0]
    detail = f"'{scheme}:' keeps nothing: give 'sqlite:///path/to/file.db' or 'postgresql://…'"
    raise InvalidConfig(place="store URL", detail=detail)
