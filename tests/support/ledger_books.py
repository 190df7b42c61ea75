"""Books to test: the same ledger on every store, for threads and for tasks."""

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import apsw
import psycopg

from earmark.clock import Clock
from earmark.ledger.answers import Balance
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import (
    Accepted,
    Extend,
    Presume,
    Refused,
    Release,
    Reserve,
    Settle,
)
from earmark.stores.open import open_ledger
from earmark.stores.postgres_url import PostgresUrl
from support.postgres_session import fresh_url

#: Every store a ledger can be kept in, by the URL of books in a folder.
STORES: Final[dict[str, Callable[[Path], str]]] = {
    "memory": lambda _: "memory:",
    "sqlite": lambda folder: f"sqlite:///{folder}/books.db",
    "postgres": fresh_url,
}

#: Those that outlive a process.
DURABLE: Final = tuple(name for name in STORES if name != "memory")

#: Files without a disk, where the system has such: for tests that compare and lose nothing.
IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - each test makes a folder of its own in it


class Awaited:
    """An `AsyncLedger` as a test of `Ledger` sees it: each awaited method run to its end."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name, None)
        if method is None:
            return getattr(self._ledger.sync, name)

        def run(*args: object, **options: object) -> Any:
            answer = method(*args, **options)
            return self._runner.run(answer) if inspect.iscoroutine(answer) else answer

        return run

    def close(self) -> None:
        """Close the books and the loop."""
        self._runner.run(self._ledger.aclose())
        self._runner.close()


def open_books(url: str, clock: Clock, *, face: str = "threads") -> Ledger:
    """Open the books at *url*; *face* is `threads` for `Ledger`, `tasks` for `AsyncLedger`."""
    ledger = open_ledger(url, clock=clock)
    return ledger if face == "threads" else cast("Ledger", Awaited(ledger.as_async()))


def standing(ledger: Ledger, path: str, unit: str = "usd") -> tuple[str, str, str, str]:
    """Return (limit, settled, held, available) of the one limit in *unit* on the budget."""
    found = only(ledger, path, unit)
    return str(found.limit), str(found.settled), str(found.held), str(found.available)


def only(ledger: Ledger, path: str, unit: str = "usd") -> Balance:
    """Return the one balance in *unit* on the budget at *path*."""
    (found,) = [balance for balance in ledger.balances(path) if balance.unit == unit]
    return found


def check_books(ledger: Ledger) -> None:
    """Assert what holds at every moment: the audit agrees, and nothing is lost or made."""
    report = ledger.audit()
    assert report.ok, report.problems
    for budget in ledger.budgets():
        for balance in ledger.balances(budget.path):
            left = cast("int", balance.limit) - cast("int", balance.settled)
            assert left - cast("int", balance.held) == balance.available


def tamper(ledger: Ledger, sql: str) -> int:
    """Change rows of the books behind the ledger's back; return how many."""
    url = ledger.store.url
    if url.startswith("sqlite:"):
        with apsw.Connection(url.removeprefix("sqlite:///")) as connection:
            connection.execute(sql)
            return connection.changes()
    place = PostgresUrl.parse(url)
    with psycopg.connect(place.conninfo) as server:
        server.execute(f"SET LOCAL search_path = {place.schema}".encode())
        return server.execute(sql.encode()).rowcount


def check_kept(ledger: Ledger, operation: Any, decision: Any) -> None:
    """Assert that an accepted operation's entry and its effect are in the books."""
    if not isinstance(decision, Accepted):
        assert isinstance(decision, Refused) or decision.reservation is not None
        return
    (entry,) = ledger.entries(after=decision.entry.seq - 1, most=1)
    assert entry == decision.entry
    row = ledger.reservation(operation.key)
    match operation:
        case Reserve():
            assert (row.seq, row.asked) == (entry.seq, operation.amounts)
        case Settle() | Release():
            assert row.last == entry.seq
            assert row.actual == entry.amounts
        case Presume():
            assert row.last >= entry.seq
            assert row.state != "open"
        case Extend():
            assert row.hold.usd >= row.asked.usd + operation.amounts.usd
        case _:
            raise AssertionError(operation)
