"""Putting a draft on the board: what it needs, whether a person is asked, and the second time."""

from typing import Any, Final

from msgspec import structs

from earmark.board import rows
from earmark.board.rules import needs_approval
from earmark.board.task import Task, TaskDraft, TaskStatus
from earmark.board.text import shown
from earmark.board.transaction import BoardTransaction
from earmark.clock import Clock
from earmark.errors import InvalidTask, KeyReused, NotFound
from earmark.ids import new_key

#: What two adds under one key have in common. A task's `due_at` moves on while it is tried.
_COMPARED: Final = tuple(name for name in TaskDraft.__struct_fields__ if name != "due_at")


def add_draft(
    transaction: BoardTransaction,
    draft: TaskDraft,
    actor: str,
    clock: Clock,
    approval_for: frozenset[str],
) -> Task:
    """Write the task of a checked *draft*, or return the one that this operation made."""
    needed = [_needed(transaction, each) for each in dict.fromkeys(draft.needs)]
    done = transaction.done()
    if done is not None:
        return _same(transaction, rows.find_task(transaction.rows, done.task_id), draft, needed)
    made = _made(transaction, draft, needed, actor, clock, approval_for)
    rows.add_task(transaction.rows, made)
    transaction.record_event(made, "added", actor=actor)
    return made


def _needed(transaction: BoardTransaction, name: str) -> Task:
    try:
        return rows.find_task(transaction.rows, name)
    except NotFound:
        want = "the id of one that is there"
        raise InvalidTask(text=shown(name), want=want, kind="task on the board to need") from None


def _same(transaction: BoardTransaction, task: Task, draft: TaskDraft, needed: list[Task]) -> Task:
    for name in _COMPARED:
        first, now = getattr(task, name), getattr(draft, name)
        if name == "needs":
            now = _ids(needed)
        if first != now:
            key = transaction.operation.removeprefix("add:")
            said = (shown(str(value)) for value in (first, now))
            raise KeyReused(key=key, field=name, first=next(said), now=next(said))
    return task


def _ids(needed: list[Task]) -> tuple[str, ...]:
    return tuple(sorted(task.id for task in needed))


def _made(
    transaction: BoardTransaction,
    draft: TaskDraft,
    needed: list[Task],
    actor: str,
    clock: Clock,
    approval_for: frozenset[str],
) -> Task:
    drafted: dict[str, Any] = {**structs.asdict(draft), "needs": _ids(needed)}
    return Task(
        **drafted,
        id=new_key(clock),
        number=rows.next_in(transaction.rows, "task"),
        status=TaskStatus.PENDING,
        approval="wanted" if needs_approval(draft, approval_for) else "",
        approved_by="",
        waiting=sum(task.status is not TaskStatus.ACCEPTED for task in needed),
        attempts=0,
        agent="",
        model="",
        lease_until=0,
        created_at=transaction.now,
        created_by=actor,
        claimed_at=0,
        started_at=0,
        completed_at=0,
        result=None,
        error="",
        quality=None,
        version=1,
    )
