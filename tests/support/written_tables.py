"""Rows in every table beside the books, to copy and to compare."""

from contextlib import closing
from typing import Final

from earmark.board.board import Board
from earmark.board.task import TaskDraft
from earmark.clock import Clock
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Row, Rows
from earmark.stores.upkeep import TABLES
from support.board_books import AGENT, LEASE

#: Every table that is not the ledger's or the journal's.
BESIDE: Final = tuple(TABLES)[tuple(TABLES).index("task") :]
#: Those that the board does not fill: a row for each, as their writers write them.
_ROWS: Final[dict[str, tuple[object, ...]]] = {
    "quilt_patches": ("budget", "budget_2026-11-22", '{"é": "\\u0000"}', 2, "Lu", 1, 2),
    "quilt_history": ("budget", "budget_2026-11-22", 1, "{}", "Lu", 1),
    "nudge": ("c8/usd/day/1/80", 1, "threshold", "c8", "AG Lu", "80 %\t", "{}", 1, "", 0),
    "nudge_delivery": ("c8/usd/day/1/80", "chat", "waiting", 3, (1 << 63) - 1, 0, "'no'\\N"),
    "nudge_mark": ("c8", 17),
    "agent": (AGENT, "host:1", 5, 12, '{"running": true}', 5),
    "token": (
        *("t1", "ops", "ab" * 32, "gateway", 1, 0, 0, "acme", "openai", "gpt-* o1", 7, 2, 3),
        *(1, "flex", 429, "observe"),
    ),
    "token_secret": ("t1", "cd" * 32, 3),
    "request": ("t1", "k", "f", 1, 200, "{}"),
    "session_budget": ("t1", "acme/session-1", 1, 5),
    "kept_id": ("openai", "resp_1", "t1", "gpt-4o", None, 5),
}


def fill_tables(url: str, clock: Clock) -> None:
    """Write something to every table beside the books at *url*."""
    with open_ledger(url, clock=clock) as ledger, closing(open_tables(ledger.store)) as tables:
        board = Board(tables, clock)
        first = board.add(TaskDraft(title="[A-1] é \\N"), actor="ann", key="k")
        needing = TaskDraft(title="needs it", needs=(first.id,), labels=("ü b", "ops"))
        board.add(needing, actor="ann")
        (task,) = board.claim(AGENT, 5, lease_ns=LEASE)
        board.start(task, model="local/tiny", key=f"task-{task.id}-1", budget="c8")
        board.complete(task.id, 1, AGENT, {"a": "\t\\\n\0"}, input_tokens=1)
        tables.write("all", _write)


def _write(rows: Rows) -> None:
    for table, row in _ROWS.items():
        columns = TABLES[table].split(", ")
        assert len(row) == len(columns), f"{table}: its row has {len(row)} values for {columns}"
        marks = ", ".join("?" * len(row))
        rows.run(f"INSERT INTO {{schema}}.{table} ({TABLES[table]}) VALUES ({marks})", *row)  # noqa: S608


def all_rows(url: str, clock: Clock) -> dict[str, list[Row]]:
    """Return all that stands beside the books at *url*, by table."""
    with open_ledger(url, clock=clock) as ledger, closing(open_tables(ledger.store)) as tables:
        select = "SELECT {columns} FROM {{schema}}.{table} ORDER BY 1, 2"
        return tables.read(
            lambda rows: {
                table: rows.run(select.format(columns=TABLES[table], table=table))
                for table in BESIDE
            }
        )
