"""The board's tables of tasks and of what they need: every statement about them."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from earmark.board.task import Priority, Quality, Task, TaskStatus, TaskWork
from earmark.board.text import from_json, shown, to_json
from earmark.errors import NotFound
from earmark.stores.tables import Row, Rows
from earmark.stores.upkeep import TABLES

#: Of every statement that reads or writes whole rows, in this order.
_TASK: Final = tuple(name.strip() for name in TABLES["task"].split(","))
NUMBER: Final = _TASK.index("number")
PRIORITY: Final = _TASK.index("priority")
#: What moves change; the rest of a task is written once.
_CHANGING: Final = (
    *("status", "approval", "approved_by", "waiting", "attempts", "agent", "model", "lease_until"),
    *("due_at", "claimed_at", "started_at", "completed_at", "result", "error", "quality"),
    "version",
)
#: So many ids at once: one statement for any number of them, filled up with ids of nothing.
_AT_ONCE: Final = 50

#: Shorter beginnings of an id name too many tasks to be anything but a slip.
_ID: Final = re.compile(r"[0-9a-f-]{8,36}")
_NUMBER: Final = re.compile(r"#?[0-9]{1,7}")

READ_TASK: Final = f"SELECT {TABLES['task']} FROM {{schema}}.task"


# Tasks --------------------------------------------------------------------------------------------


def find_task(rows: Rows, name: str) -> Task:
    """Return the task of an id, of the unique beginning of one, or of a number.

    Raises:
        NotFound: There is none, or there are several.
    """
    found = read_tasks(rows, _named(rows, name)[:2])
    if len(found) == 1:
        return found[0]
    hint = "several ids begin so: give more of it" if found else ""
    raise NotFound(kind="task", name=shown(name), hint=hint)


def _named(rows: Rows, name: str) -> list[Row]:
    if _NUMBER.fullmatch(name):
        return rows.run(f"{READ_TASK} WHERE number = ?", int(name.removeprefix("#")))
    if not _ID.fullmatch(name):
        return []
    # 'g' comes after every digit and the dash: the ids that begin so are those before it.
    range_ = f"{READ_TASK} WHERE id >= ? AND id < ? ORDER BY id LIMIT 2"
    return rows.run(f"{READ_TASK} WHERE id = ?", name) or rows.run(range_, name, f"{name}g")


def tasks_of(rows: Rows, ids: Sequence[str]) -> list[Task]:
    """Return the tasks of *ids* that there are, in the order of their numbers."""
    found = [
        row
        for some in portions(ids)
        for row in rows.run(f"{READ_TASK} WHERE id IN ({MARKS}) ORDER BY number", *some)
    ]
    return sorted(read_tasks(rows, found), key=lambda task: task.number)


def read_tasks(rows: Rows, found: Sequence[Row]) -> list[Task]:
    """Return the tasks that the rows of a `READ_TASK` are, with what each needs."""
    forms = [dict(zip(_TASK, row, strict=True)) for row in found]
    needs = _needs_of(rows, [form["id"] for form in forms])
    return [_task(form, needs[form["id"]]) for form in forms]


def add_task(rows: Rows, task: Task) -> None:
    """Write a new task, what it needs, and under which labels it is found."""
    form = {**_form(task), **_kept(task)}
    marks = ", ".join("?" * len(_TASK))
    rows.run(
        f"INSERT INTO {{schema}}.task ({TABLES['task']}) VALUES ({marks})",
        *(form[name] for name in _TASK),
    )
    for needed in task.needs:
        rows.run(
            "INSERT INTO {schema}.task_need (task_id, needs_id) VALUES (?, ?)", task.id, needed
        )
    for label in task.labels:
        rows.run(
            "INSERT INTO {schema}.task_label (label, number) VALUES (?, ?)", label, task.number
        )


_SAVE: Final = (
    f"UPDATE {{schema}}.task SET {', '.join(f'{name} = ?' for name in _CHANGING)} WHERE id = ?"
)


def save_task(rows: Rows, task: Task) -> None:
    """Write what a move changed."""
    form = _form(task)
    rows.run(_SAVE, *(form[name] for name in _CHANGING), task.id)


def renew_lease(rows: Rows, task_id: str, agent: str, until: int) -> bool:
    """Let the lease that *agent* has on a task last until then; return whether it has one."""
    renewed = rows.run(
        "UPDATE {schema}.task SET lease_until = CASE WHEN lease_until < ? THEN ? ELSE lease_until"
        " END WHERE id = ? AND agent = ? AND lease_until > 0 RETURNING id",
        *(until, until, task_id, agent),
    )
    return bool(renewed)


def waiting_for(rows: Rows, task_id: str) -> list[Task]:
    """Return the tasks that need *task_id*."""
    found = rows.run(
        "SELECT task_id FROM {schema}.task_need WHERE needs_id = ? ORDER BY task_id", task_id
    )
    return tasks_of(rows, [row[0] for row in found])


def _needs_of(rows: Rows, ids: Sequence[str]) -> dict[str, list[str]]:
    needs: dict[str, list[str]] = {each: [] for each in ids}
    for some in portions(ids):
        for task_id, needed in rows.run(
            "SELECT task_id, needs_id FROM {schema}.task_need"
            f" WHERE task_id IN ({MARKS}) ORDER BY task_id, needs_id",
            *some,
        ):
            needs[task_id].append(needed)
    return needs


def _task(form: dict[str, Any], needs: Iterable[str]) -> Task:
    quality, result = form["quality"], form["result"]
    # Of what the row says, that which is not a column's own type.
    read: dict[str, Any] = {
        "priority": Priority(form["priority"]),
        "labels": tuple(from_json(form["labels"])),
        "destructive": bool(form["destructive"]),
        "work": msgspec.json.decode(form["work"], type=TaskWork),
        "status": TaskStatus(form["status"]),
        "result": None if result is None else from_json(result),
        "quality": None if quality is None else msgspec.json.decode(quality, type=Quality),
        "needs": tuple(needs),
    }
    return Task(**{**form, **read})


def _kept(task: Task) -> dict[str, Any]:
    """Return what is written once as its columns."""
    return {
        **{name: getattr(task, name) for name in _TASK if name not in _CHANGING},
        "priority": int(task.priority),
        "labels": to_json(task.labels, "labels"),
        "destructive": int(task.destructive),
        "work": to_json(msgspec.to_builtins(task.work), "work"),
    }


def _form(task: Task) -> dict[str, Any]:
    """Return what moves change as its columns."""
    quality = None if task.quality is None else msgspec.to_builtins(task.quality)
    return {
        **{name: getattr(task, name) for name in _CHANGING},
        "status": str(task.status),
        "result": None if task.result is None else to_json(task.result, "result"),
        "quality": None if quality is None else to_json(quality, "quality"),
    }


# In general ---------------------------------------------------------------------------------------

MARKS: Final = ", ".join("?" * _AT_ONCE)


def portions(ids: Collection[str]) -> Iterator[list[str]]:
    """Yield *ids* in portions of as many as `MARKS` stands for."""
    every = list(ids)
    for start in range(0, len(every), _AT_ONCE):
        some = every[start : start + _AT_ONCE]
        yield some + [""] * (_AT_ONCE - len(some))


def next_in(rows: Rows, table: str) -> int:
    """Return the number of the next row of *table*: whoever writes has the lock."""
    return rows.run(f"SELECT coalesce(max(number), 0) + 1 FROM {{schema}}.{table}")[0][0]
