"""Which tasks are wanted, and the statements that find them."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product
from typing import Final

from earmark.board.rows import NUMBER, PRIORITY, READ_TASK, read_tasks
from earmark.board.task import Priority, Task, TaskStatus
from earmark.board.text import is_text
from earmark.stores.tables import Row, Rows
from earmark.stores.upkeep import TABLES

#: The longest page of tasks; each may bring a description of 256 KiB.
MOST: Final = 1_000
LARGEST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """What a list of tasks is to have; whatever is not said does not matter."""

    status: frozenset[TaskStatus] = frozenset()
    """In one of these states."""
    type: str | None = None
    label: str | None = None
    """With this one among others."""
    priority: Priority | None = None
    agent: str | None = None
    """Who has it or had it last."""
    text: str | None = None
    """Somewhere in the title or the description; capital letters do not matter."""
    after: int = 0
    """The number of the last task of the page before; 0 for the first page."""
    most: int = 50
    newest_first: bool = False


def find_tasks(rows: Rows, task_filter: TaskFilter) -> list[Task]:
    """Return a page of the tasks that are wanted, in the order of their numbers."""
    most = min(task_filter.most, MOST)
    if most <= 0 or not _sayable(task_filter):
        return []
    # An index gives one state's tasks in order; several states are merged here.
    found = [
        row for status in _states(task_filter) for row in _page(rows, task_filter, status, most)
    ]
    found.sort(key=_number, reverse=task_filter.newest_first)
    return read_tasks(rows, found[:most])


def ready_tasks(
    rows: Rows, agent: str, now: int, most: int, without: Collection[int] = ()
) -> list[Task]:
    """Return the tasks that *agent* could claim at *now*, the first to be done first.

    Those with the numbers *without* are passed over.
    """
    if most <= 0:
        return []
    count = min(most, MOST)
    # Numbers, and as many as there are: no placeholders for them.
    others = f" AND number NOT IN ({', '.join(map(str, sorted(without)))})" if without else ""
    found = [
        row
        for whose in product(("", "given"), sorted({"", agent}))
        for row in rows.run(f"{_READY}{others}{_READY_ORDER}", *whose, now, count)
    ]
    found.sort(key=_urgency)
    return read_tasks(rows, found[:count])


def expired_tasks(rows: Rows, now: int, most: int) -> list[Task]:
    """Return the tasks whose lease ran out by *now*, the longest ago first."""
    return read_tasks(rows, rows.run(_EXPIRED, now, max(0, min(most, MOST))))


def awaiting_approval(rows: Rows, most: int, and_also: str) -> list[str]:
    """Return the ids of pending tasks that wait for a person, the first to be done first.

    *and_also* is a further SQL condition, on the columns of `task`.
    """
    found = rows.run(f"{_AWAITING} AND {and_also}{_AWAITING_ORDER}", most)
    return [task_id for (task_id,) in found]


# One statement for each approval and assignee: so the index `task_next` gives the first ones in
# their order, however many tasks wait for a person or for another agent.
_READY: Final = (
    f"{READ_TASK} WHERE status = 'pending' AND waiting = 0 AND approval = ? AND assignee = ?"
    " AND due_at <= ?"
)
_READY_ORDER: Final = " ORDER BY priority, number LIMIT ?"
_AWAITING: Final = (
    "SELECT id FROM {schema}.task WHERE status = 'pending' AND waiting = 0 AND approval = 'wanted'"
)
# The order of the index `task_next`, which has them apart from what need not wait.
_AWAITING_ORDER: Final = " ORDER BY assignee, priority, number LIMIT ?"
_EXPIRED: Final = (
    f"{READ_TASK} WHERE lease_until > 0 AND lease_until <= ? ORDER BY lease_until, number LIMIT ?"
)
# The label's tasks come first and in their order, however many tasks do not have it: SQLite takes
# the two as they stand.
_READ_LABELLED: Final = (
    f"SELECT {TABLES['task']} FROM"  # noqa: S608 - constants
    " (SELECT label AS labelled, number AS place FROM {schema}.task_label) AS chosen"
    " CROSS JOIN {schema}.task"
)


def _states(task_filter: TaskFilter) -> list[str]:
    # Those of a priority are in order for each state, too.
    merged = task_filter.priority is not None and task_filter.label is None
    return [
        str(status) for status in sorted(task_filter.status or (TaskStatus if merged else ()))
    ] or [""]


def _page(rows: Rows, task_filter: TaskFilter, status: str, most: int) -> list[Row]:
    read, place = (READ_TASK, "number") if task_filter.label is None else (_READ_LABELLED, "place")
    conditions = _conditions(task_filter, status, place)
    where = " AND ".join(condition for condition, _ in conditions) or "number > 0"
    order = "DESC" if task_filter.newest_first else "ASC"
    values = [value for _, given in conditions for value in given]
    return rows.run(f"{read} WHERE {where} ORDER BY {place} {order} LIMIT ?", *values, most)


def _conditions(
    task_filter: TaskFilter, status: str, place: str
) -> list[tuple[str, tuple[object, ...]]]:
    after = max(0, min(task_filter.after, LARGEST))
    beyond = f"{place} < ?" if task_filter.newest_first else f"{place} > ?"
    each: list[tuple[bool, str, tuple[object, ...]]] = [
        (bool(status), "status = ?", (status,)),
        (after > 0, beyond, (after,)),
        (task_filter.type is not None, "type = ?", (task_filter.type,)),
        (task_filter.priority is not None, "priority = ?", (int(task_filter.priority or 0),)),
        (task_filter.agent is not None, "agent = ?", (task_filter.agent,)),
        (task_filter.label is not None, "labelled = ? AND place = number", (task_filter.label,)),
        (task_filter.text is not None, _SAYS, (_pattern(task_filter.text),) * 2),
    ]
    return [(condition, values) for asked, condition, values in each if asked]


_SAYS: Final = (
    "(lower(title) LIKE lower(?) ESCAPE '!' OR lower(description) LIKE lower(?) ESCAPE '!')"
)


def _pattern(text: str | None) -> str:
    escaped = (text or "").replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"


def _sayable(task_filter: TaskFilter) -> bool:
    """Return whether a task can have such texts at all; a database would refuse others."""
    given = (task_filter.type, task_filter.label, task_filter.agent, task_filter.text)
    return all(text is None or is_text(text) for text in given)


def _number(row: Row) -> int:
    return row[NUMBER]


def _urgency(row: Row) -> tuple[int, int]:
    return row[PRIORITY], row[NUMBER]
