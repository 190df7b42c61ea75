"""Many trees of budgets, deep ones, and very many budgets on one PostgreSQL server."""

import asyncio
import os
import random
import statistics
from pathlib import Path

import pytest

from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from support.ledger_clients import Clients
from support.ledger_history import check_history, counts
from support.postgres_server import PostgresServer, Server

SECONDS = 6 if float(os.environ.get("EARMARK_FIRE_SECONDS", "0")) < 60 else 60
TREES = tuple(f"t{number}" for number in range(10))


@pytest.mark.timeout(120 + 3 * SECONDS)
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
        assert clients.finish() == 0, "a caller was told of an error"
        assert counts(clients.history)["Accepted"] > 100
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


def crowd(ledger: Ledger, dice: random.Random) -> float:
    """Let many callers reserve and release below the hot root; return how long it took."""
    books = ledger.as_async()

    async def call(number: int) -> None:
        for _ in range(4):
            await books.release((await books.reserve(leaf(number), "0.01")).key)

    async def all_at_once() -> None:
        await asyncio.gather(*(call(dice.randrange(LEAVES)) for _ in range(CALLERS)))

    started = ledger.clock.elapsed()
    asyncio.run(all_at_once())
    return ledger.clock.elapsed() - started


def alone(ledger: Ledger, leaves: int, dice: random.Random) -> float:
    """Reserve and release on any of so many leaves, one after another; return how long it took."""
    started = ledger.clock.elapsed()
    for _ in range(20):
        ledger.release(ledger.reserve(leaf(dice.randrange(leaves)), "0.01").key)
    return ledger.clock.elapsed() - started


def test_admission_does_not_slow_down_with_the_number_of_budgets(postgres: Server) -> None:
    """Below a hot root, eight levels deep: 100,000 budgets cost no more than fifty."""
    dice = random.Random(1)
    few, many = postgres.url(schema="fire_few"), postgres.url(schema="fire_many")
    try:
        with prepared(few) as small, prepared(many) as large:
            fill(postgres, "fire_many")
            crowds = [(crowd(small, dice), crowd(large, dice)) for _ in range(9)]
            assert statistics.median(large / small for small, large in crowds) < 2
            # Leaves nobody knows yet have to be read, which takes another look at the server.
            single = [(alone(small, LEAVES, dice), alone(large, BUDGETS, dice)) for _ in range(9)]
            assert statistics.median(large / small for small, large in single) < 3
    finally:
        postgres.drop("fire_few", "fire_many")
