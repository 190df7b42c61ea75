"""Many trees of budgets, deep ones, and very many budgets on one PostgreSQL server."""

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from support.last_resort import LAST_RESORT_S, until
from support.ledger_clients import Clients
from support.ledger_history import check_history
from support.postgres_server import PostgresServer, Server

SECONDS = float(os.environ.get("EARMARK_FIRE_SECONDS", "0"))
TREES = tuple(f"t{number}" for number in range(10))


@pytest.mark.timeout(2 * LAST_RESORT_S + 3 * SECONDS)
def test_no_deadlock_reaches_a_caller(doomed_postgres: PostgresServer, tmp_path: Path) -> None:
    """Ten trees under random load from four processes: none is told of a lock, all is in order."""
    url = doomed_postgres.url(schema="trees")
    clients = Clients([url], tmp_path / "history", trees=TREES, threads=12)
    with clients, open_ledger(url) as ledger:
        for tree in TREES:
            ledger.set_budget(tree, limits=["4 usd total"])
            ledger.set_budget(f"{tree}/tight", limits=["1 usd total"])
        clients.start(4)
        clients.rest(SECONDS)
        clients.until_accepted(2000)
        assert clients.finish() == 0, "a caller was told of an error"
        check_history(ledger, clients.history, trees=TREES)
    assert not [line for line in doomed_postgres.log if "deadlock" in line]


BUDGETS = 100_000
LEAVES = 50
CALLERS = 64
DEEP = "acme/a/b/c/d/e/f"


def leaf(number: int) -> str:
    """Return the path of a leaf, eight parts long."""
    return f"{DEEP}/leaf{number}"


def prepared(url: str) -> Ledger:
    """Return books with a limit on each of the seven levels above the leaves."""
    ledger = open_ledger(url)
    parts = DEEP.split("/")
    for depth in range(1, len(parts) + 1):
        ledger.set_budget("/".join(parts[:depth]), limits=["1000000 usd total"])
    for number in range(LEAVES):
        ledger.set_budget(leaf(number), limits=["1000 usd total", "1000000 calls total"])
        ledger.release(ledger.reserve(leaf(number), "0.01").key)
    return ledger


def fill(server: Server, schema: str) -> None:
    """Add leaves, with their accounts, until there are `BUDGETS`; the quick way."""
    budgets = (
        f"INSERT INTO {schema}.budget (path, body) SELECT '{DEEP}/leaf' || n,"  # noqa: S608
        f" replace(body, 'leaf0', 'leaf' || n) FROM {schema}.budget,"
        f" generate_series({LEAVES}, {BUDGETS}) AS n WHERE path = '{leaf(0)}'"
    )
    accounts = (
        f"INSERT INTO {schema}.account SELECT nextval('{schema}.account_id'),"  # noqa: S608
        f' \'{DEEP}/leaf\' || n, unit, "window", start, "end", "limit", 0, 0, 0'
        f" FROM {schema}.account, generate_series({LEAVES}, {BUDGETS}) AS n"
        f" WHERE budget = '{leaf(0)}'"
    )
    with server.connect() as connection:
        for statement in (budgets, accounts, f"ANALYZE {schema}.budget, {schema}.account"):
            done = connection.execute(statement.encode())
            assert done.rowcount < 0 or done.rowcount > BUDGETS - LEAVES


def crowd(url: str, dice: random.Random) -> None:
    """Let many callers reserve and release below the hot root."""

    async def call(books: AsyncLedger, number: int) -> None:
        for _ in range(4):
            await books.release((await books.reserve(leaf(number), "0.01")).key)

    async def all_at_once(books: AsyncLedger) -> None:
        await asyncio.gather(*(call(books, dice.randrange(LEAVES)) for _ in range(CALLERS)))

    with open_ledger(url) as ledger:
        asyncio.run(all_at_once(ledger.as_async()))


def alone(url: str, leaves: int, dice: random.Random) -> None:
    """Reserve and release on any of so many leaves, one after another."""
    with open_ledger(url) as ledger:
        for _ in range(60):
            ledger.release(ledger.reserve(leaf(dice.randrange(leaves)), "0.01").key)


def rows_read(server: Server, schema: str, work: Callable[[], None]) -> int:
    """Return how many rows of the tables in *schema* the server reads while *work* is done."""
    before = _rows_read(server, schema)
    work()
    return _rows_read(server, schema) - before


def _rows_read(server: Server, schema: str) -> int:
    """Return the server's own count, which a connection adds to at its end at the latest."""
    with server.connect() as connection:
        until(lambda: connection.execute(_OTHERS).fetchall() == [(0,)])
        (found,) = connection.execute(_READ, (schema,)).fetchall()
    return int(found[0])


_OTHERS: Final = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_READ: Final = (
    "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))"
    " FROM pg_stat_user_tables WHERE schemaname = %s"
)


def test_admission_does_not_slow_down_with_the_number_of_budgets(
    doomed_postgres: PostgresServer,
) -> None:
    """Below a hot root, eight levels deep: with 100,000 budgets as few rows are read as with 50."""
    server, dice = doomed_postgres, random.Random(1)
    few, many = server.url(schema="fire_few"), server.url(schema="fire_many")
    for url in (few, many):
        prepared(url).close()
    fill(server, "fire_many")
    crowds = [
        rows_read(server, schema, lambda u=url: crowd(u, dice))
        for schema, url in (("fire_few", few), ("fire_many", many))
    ]
    assert 0 < crowds[1] < 2 * crowds[0]
    small = rows_read(server, "fire_few", lambda: alone(few, LEAVES, dice))
    large = rows_read(server, "fire_many", lambda: alone(many, BUDGETS, dice))
    # Leaves nobody knows yet have to be read.
    assert 0 < large < 3 * small
