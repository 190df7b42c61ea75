"""Stores that earlier versions wrote are opened, migrated, audited and worked on."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from earmark.budget.budget import Budget
from earmark.errors import BudgetExceeded, KeyReused, SchemaMismatch
from earmark.stores.backup import back_up
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.board_books import AGENT, LEASE, open_board
from support.databases import Database
from support.ledger_books import check_books, standing
from support.nudge_books import open_outbox
from support.service_house import house
from support.store_facts import facts
from support.store_fixtures import (
    ANSWERED_KEY,
    ANSWERED_REQUEST,
    FIXTURE_TOKEN,
    StoreFixture,
    store_fixtures,
)

NAME_OF_RUN = re.compile(r"(^|/)run-[0-9a-f]{16}$")


@pytest.fixture(params=store_fixtures(), ids=str)
def earlier(request: pytest.FixtureRequest) -> StoreFixture:
    """A store that an earlier version wrote."""
    return request.param


@pytest.fixture
def clock(earlier: StoreFixture) -> ManualClock:
    """The time is when the store was left."""
    return ManualClock(earlier.facts()[0])


@pytest.fixture
def database(earlier: StoreFixture, clock: ManualClock, tmp_path: Path) -> Iterator[Database]:
    """A copy of the store, as it was left."""
    with earlier.restored(tmp_path, clock) as database:
        yield database


@pytest.fixture
def url(database: Database) -> str:
    """A copy of the store that an operator has migrated."""
    database.migrate(finish=True)
    return database.url


def test_an_old_store_says_what_it_said(
    earlier: StoreFixture, database: Database, clock: ManualClock
) -> None:
    """Budgets, balances, holds, entries, tasks, runs and all else are as they were written down."""
    if earlier.kind == "postgres":
        # A server is shared, so that its operator decides when it is migrated.
        if database.standing().lacking:
            with pytest.raises(SchemaMismatch, match="earmark store migrate"):
                open_ledger(database.url, clock=clock)
        database.migrate(finish=True)
    found, expected = facts(database.url, clock), earlier.facts()[1]
    assert found.keys() == expected.keys()
    # An alert is known by its limit's amount too, which the first version left out of its name.
    expected["alerts"] = [
        [name if name.endswith(f"/{limit}") else f"{name}/{limit}", limit, *rest]
        for name, limit, *rest in expected["alerts"]
    ]
    # A field that came later is at its default; but whose a budget is, its name said then.
    expected["budgets"] = [
        Budget(path=path, kind="run" if NAME_OF_RUN.search(path) else "budget").to_json() | budget
        for budget in expected["budgets"]
        for path in [budget["path"]]
    ]
    for name, value in expected.items():
        assert found[name] == value, name
    with open_ledger(database.url, clock=clock) as ledger:
        check_books(ledger)


def test_a_migrated_store_is_opened_without_a_change(
    database: Database, url: str, clock: ManualClock
) -> None:
    """Opening it once more, and migrating it once more, changes no row."""
    facts(url, clock)
    before = _rows(database)
    assert database.migrate(finish=True) == []
    facts(url, clock)
    assert _rows(database) == before


def test_an_old_store_is_backed_up_as_it_is(
    earlier: StoreFixture, database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    """The backup before an upgrade is audited, has the old tables, and says what the store said."""
    if earlier.kind == "postgres":
        # Its backup is of another kind, and made by a program that knows its tables.
        database.migrate(finish=True)
    state, rows = database.standing(), _rows(database)
    folder = tmp_path / "backups"
    folder.mkdir()
    file = folder / "books.db"
    report = back_up(database.url, file, clock=clock, progress=lambda _what, _count: None)
    assert [each.name for each in folder.iterdir()] == ["books.db"]
    assert (report.audit.ok, report.audit.entries > 0) == (True, True)
    assert (database.standing(), _rows(database)) == (state, rows)
    if earlier.kind == "sqlite":
        assert _content(file) == _content(Path(database.url.removeprefix("sqlite:///")))
    database.migrate(finish=True)
    assert facts(f"sqlite:///{file}", clock) == facts(database.url, clock)


def test_the_books_of_an_old_store_go_on(url: str, clock: ManualClock) -> None:
    """Keys, holds, limits, extensions, pauses and windows of before bind what comes after."""
    agent = "acme/team/agent-7"
    with open_ledger(url, clock=clock) as ledger:
        assert ledger.settle("settled", "0.123456789", units={"tokens": 900}).state == "settled"
        assert ledger.settle("corrected", "0.2").state == "settled"
        assert ledger.reserve("acme", 1, key="extended", deadline="20h").state == "open"
        assert (
            str(
                ledger.extend("extended", "0.5", units={"calls": 0}, operation="extension-1").amount
            )
            == "1.5"
        )
        with pytest.raises(KeyReused):
            ledger.reserve("globex", 1, key="settled")
        for path in ("globex/paused", "globex/until", "lowered"):
            with pytest.raises(BudgetExceeded):
                ledger.reserve(path, "0.01")
        limit, _, held, available = standing(ledger, "acme")
        assert (limit, held) == ("15", "2.35")
        with pytest.raises(BudgetExceeded):
            ledger.reserve("acme", "9" + available)
        ledger.release(ledger.reserve("acme", available, key="rest").key)
        ledger.settle("open", "0.4")
        ledger.settle("lost", "0.1")
        ledger.settle(ledger.reserve(agent, "0.5", key="new").key, "0.3")
        check_books(ledger)
        clock.advance(timedelta(hours=20))
        assert ledger.holds(key="extended", state=None)[0].state == "presumed"
        assert standing(ledger, "acme")[1] == "0"
        clock.advance(timedelta(days=40))
        assert standing(ledger, "acme")[0] == "10"
        ledger.settle(ledger.reserve("globex/until", "0.5").key, "0.5")
        check_books(ledger)


def test_what_stands_beside_old_books_goes_on(url: str, clock: ManualClock) -> None:
    """Tasks are claimed and end, nudges are not told twice, runs are read."""
    with open_board(url, clock) as board:
        completed = next(task for task in board.find() if task.waiting)
        board.decide(completed.needs[0], "accept", actor="ann")
        clock.advance(timedelta(minutes=10))
        assert len(board.expired()) == 3
        claimed = board.claim(AGENT, 10, lease_ns=LEASE)
        assert {task.title for task in claimed} == {"[A-1] waits", "graph"}
        for task in claimed:
            attempt = board.start(task, model="local/tiny", key=f"key-{task.id}", budget="acme")
            board.complete(task.id, attempt.number, AGENT, {"done": True})
    with open_outbox(url, clock) as outbox:
        before = outbox.ids()
        assert outbox.collect() == 0
        outbox.spend("acme", "0.5", "0.75")
        assert outbox.collect() > 0
        assert outbox.ids()[: len(before)] == before
        check_books(outbox.ledger)


def test_an_old_token_opens_the_service(url: str, clock: ManualClock) -> None:
    """A token still opens, and a request that was answered under a key gets the same answer."""
    headers = {"Authorization": f"Bearer {FIXTURE_TOKEN}"}
    given: dict[str, Any] = {"scope": None, "headers": headers, "json": ANSWERED_REQUEST}
    with house(url, clock=clock) as service:
        before = len(service.workspace.ledger.entries())
        answer = service.ask("post", "/v1/reservations", key=ANSWERED_KEY, **given)
        assert (answer.status_code, answer.headers["idempotent-replayed"]) == (201, "true")
        assert answer.json()["amount"] == "0.25"
        assert len(service.workspace.ledger.entries()) == before
        assert service.ok("get", "/v1/runs/good", scope=None, headers=headers)["status"] == "ok"


def _rows(database: Database) -> dict[str, list[str]]:
    """Return every row of every table."""
    sql = {
        "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table'",
        "postgres": "SELECT tablename FROM pg_tables WHERE '\"' || schemaname || '\"' = '{schema}'",
    }[database.kind]
    return {
        name: sorted(map(repr, database.run(f'SELECT * FROM {{schema}}."{name}"')))  # noqa: S608
        for (name,) in database.run(sql)
    }


def _content(file: Path) -> list[str]:
    """Return the statements that make the tables of a SQLite file, its rows, and its version."""
    with closing(sqlite3.connect(file)) as connection:
        return [*connection.iterdump(), *map(str, connection.execute("PRAGMA user_version"))]
