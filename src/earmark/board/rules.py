"""How a task may move; pure: the same task, move and moment always give the same task.

What stands here is all that decides; the board applies it inside one transaction.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from earmark.board.moves import (
    Accept,
    Approve,
    Cancel,
    Claim,
    Complete,
    Deny,
    Fail,
    Grade,
    HolderMove,
    Lose,
    Move,
    Park,
    Reject,
    Requeue,
    Start,
    TakeBack,
)
from earmark.board.task import Attempt, Task, TaskDraft, TaskStatus
from earmark.errors import TaskMoved, TaskRefused

#: What a person is asked about unless the configuration says more.
DESTRUCTIVE: Final = frozenset({"destructive"})

#: Somebody works on it, under a lease.
HELD: Final = frozenset({TaskStatus.CLAIMED, TaskStatus.RUNNING})


def advance(task: Task, move: Move, now: int) -> Task:
    """Return *task* after *move* at the instant *now*, its version one higher.

    Raises:
        TaskMoved: The mover no longer has the task, or knows an older version of it.
        TaskRefused: The task's state does not allow the move.
    """
    _check_hold(task, move)
    allowed, apply = _TABLE[type(move)]
    if task.status not in allowed:
        raise refusal(task, move)
    return replace(apply(task, move, now), version=task.version + 1)


def obstacle(task: Task, agent: str, now: int) -> str:
    """Return why *agent* cannot claim a pending *task* now; empty if it can."""
    if task.waiting:
        return f"waits for {task.waiting} of the tasks it needs"
    if task.approval not in {"", "given"}:
        return "waits for a person's approval"
    if task.assignee not in {"", agent}:
        return f"is for {task.assignee} alone"
    return "is not due yet" if now < task.due_at else ""


def needs_approval(draft: TaskDraft, approval_for: frozenset[str]) -> bool:
    """Return whether a person is asked first; *approval_for* is of `destructive`, types and `P1`.

    Being P0 asks nobody by itself, and excuses nothing.
    """
    if draft.destructive and "destructive" in approval_for:
        return True
    return draft.type in approval_for or draft.priority.name in approval_for


def check_open(task: Task, number: int, attempt: Attempt | None) -> None:
    """Refuse to end a try that somebody else ended, or that never was; raises `TaskMoved`."""
    if attempt is None:
        raise TaskMoved(task=task.id, detail=f"it has no attempt {number}")
    if attempt.ended_at:
        raise TaskMoved(task=task.id, detail=f"attempt {number} ended as {attempt.outcome}")


def refusal(task: Task, move: Move, detail: str = "") -> TaskRefused:
    """Return the refusal of *move*, which says what the task's state does allow."""
    allowed = (kind.name for kind in _TABLE if _allows(task, kind))
    return TaskRefused(
        task=task.id, move=move.name, status=task.status, allowed=tuple(allowed), detail=detail
    )


def _allows(task: Task, kind: type[Move]) -> bool:
    asked = task.approval == "wanted" or kind not in {Approve, Deny}
    return asked and task.status in _TABLE[kind][0]


def _check_hold(task: Task, move: Move) -> None:
    if isinstance(move, Start | TakeBack) and move.version != task.version:
        raise TaskMoved(task=task.id, detail=f"it is {task.status}, and not as it was read")
    if isinstance(move, HolderMove) and (task.status not in HELD or task.agent != move.agent):
        whose = f" of {task.agent}" if task.agent else ""
        raise TaskMoved(task=task.id, detail=f"it is {task.status}{whose}, not {move.agent}'s")


# What each move does ------------------------------------------------------------------------------


def _claim(task: Task, move: Claim, now: int) -> Task:
    why = obstacle(task, move.agent, now)
    if why:
        raise refusal(task, move, f"it {why}")
    return replace(
        task,
        status=TaskStatus.CLAIMED,
        agent=move.agent,
        lease_until=move.lease_until,
        claimed_at=now,
    )


def _start(task: Task, move: Start, now: int) -> Task:
    # Whoever looks for lost tasks may already have read it: it is not this agent's to start.
    if task.lease_until <= now:
        raise TaskMoved(task=task.id, detail="its lease ran out")
    attempts = task.attempts + 1
    return replace(
        task, status=TaskStatus.RUNNING, model=move.model, started_at=now, attempts=attempts
    )


def _complete(task: Task, move: Complete, now: int) -> Task:
    done = replace(task, result=move.result, error="", completed_at=now)
    return _let_go(done, TaskStatus.COMPLETED)


