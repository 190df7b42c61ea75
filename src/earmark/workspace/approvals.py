"""Tasks that wait for a person's approval: the sibling is nudged, once for each task.

Whoever adds such a task nudges; a nudge that a crash prevented is raised by the next cycle.
"""

import logging
from collections.abc import Sequence
from typing import Final

from earmark.board.rules import DESTRUCTIVE
from earmark.board.task import Task, TaskDraft
from earmark.errors import StoreError
from earmark.nudges.nudges import not_raised
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")

#: Nudges raised in one cycle.
MOST: Final = 20
_NOT_REQUESTED: Final = not_raised("'task/' || task.id || '/approval'")


def add_task(
    workspace: Workspace,
    draft: TaskDraft,
    *,
    actor: str,
    key: str | None = None,
    approval_for: frozenset[str] = DESTRUCTIVE,
) -> Task:
    """Put a task on the board, and nudge the sibling if it waits for a person; see `Board.add`."""
    task = workspace.board.add(draft, actor=actor, key=key, approval_for=approval_for)
    if task.approval == "wanted":
        try:
            request_approval(workspace, task, workspace.channels)
        except StoreError as error:
            # The task is on the board; the next cycle raises the nudge.
            _log.warning("no nudge yet that task %s waits for approval: %s", task.id, error)
    return task


def request_approval(workspace: Workspace, task: Task, channels: Sequence[str] = ()) -> bool:
    """Nudge the sibling to approve or deny *task*; return whether this was the first nudge."""
    return workspace.nudges.raise_(
        "approval",
        id=f"task/{task.id}/approval",
        title=f"Task #{task.number} waits for approval: {task.title}",
        data={
            "task": task.id,
            "title": task.title,
            "type": task.type,
            "priority": task.priority.name,
            "destructive": task.destructive,
            "by": task.created_by,
        },
        channels=channels,
    )


def request_pending_approvals(workspace: Workspace, channels: Sequence[str] = ()) -> int:
    """Raise the nudges that tasks waiting for approval do not have yet; return how many."""
    found = workspace.board.awaiting_approval(MOST, _NOT_REQUESTED)
    return sum(
        request_approval(workspace, workspace.board.get(task_id), channels) for task_id in found
    )
