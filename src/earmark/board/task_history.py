"""The trail of a task: its attempts, which lead to the books, and the decisions about it."""

from collections.abc import Sequence
from typing import Final, cast

import msgspec

from earmark.board.rows import MARKS, next_in, portions
from earmark.board.task import Attempt, AttemptOutcome, Task, TaskDecision, TaskStatus
from earmark.stores.tables import Row, Rows
from earmark.stores.upkeep import TABLES

# Attempts -----------------------------------------------------------------------------------------

_READ_ATTEMPT: Final = f"SELECT {TABLES['task_attempt']} FROM {{schema}}.task_attempt"


def attempts_of(rows: Rows, ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """Return the attempts of each task, in their order."""
    found: dict[str, list[Attempt]] = {each: [] for each in ids}
    for some in portions(ids):
        where = f"WHERE task_id IN ({MARKS}) ORDER BY task_id, number"
        for row in rows.run(f"{_READ_ATTEMPT} {where}", *some):
            found[row[0]].append(_attempt(row))
    return found


def attempt_of(rows: Rows, task_id: str, number: int) -> Attempt | None:
    """Return one attempt, if there is such."""
    found = rows.run(f"{_READ_ATTEMPT} WHERE task_id = ? AND number = ?", task_id, number)
    return _attempt(found[0]) if found else None


def add_attempt(rows: Rows, made: Attempt) -> None:
    """Write a new attempt."""
    values = msgspec.structs.astuple(made)
    marks = ", ".join("?" * len(values))
    columns = TABLES["task_attempt"]
    rows.run(f"INSERT INTO {{schema}}.task_attempt ({columns}) VALUES ({marks})", *values)


def end_attempt(
    rows: Rows,
    task_id: str,
    outcome: AttemptOutcome,
    now: int,
    tokens: tuple[int | None, int | None] = (None, None),
) -> None:
    """Write how the open attempt of a task ended, if it has one; *tokens* in and out."""
    rows.run(
        "UPDATE {schema}.task_attempt SET ended_at = ?, outcome = ?, input_tokens = ?,"
        " output_tokens = ? WHERE task_id = ? AND ended_at = 0",
        *(now, outcome, *tokens, task_id),
    )


def _attempt(row: Row) -> Attempt:
    return Attempt(**dict(zip(Attempt.__struct_fields__, row, strict=True)))


# Events -------------------------------------------------------------------------------------------

_READ_EVENT: Final = (
    "SELECT number, task_id, at, actor, move, status, note FROM {schema}.task_event"
)


def event_of(rows: Rows, operation: str) -> TaskDecision | None:
    """Return the event that an operation wrote, if it did."""
    found = rows.run(f"{_READ_EVENT} WHERE operation = ?", operation)
    return _event(found[0]) if found else None


def events_under(rows: Rows, operation: str) -> list[TaskDecision]:
    """Return the events of the parts of an operation: `<operation>/0` and so on."""
    where = "WHERE operation >= ? AND operation < ? ORDER BY number"
    found = rows.run(f"{_READ_EVENT} {where}", f"{operation}/", f"{operation}0")
    return [_event(row) for row in found]


def events_after(rows: Rows, after: int, most: int) -> list[TaskDecision]:
    """Return the events of the whole board after a number."""
    where = "WHERE number > ? ORDER BY number LIMIT ?"
    return [_event(row) for row in rows.run(f"{_READ_EVENT} {where}", after, most)]


def events_of(rows: Rows, task_id: str) -> list[TaskDecision]:
    """Return the events of a task."""
    where = "WHERE task_id = ? ORDER BY number"
    return [_event(row) for row in rows.run(f"{_READ_EVENT} {where}", task_id)]


def last_event(rows: Rows) -> tuple[int, int]:
    """Return the number of the last event and its instant; zeros before the first."""
    query = "SELECT number, at FROM {schema}.task_event ORDER BY number DESC LIMIT 1"
    found = rows.run(query)
    return cast("tuple[int, int]", found[0]) if found else (0, 0)


def add_event(
    rows: Rows, task: Task, now: int, *, actor: str, move: str, note: str, operation: str
) -> None:
    """Write what was decided about a task, and by which operation."""
    rows.run(
        f"INSERT INTO {{schema}}.task_event ({TABLES['task_event']})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        *(next_in(rows, "task_event"), task.id, now, actor, move, str(task.status), note),
        operation,
    )


def _event(row: Row) -> TaskDecision:
    number, task_id, at, actor, move, status, note = row
    return TaskDecision(
        number=number,
        task_id=task_id,
        at=at,
        actor=actor,
        move=move,
        status=TaskStatus(status),
        note=note,
    )
