"""From a store's URL to a ledger; the only module that knows the concrete stores."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from earmark.clock import Clock, SystemClock, check_clock
from earmark.errors import InvalidConfig
from earmark.errors.inputs import shown
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.committer import DirectCommitter, GroupCommitter
from earmark.ledger.ledger import Ledger
from earmark.stores.store_url import IN_MEMORY, WANT, check_url, sqlite_path

if TYPE_CHECKING:
    from earmark.stores.postgres import PostgresStore


def open_ledger(url: str, *, clock: Clock | None = None) -> Ledger:
    """Open the books at *url*, making them if there are none; use as a context manager or close.

    Args:
        url: `memory:`, `sqlite:///relative.db`, `sqlite:////absolute.db`, or
            `postgresql://user:password@host:5432/database`, with libpq's own options and
            `schema=…` (`earmark` unless given) in the query.
        clock: Where time comes from; the system's unless a test brings its own.

    Raises:
        InvalidConfig: No store has such a URL.
        StoreUnavailable: The file or the server cannot be opened, read or written, or the server
            may forget what it acknowledged.
        StoreCorrupt: It is not a healthy store.
        SchemaMismatch: A newer Earmark wrote it; or an older one, and an upgrade is yours to make.
    """
    check_url(url)
    clock = SystemClock() if clock is None else check_clock(clock)
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        from earmark.stores.memory import MemoryStore  # noqa: PLC0415 - loads what is used

        store = MemoryStore()
        return Ledger(store, DirectCommitter(store, clock), clock)
    if scheme == "sqlite" and rest.startswith("///") and len(rest) > len("///"):
        from earmark.stores.sqlite import SqliteStore  # noqa: PLC0415 - loads what is used

        store = SqliteStore(sqlite_path(url))
        return Ledger(store, GroupCommitter(store, clock), clock)
    if scheme in {"postgresql", "postgres"}:
        store = _postgres(url, clock)
        return Ledger(store, GroupCommitter(store, clock), clock)
    raise InvalidConfig(place="store URL", detail=f"'{shown(scheme)}:' is no store: give {WANT}")


@contextmanager
def open_beside(ledger: Ledger) -> Generator[Ledger]:
    """Open the store of *ledger* once more, on connections of its own; closed with the block.

    Books in memory are in one place only: of those *ledger* itself is given, and stays open.

    Raises:
        StoreUnavailable: The store cannot be opened.
    """
    if ledger.store.url == IN_MEMORY:
        yield ledger
        return
    with open_ledger(ledger.store.url, clock=ledger.clock) as own:
        yield own


def _postgres(url: str, clock: Clock) -> "PostgresStore":
    if find_spec("psycopg") is None:
        detail = "PostgreSQL needs the extra 'postgres': pip install 'earmark[postgres]'"
        raise InvalidConfig(place="store URL", detail=detail)
    from earmark.stores.postgres import PostgresStore  # noqa: PLC0415 - loads what is used

    return PostgresStore(url, clock)


@asynccontextmanager
async def open_async_ledger(url: str, *, clock: Clock | None = None) -> AsyncGenerator[AsyncLedger]:
    """Open the books at *url* for tasks; like `open_ledger`, in `async with`."""
    ledger = open_ledger(url, clock=clock)
    try:
        yield ledger.as_async()
    finally:
        ledger.close()
