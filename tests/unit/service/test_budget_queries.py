"""Many budgets at once: what stands in each is read with a few queries for all of them."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from earmark.stores.tables import Row, Rows, Tables
from support.ledger_books import STORES
from support.postgres_session import recycle
from support.service_house import House, house
from support.shaky_tables import ShakyTables

T = TypeVar("T")


class Counted:
    """Rows that count the statements."""

    def __init__(self, rows: Rows, run: list[str]) -> None:
        self._rows = rows
        self._run = run

    def run(self, sql: str, *values: object) -> list[Row]:
        """Count one, and run it."""
        self._run.append(sql)
        return self._rows.run(sql, *values)


class CountedTables(ShakyTables):
    """Tables whose reads count their statements."""

    def __init__(self, tables: Tables, run: list[str]) -> None:
        super().__init__(tables)
        self._run = run

    def read(self, work: Callable[[Rows], T]) -> T:
        """Read, and count."""
        return super().read(lambda rows: work(Counted(rows, self._run)))


@pytest.fixture(params=list(STORES))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A service with budgets of every kind."""
    with house(STORES[request.param](tmp_path)) as made:
        ledger = made.workspace.ledger
        ledger.set_budget("acme", limits=["10 usd per day"], timezone="Europe/Berlin")
        for number in range(150):
            limits = ["1 usd per 30min", "3 calls per day"] if number % 3 else ["5 usd total"]
            ledger.set_budget(f"acme/t-{number:03}", limits=limits if number % 7 else [])
        ledger.set_budget("acme/t-001/below", limits=["0.5 usd per hour"])
        yield made
    recycle(tmp_path)


def test_what_stands_is_the_same_however_many_are_read(opened: House) -> None:
    """Spent, held, extended, paused, never used, and after the window turned."""
    ledger = opened.workspace.ledger
    ledger.settle(ledger.reserve("acme/t-001/below", "0.25").key, "0.20")
    ledger.reserve("acme/t-002", "0.75", deadline="2h")
    until = opened.clock.now + timedelta(minutes=40)
    ledger.extend_budget("acme/t-002", "1 usd per 30min", until=until)
    ledger.pause("acme/t-003", reason="lunch")
    budgets = ledger.budgets("acme")
    assert len(budgets) == 152
    for minutes in (0, 20, 25, 1440):
        opened.clock.advance(timedelta(minutes=minutes))
        one_by_one = [opened.workspace.budgets.balances(each) for each in budgets]
        assert opened.workspace.budgets.balances_of_all(budgets) == one_by_one
        used = [balance for balances in one_by_one for balance in balances if balance.settled]
        assert bool(used) == (minutes < 60)
    assert opened.workspace.budgets.balances_of_all([]) == []


@pytest.mark.parametrize("path", ["/v1/budgets/acme", "/v1/budgets?prefix=acme&limit=200"])
def test_a_tree_of_budgets_takes_few_statements(opened: House, path: str) -> None:
    """Not one for each budget, however many there are."""
    if opened.workspace.ledger.store.url == "memory:":
        pytest.skip("in memory there are no statements")
    run: list[str] = []
    line: Any = opened.line
    line._tables = CountedTables(line._tables, run)
    answer = opened.ok("get", path)
    found = answer["below"] if "below" in answer else answer["items"]
    assert len(found) >= 151
    accounts = [sql for sql in run if "account" in sql]
    assert 1 <= len(accounts) <= 2
    assert len(run) < 10
