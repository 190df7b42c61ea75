"""What becomes of tasks whose heartbeat died: the books say whether anything was sent."""

import logging
from collections.abc import Sequence

from earmark.board.task import Attempt, Task, TaskStatus
from earmark.errors import TaskMoved
from earmark.workspace.attempt_reservations import FenceResult, fence_attempt, is_unresolved
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")


def recover(workspace: Workspace, *, agent: str, channels: Sequence[str] = ()) -> list[Task]:
    """Take back the tasks whose lease ran out; return how each stands now.

    Where nothing was sent, it is pending again. Where something may have been, a destructive task
    is unknown, for a person to decide, and any other is tried again while it has attempts left.
    What was held for it stays held, and is presumed spent at its deadline.

    Raises:
        StoreUnavailable: The store cannot be read or written; what is done is done.
    """
    found = (_recovered(workspace, task, agent, channels) for task in workspace.board.expired())
    return [task for task in found if task is not None]


def _recovered(
    workspace: Workspace, task: Task, agent: str, channels: Sequence[str]
) -> Task | None:
    attempt = _open_attempt(workspace, task)
    fence = FenceResult.UNSENT if attempt is None else fence_attempt(workspace.ledger, attempt)
    if fence is FenceResult.BLOCKED:
        return None
    sent = fence is FenceResult.SENT
    reason = f"the lease of {task.agent} ran out; " + (
        "the call may have been billed" if sent else "nothing was sent"
    )
    to = TaskStatus.UNKNOWN if sent and task.destructive else TaskStatus.PENDING
    try:
        after = workspace.board.take_back(task.id, task.version, to=to, reason=reason, actor=agent)
    except TaskMoved:
        # Its heartbeat lives after all, or another one was faster.
        return None
    _log.warning("task %s: %s; now %s", task.id, reason, after.status)
    if attempt is not None and after.status is TaskStatus.UNKNOWN:
        nudge_unknown(workspace, after, attempt, reason, channels)
    return after


def nudge_unknown(
    workspace: Workspace, task: Task, attempt: Attempt, reason: str, channels: Sequence[str] = ()
) -> None:
    """Tell a person to decide about *task*, unless the nudge about its unknown cost says it."""
    if is_unresolved(workspace.ledger, attempt):
        return
    workspace.nudges.raise_(
        "unknown",
        id=f"task/{task.id}/{attempt.number}/unknown",
        budget=attempt.budget,
        title=f"Nobody knows what became of task '{task.title}': {reason}",
        data={"task": task.id, "attempt": attempt.number, "reason": reason},
        channels=channels,
    )


def _open_attempt(workspace: Workspace, task: Task) -> Attempt | None:
    if task.status is not TaskStatus.RUNNING:
        return None
    attempts = workspace.board.attempts(task.id)
    return attempts[-1] if attempts and not attempts[-1].ended_at else None
