"""Budgets that a token's clients made, on every store: so many of each token, whoever asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.gateway.session_budgets import SessionBudgets
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables
from earmark.testing import ManualClock
from support.gateway_workers import PROGRAMS
from support.ledger_books import DURABLE, STORES
from support.ledger_workers import go, result, start_all
from support.tables_at import tables_at

#: Of each of two programs as many, so that they meet often.
MOST = ASKED = 150


@pytest.fixture
def tables(url: str, clock: ManualClock) -> Iterator[Tables]:
    """The tables beside empty books."""
    with open_ledger(url, clock=clock) as ledger:
        opened = open_tables(ledger.store)
        yield opened
        opened.close()


def test_each_token_has_so_many(tables: Tables, clock: ManualClock) -> None:
    """One that it has is given again, with no room left too; another token has its own count."""
    sessions = SessionBudgets(tables, clock)
    assert [sessions.add("a", f"acme/{n}", 2) for n in (1, 2, 3, 2, 1)] == [
        *(True, True, False, True, True),
    ]
    assert sessions.add("b", "acme/3", 2)
    assert (sessions.count("a"), sessions.last("a", 10)) == (2, ["acme/2", "acme/1"])
    assert sessions.last("a", 1) == ["acme/2"]
    assert [sessions.has("a", f"acme/{n}") for n in (1, 3)] == [True, False]
    assert not sessions.add("a", "acme/4", 0)


@pytest.mark.parametrize("store", DURABLE)
def test_processes_that_race_for_the_last_one_get_no_more(store: str, tmp_path: Path) -> None:
    """Two programs that ask for many at once have together as many as one would have had."""
    url = STORES[store](tmp_path)
    open_ledger(url).close()
    workers = start_all(
        *[("take_sessions", url, "t", f"acme/{name}", ASKED, MOST) for name in "ab"], file=PROGRAMS
    )
    go(*workers)
    given = [path for worker in workers for path in result(worker)]
    assert len(given) == len(set(given)) == MOST
    tables = tables_at(url)
    try:
        assert set(SessionBudgets(tables, ManualClock()).last("t", 1000)) == set(given)
    finally:
        tables.close()
