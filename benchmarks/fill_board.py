"""Boards of many tasks, made by the database itself from a few that were written for real.

As on a board that has been in use: a third of the tasks each is pending, accepted and cancelled;
an accepted one has a try that leads to its reservation in the books. Beside them stand a run with
a budget of its own and a nudge for each tenth task, and never fewer of them than fill a page. An
audit finds the copied budgets without entries, and all else right. Nobody else may write meanwhile.
"""

from contextlib import closing
from typing import Final

import psycopg

from benchmarks import fill as books
from benchmarks.load import LEAF
from benchmarks.runner import FREE
from earmark.board.board import Board
from earmark.board.task import TaskDraft
from earmark.composition.ast import Composition, Stage
from earmark.nudges.nudges import Nudges
from earmark.runs.runner import run
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.tables import Rows
from earmark.stores.upkeep import TABLES

#: The id of a task that was accepted, on every board.
ACCEPTED: Final = "00000000-0000-7000-8000-100000000001"
#: Every task has the one label, the first tasks alone the other; only they have such a text.
COMMON, RARE = "ops", "rare"
WORD: Final = "Rarely"
_FIRST: Final = 20
#: Runs and nudges: one for each so many tasks, and at least so many.
_SHARE, _FEWEST = 10, 100
#: Nobody has acknowledged the first so many nudges.
_OPEN: Final = 60


def fill(url: str, tasks: int) -> None:
    """Make books and a board of *tasks* tasks in a store that is empty."""
    books.fill(url, max(1, tasks // 3))
    more = max(_FEWEST, tasks // _SHARE) - 1
    with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
        task = Board(tables, ledger.clock).add(_draft(), actor="benchmark")
        Nudges(tables, ledger.clock).raise_(
            "threshold", id="n", title="80 % of a limit", data={"settled": "1"}, channels=["chat"]
        )
        graph = Composition(description="once", root=Stage(FREE.spec.name))
        run_id = run(graph, None, ledger=ledger, under=LEAF, budget="1", stages=[FREE]).run_id

        def copy(rows: Rows) -> None:
            _copy_tasks(rows, task.id, tasks - 1)
            _copy_nudges(rows, more)
            _copy_runs(rows, run_id, more)

        tables.write("board", copy)
    if not url.startswith("sqlite:"):
        _tidy(PostgresUrl.parse(url))


def _draft() -> TaskDraft:
    return TaskDraft(
        title=f"{WORD} done task ", description="# What to do\n" * 40, labels=(COMMON, RARE)
    )


# Copies -------------------------------------------------------------------------------------------

_SERIES: Final = (
    "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n)"
    " AS series"
)
_COMMON_ONLY: Final = f"i >= {_FIRST}"
_ID: Final = "'00000000-0000-7000-8000-' || (100000000000 + i)"
_STATE: Final = "CASE i - i / 3 * 3 WHEN 0 THEN {0} WHEN 1 THEN 'accepted' ELSE 'cancelled' END"
#: What of a copy differs from what it is copied from, by table and column.
_TASK: Final = {
    "id": _ID,
    "number": "number + i",
    "title": f"CASE WHEN {_COMMON_ONLY} THEN 'a task ' ELSE title END || i",
    "labels": f"CASE WHEN {_COMMON_ONLY} THEN '[\"{COMMON}\"]' ELSE labels END",
    "status": _STATE.format("status"),
}
_EVENT: Final = {
    "number": "number + i",
    "task_id": _ID,
    "status": _STATE.format("status"),
    "operation": "'filled/' || i",
}
_LABEL: Final = {"number": "number + i"}
_NUDGE: Final = {
    "id": "id || i",
    "number": "number + i",
    "acked_by": "'ann'",
    "acked_at": f"CASE WHEN i < {_OPEN} THEN 0 ELSE created_at END",
}
_DELIVERY: Final = {"nudge_id": "nudge_id || i", "state": "'delivered'"}
#: Run ids keep their length and their digits: by these the budgets of runs are known.
_RUN_ID: Final = "substr({0}, 1, length({0}) - 8) || (10000000 + i)"
_PATH: Final = _RUN_ID.format("path")
_RUN: Final = {
    "run_id": _RUN_ID.format("run_id"),
    "budget": _RUN_ID.format("budget"),
    "started_at": "started_at + i",
}
_BUDGET: Final = {"path": _PATH, "body": f"replace(body, path, {_PATH})"}
#: Each reservation, of two entries, is that of an accepted task, each third one.
_ATTEMPTS: Final = (
    f"INSERT INTO {{schema}}.task_attempt ({TABLES['task_attempt']})"  # noqa: S608 - our own
    " SELECT '00000000-0000-7000-8000-' || (100000000001 + 3 * ((seq - first) / 2)), 1, 'Cloud Lu',"
    " 'local/tiny', \"key\", '', budget, opened, closed, 'completed', 163, 3025"
    " FROM {schema}.reservation, (SELECT min(seq) AS first FROM {schema}.reservation) AS least"
)


def _copy_tasks(rows: Rows, first: str, copies: int) -> None:
    _copy(rows, "task", _TASK, copies, f"id = '{first}'")
    _copy(rows, "task_event", _EVENT, copies, f"task_id = '{first}'")
    _copy(rows, "task_label", _LABEL, copies, f"label = '{COMMON}'")
    _copy(rows, "task_label", _LABEL, min(copies, _FIRST - 1), f"label = '{RARE}'")
    rows.run(_ATTEMPTS)


def _copy_nudges(rows: Rows, copies: int) -> None:
    _copy(rows, "nudge", _NUDGE, copies, "id = 'n'")
    _copy(rows, "nudge_delivery", _DELIVERY, copies, "nudge_id = 'n'")


def _copy_runs(rows: Rows, run_id: str, copies: int) -> None:
    _copy(rows, "run", _RUN, copies, f"run_id = '{run_id}'")
    _copy(rows, "budget", _BUDGET, copies, f"path = '{LEAF}/run-{run_id}'")


def _copy(rows: Rows, table: str, instead: dict[str, str], copies: int, which: str) -> None:
    if not copies:
        return
    columns = [name.strip() for name in TABLES[table].split(",")]
    chosen = ", ".join(instead.get(name, name) for name in columns)
    rows.run(
        f"INSERT INTO {{schema}}.{table} ({TABLES[table]}) SELECT {chosen}"  # noqa: S608 - own
        f" FROM {_SERIES}, {{schema}}.{table} WHERE {which}",
        copies,
    )


def _tidy(place: PostgresUrl) -> None:
    with psycopg.connect(place.conninfo, autocommit=True) as database:
        # As autovacuum leaves tables that were filled in months.
        for table in TABLES:
            database.execute(f'VACUUM ANALYZE "{place.schema}".{table}'.encode())