def _fail(task: Task, move: Fail, now: int) -> Task:
    del now
    failed = replace(task, result=move.result, error=move.error)
    # Nothing repeats what is destructive by itself.
    if move.retry_at is None or task.destructive or task.attempts >= task.max_attempts:
        return _let_go(failed, TaskStatus.FAILED)
    return _put_back(replace(failed, due_at=move.retry_at))


def _lose(task: Task, move: Lose, now: int) -> Task:
    del now
    return _let_go(replace(task, error=move.error), TaskStatus.UNKNOWN)


def _park(task: Task, move: Park, now: int) -> Task:
    del now
    given_back = 1 if move.uncount and task.status is TaskStatus.RUNNING else 0
    return _put_back(replace(task, due_at=move.due_at, attempts=task.attempts - given_back))


def _take_back(task: Task, move: TakeBack, now: int) -> Task:
    if now < task.lease_until:
        raise TaskMoved(task=task.id, detail=f"{task.agent} renewed its lease")
    if move.to is not TaskStatus.PENDING:
        return _let_go(replace(task, error=move.reason), move.to)
    # A task that kills whoever runs it does not come back for ever.
    if task.status is TaskStatus.RUNNING and task.attempts >= task.max_attempts:
        return _let_go(replace(task, error=move.reason), TaskStatus.FAILED)
    return _put_back(task)


def _grade(task: Task, move: Grade, now: int) -> Task:
    del now
    return replace(task, status=TaskStatus.GRADED, quality=move.quality)


def _accept(task: Task, move: Accept, now: int) -> Task:
    del move, now
    return replace(task, status=TaskStatus.ACCEPTED)


def _reject(task: Task, move: Reject, now: int) -> Task:
    del move, now
    return replace(task, status=TaskStatus.REJECTED)


def _retry(task: Task, move: Requeue, now: int) -> Task:
    del move
    # The old result stays to be looked at until the next try ends; what was said of it does not.
    fresh = replace(task, quality=None, error="", completed_at=0, due_at=min(task.due_at, now))
    return _put_back(fresh)


def _cancel(task: Task, move: Cancel, now: int) -> Task:
    del move, now
    return replace(_put_back(task), status=TaskStatus.CANCELLED)


def _approve(task: Task, move: Approve, now: int) -> Task:
    del now
    return replace(_asked(task, move), approval="given", approved_by=move.actor)


def _deny(task: Task, move: Deny, now: int) -> Task:
    denied = replace(_asked(task, move), approval="denied", approved_by=move.actor)
    return _cancel(denied, Cancel(actor=move.actor), now)


def _asked(task: Task, move: Approve | Deny) -> Task:
    if task.approval != "wanted":
        said = f"approval was {task.approval}" if task.approval else "nobody asks for approval"
        raise refusal(task, move, said)
    return task


def _put_back(task: Task) -> Task:
    return replace(
        task,
        status=TaskStatus.PENDING,
        agent="",
        model="",
        lease_until=0,
        claimed_at=0,
        started_at=0,
    )


def _let_go(task: Task, status: TaskStatus) -> Task:
    """Return the task in a state in which nobody has a lease; who had it is kept."""
    return replace(task, status=status, lease_until=0)


_Apply = Callable[[Task, Any, int], Task]
_Rule = tuple[frozenset[TaskStatus], _Apply]


def _from(*states: TaskStatus, by: _Apply) -> _Rule:
    return frozenset(states), by


#: What a person tries again, or gives up.
_ENDED_BADLY: Final = (TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.REJECTED)
#: Every move: from which states, and what it does. In the order in which a task may live it.
_TABLE: Final[Mapping[type[Move], _Rule]] = {
    Approve: _from(TaskStatus.PENDING, by=_approve),
    Deny: _from(TaskStatus.PENDING, by=_deny),
    Claim: _from(TaskStatus.PENDING, by=_claim),
    Start: _from(TaskStatus.CLAIMED, by=_start),
    Complete: _from(TaskStatus.RUNNING, by=_complete),
    Fail: _from(TaskStatus.RUNNING, by=_fail),
    Lose: _from(TaskStatus.RUNNING, by=_lose),
    Park: _from(*HELD, by=_park),
    TakeBack: _from(*HELD, by=_take_back),
    Grade: _from(TaskStatus.COMPLETED, by=_grade),
    Accept: _from(TaskStatus.COMPLETED, TaskStatus.GRADED, by=_accept),
    Reject: _from(TaskStatus.COMPLETED, TaskStatus.GRADED, by=_reject),
    Requeue: _from(*_ENDED_BADLY, by=_retry),
    Cancel: _from(TaskStatus.PENDING, TaskStatus.CLAIMED, *_ENDED_BADLY, by=_cancel),
}
