"""How databases find rows that are asked for often: by an index of those rows, not by all rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from earmark.board.board import Board
from earmark.board.listing import TaskFilter
from earmark.board.task import Priority, TaskDraft, TaskStatus
from earmark.ledger.store import Filter
from earmark.ledger.values import State
from earmark.nudges.nudges import Nudges
from earmark.stores.migrations_sqlite import prepare_sqlite
from earmark.stores.rows import (
    ENTRY_COLUMNS,
    RESERVATION_COLUMNS,
    in_state,
    of_key,
    select,
    select_budgets,
    select_opened,
)
from earmark.stores.sqlite_rows import SqliteRows
from earmark.stores.tables import Rows
from earmark.testing import ManualClock
from earmark.workspace.approvals import request_pending_approvals
from support.databases import PostgresDatabase, made

#: As health asks: one budget, one day, one state.
TODAY = Filter(budget="acme", state="presumed", since=5, until=9_000_000, most=1000)


class Traced:
    """A SQLite database in memory that tells how it finds what is read."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        prepare_sqlite(self.connection, "books", ManualClock())

    def plan(self, read: Callable[[], object]) -> str:
        """Return how each statement of *read* is carried out."""
        asked: list[tuple[str, object]] = []

        def trace(_: object, sql: str, values: object) -> bool:
            asked.append((sql, values))
            return True

        self.connection.exec_trace = trace
        read()
        self.connection.exec_trace = None
        steps = [
            str(row[3])
            for sql, values in asked
            if sql.startswith("SELECT")
            for row in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)  # type: ignore[arg-type]
        ]
        return "; ".join(steps)

    # As the tables' port, for a board.

    def run(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Run one statement of the board."""
        return self.connection.execute(sql.replace("{schema}.", ""), values).fetchall()  # type: ignore[arg-type]

    def write(self, lock: str, work: Callable[[Rows], object]) -> object:
        """Do *work*, in no transaction: nobody else is here."""
        del lock
        return work(self)

    def read(self, work: Callable[[Rows], object]) -> object:
        """Do *work*."""
        return work(self)


@pytest.mark.parametrize(
    ("wanted", "step"),
    [
        (TODAY, "SEARCH reservation USING INDEX reservation_presumed (opened>? AND opened<?)"),
        (Filter(state="presumed"), "SCAN reservation USING INDEX reservation_presumed"),
        (Filter(state="open", budget="a"), "SCAN reservation USING INDEX reservation_open"),
        (Filter(keys=["a", "b"]), "SEARCH reservation USING PRIMARY KEY (key=?)"),
        (Filter(prefix="run-1:"), "SEARCH reservation USING PRIMARY KEY (key>? AND key<?)"),
    ],
)
def test_sqlite_reads_only_the_reservations_that_are_wanted(wanted: Filter, step: str) -> None:
    """Those of a rare state by the index of that state, those of some keys by their keys."""
    database = Traced()
    rows = SqliteRows(database.connection)
    assert step in database.plan(lambda: list(rows.reservations(wanted)))


@pytest.mark.parametrize("state", [None, "settled"])
def test_sqlite_lists_what_is_common_from_where_a_page_begins(state: State | None) -> None:
    """From entry to reservation, in their order: the first ones end it, and nothing is sorted."""
    database = Traced()
    rows = SqliteRows(database.connection)
    wanted = Filter(budget="acme", state=state, since=5, until=9_000_000, after=7, most=1000)
    plan = database.plan(lambda: list(rows.reservations(wanted))).split("; ")
    assert plan[:2] == [
        "SEARCH entry USING INTEGER PRIMARY KEY (rowid>?)",
        "SEARCH reservation USING PRIMARY KEY (key=?)",
    ]
    assert not [step for step in plan if "TEMP B-TREE" in step or "SCAN" in step]


@pytest.mark.parametrize("prefix", ["", "acme"])
def test_sqlite_reads_no_budget_of_a_run_to_list_the_others(prefix: str) -> None:
    """By the index of those that people set, in its order; from where the page before ended."""
    database = Traced()
    rows = SqliteRows(database.connection)
    plan = database.plan(lambda: rows.budgets(prefix or None, "budget"))
    assert plan == "SEARCH budget USING INDEX budget_listed (path>? AND path<?)"
    sql, values = select_budgets("", prefix, "budget", after="acme/b", most=9)
    page = database.plan(lambda: database.connection.execute(sql, values).fetchall())  # type: ignore[arg-type]
    assert page == plan
    assert "budget_listed" not in database.plan(lambda: rows.budgets(prefix or None))


def test_sqlite_reads_only_the_entries_of_a_key() -> None:
    """From a reservation's row along its entries, and others by an index that no reserve writes."""
    database = Traced()
    rows = SqliteRows(database.connection)
    plan = database.plan(lambda: list(rows.entries(Filter(key="a")))).split("; ")
    assert "SEARCH entry USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert [step for step in plan if "SCAN" in step and "entry" in step] == []
    assert any("USING INDEX entry_change (key=?)" in step for step in plan)


@pytest.mark.parametrize(
    ("wanted", "bounds"),
    [
        (TaskFilter(label="ops", newest_first=True), "(label=?)"),
        (TaskFilter(label="ops", status=frozenset({TaskStatus.PENDING})), "(label=?)"),
        (TaskFilter(label="ops", after=7, text="x"), "(label=? AND number>?)"),
        (TaskFilter(label="ops", after=7, newest_first=True), "(label=? AND number<?)"),
    ],
)
def test_sqlite_reads_only_the_tasks_of_a_label(wanted: TaskFilter, bounds: str) -> None:
    """A page of them comes in its order: other tasks are not read, nothing is sorted."""
    database = Traced()
    board = Board(database, ManualClock())  # type: ignore[arg-type]
    board.add(TaskDraft(title="a", labels=("ops",)), actor="ann")
    plan = database.plan(lambda: board.find(wanted))
    assert f"SEARCH task_label USING PRIMARY KEY {bounds}" in plan
    assert "number=?)" in plan.split("; ")[1], "each of them is found by its number"
    assert "TEMP B-TREE" not in plan


def test_sqlite_reads_only_the_tasks_of_a_state_and_priority() -> None:
    """A page by urgency comes in its order from each state: nothing else is read or sorted."""
    database = Traced()
    board = Board(database, ManualClock())  # type: ignore[arg-type]
    plan = database.plan(lambda: board.find(TaskFilter(priority=Priority.P1, after=7)))
    found = "SEARCH task USING INDEX task_by_urgency (status=? AND priority=? AND number>?)"
    assert plan.split("; ") == [found] * len(TaskStatus)


def test_sqlite_reads_only_the_tasks_that_wait_for_a_person() -> None:
    """Each cycle asks for them: those that may go without are not read."""
    database = Traced()
    workspace = SimpleNamespace(board=Board(database, ManualClock()))  # type: ignore[arg-type]
    plan = database.plan(lambda: request_pending_approvals(workspace))  # type: ignore[arg-type]
    assert plan.startswith("SEARCH task USING INDEX task_next (approval=?)")
    assert "TEMP B-TREE" not in plan


def test_sqlite_reads_only_the_nudges_that_are_open() -> None:
    """Those that nobody acknowledged are found in their order by an index of them alone."""
    database = Traced()
    nudges = Nudges(database, ManualClock())  # type: ignore[arg-type]
    plan = database.plan(lambda: nudges.find(acked=False, newest_first=True))
    assert plan == "SEARCH nudge USING INDEX nudge_open (number>?)"


FILL = """
INSERT INTO {schema}.reservation ("key", budget, usd, calls, state, accounts, opened, expires,
    closed, actual_usd, actual_calls, labels, seq, last)
SELECT 'k' || i, 'acme', 1, 1, CASE WHEN i % 1000 = 0 THEN 'presumed' ELSE 'settled' END, '1',
    i, i, i, 1, 1, '', i, i
FROM generate_series(1, 5000) AS n (i)
"""


@pytest.mark.parametrize(("state", "index"), [("presumed", True), ("settled", False)])
def test_postgres_reads_only_what_is_presumed(state: State, index: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case
    """A statement that is prepared for any values still uses the index of that state's rows."""
    with made("postgres", tmp_path) as database:
        assert isinstance(database, PostgresDatabase)
        database.prepare()
        database.run(FILL)
        database.run("ANALYZE {schema}.reservation")
        wanted = Filter(budget="acme", state=state, since=1, until=9_000_000, most=1000)
        sql, values = select(
            RESERVATION_COLUMNS,
            f"{database.schema}.reservation",
            *("opened", "seq", (), wanted, in_state(wanted.state)),
        )
        plan = generic_plan(database, sql, values)
    assert any("reservation_presumed" in line for line in plan) is index, plan


def test_postgres_lists_what_is_common_from_where_a_page_begins(tmp_path: Path) -> None:
    """From entry to reservation, in their order: nothing is read in whole or sorted."""
    with made("postgres", tmp_path) as database:
        assert isinstance(database, PostgresDatabase)
        database.prepare()
        database.run(FILL)
        database.run(FILL_ENTRIES)
        database.run("ANALYZE {schema}.reservation, {schema}.entry")
        wanted = Filter(state="settled", after=7, most=50)
        sql, values = select_opened(RESERVATION_COLUMNS, f"{database.schema}.", wanted)
        plan = generic_plan(database, sql, values)
    assert [line for line in plan if "Seq Scan" in line or "Sort" in line] == [], plan


def test_postgres_reads_only_the_entries_of_a_key(tmp_path: Path) -> None:
    """Those of one key are found by indexes, in a table of any size."""
    with made("postgres", tmp_path) as database:
        assert isinstance(database, PostgresDatabase)
        database.prepare()
        database.run(FILL)
        database.run(FILL_ENTRIES)
        database.run("ANALYZE {schema}.reservation, {schema}.entry")
        place = f"{database.schema}."
        tests = [(of_key(place), "k77")]
        sql, values = select(ENTRY_COLUMNS, f"{place}entry", "at", "seq", tests, Filter(key="k77"))
        plan = generic_plan(database, sql, values)
    assert [line for line in plan if "Seq Scan on entry" in line] == []
    assert [line for line in plan if "Seq Scan on reservation" in line] == []


FILL_ENTRIES = """
INSERT INTO {schema}.entry (seq, at, kind, "key", budget, usd, calls, tokens, prior, data)
SELECT i, i, CASE WHEN i % 2 = 0 THEN 'settle' ELSE 'reserve' END, 'k' || (i + 1) / 2, 'acme', 1, 1,
    NULL, CASE WHEN i % 2 = 0 THEN i - 1 ELSE 0 END, ''
FROM generate_series(1, 10000) AS n (i)
"""


def generic_plan(database: PostgresDatabase, sql: str, values: Sequence[object]) -> list[str]:
    """Return how the server does a statement that is prepared for any values."""
    marks = iter(range(1, len(values) + 1))
    numbered = "".join(f"${next(marks)}" if c == "?" else c for c in sql)
    given = ", ".join(repr(value) for value in values)
    with database.connected() as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute(f"PREPARE listing AS {numbered}".encode())
        plan = connection.execute(f"EXPLAIN EXECUTE listing ({given})".encode()).fetchall()
    return [line for (line,) in plan]
