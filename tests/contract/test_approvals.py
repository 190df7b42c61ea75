"""Tasks that wait for a person, on every store: somebody is told of each, once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from earmark.board.task import Task, TaskDraft, TaskStatus
from earmark.errors import StoreUnavailable
from earmark.nudges.nudge import Nudge
from earmark.nudges.nudges import Nudges
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from earmark.workspace.approvals import MOST, add_task, request_pending_approvals
from earmark.workspace.workspace import Workspace, open_workspace
from support.ledger_workers import in_threads
from support.shaky_tables import ShakyTables

RISKY = TaskDraft(title="[OPS-1] Drop the table", type="deploy", destructive=True)


@pytest.fixture
def workspace(url: str, clock: ManualClock) -> Iterator[Workspace]:
    """An empty board, of which a chat hears."""
    with (
        open_ledger(url, clock=clock) as ledger,
        open_workspace(ledger, sibling="VS Lu", channels=("chat",)) as opened,
    ):
        yield opened


def nudges(workspace: Workspace) -> list[Nudge]:
    """Return every nudge there is."""
    return workspace.nudges.find(most=1000)


def add(workspace: Workspace, draft: TaskDraft = RISKY, key: str | None = None) -> Task:
    """Put a task on the board as every program does."""
    return add_task(workspace, draft, actor="ann", key=key)


def test_who_adds_a_task_that_waits_for_a_person_nudges(workspace: Workspace) -> None:
    """The sibling is told which task, what it is and who wants it, on every channel."""
    task = add(workspace)
    (nudge,) = nudges(workspace)
    assert (nudge.id, nudge.kind, nudge.recipient) == (
        f"task/{task.id}/approval",
        "approval",
        "VS Lu",
    )
    assert nudge.title == "Task #1 waits for approval: [OPS-1] Drop the table"
    assert nudge.data == {
        "task": task.id,
        "title": task.title,
        "type": "deploy",
        "priority": "P2",
        "destructive": True,
        "by": "ann",
    }
    assert [each.channel for each in workspace.nudges.deliveries(nudge.id)] == ["chat"]
    assert workspace.quilt.get("sibling_nudge", nudge.id).data["task"] == task.id


def test_a_task_that_asks_nobody_nudges_nobody(workspace: Workspace) -> None:
    """Only what the configuration has a person approve is told."""
    add_task(workspace, TaskDraft(title="a"), actor="ann")
    add_task(workspace, RISKY, actor="ann", approval_for=frozenset())
    assert (nudges(workspace), request_pending_approvals(workspace)) == ([], 0)
    add_task(workspace, TaskDraft(title="a"), actor="ann", approval_for=frozenset({"P2"}))
    assert [nudge.kind for nudge in nudges(workspace)] == ["approval"]


def test_each_task_is_told_once(workspace: Workspace) -> None:
    """Added again under its key, seen by any number of cycles, tried again: one nudge."""
    first = [add(workspace, key="k") for _ in range(2)]
    in_threads([lambda: request_pending_approvals(workspace)] * 4)
    assert len(nudges(workspace)) == len({task.id for task in first}) == 1
    workspace.board.decide(first[0].id, "approve", actor="ann")
    workspace.board.decide(first[0].id, "cancel", actor="ann")
    add(workspace, key="k")
    assert (len(nudges(workspace)), request_pending_approvals(workspace)) == (1, 0)


def test_what_could_not_be_told_is_told_by_the_next_cycle(
    workspace: Workspace, clock: ManualClock
) -> None:
    """The task is on the board though the nudge could not be written, and is not forgotten."""
    line = ShakyTables(workspace.tables)
    line.down = True
    task = add(replace(workspace, nudges=Nudges(line, clock)))
    assert (workspace.board.get(task.id).status, nudges(workspace)) == (TaskStatus.PENDING, [])
    assert (
        request_pending_approvals(workspace, ("chat",)),
        request_pending_approvals(workspace, ("chat",)),
    ) == (1, 0)
    (nudge,) = nudges(workspace)
    assert [each.channel for each in workspace.nudges.deliveries(nudge.id)] == ["chat"]


def test_old_tasks_are_told_a_few_at_a_time(workspace: Workspace) -> None:
    """Many that nobody was told of are no flood, and those that cannot run yet come later."""
    first = workspace.board.add(TaskDraft(title="first"), actor="ann")
    for _ in range(MOST + 1):
        workspace.board.add(RISKY, actor="ann")
    later = workspace.board.add(replace_needs(first), actor="ann")
    assert [request_pending_approvals(workspace) for _ in range(3)] == [MOST, 1, 0]
    workspace.board.decide(nudges(workspace)[0].data["task"], "cancel", actor="ann")
    accept(workspace, first)
    assert request_pending_approvals(workspace) == 1
    assert nudges(workspace)[-1].data["task"] == later.id


def replace_needs(first: Task) -> TaskDraft:
    """Return a task that waits for another one and for a person."""
    return TaskDraft(title="later", destructive=True, needs=(first.id,))


def accept(workspace: Workspace, task: Task) -> None:
    """Do a task, and take what came of it."""
    (claimed,) = workspace.board.claim("Cloud Lu", 1, lease_ns=10**12)
    attempt = workspace.board.start(claimed, model="a/b", key="k", budget="c8")
    workspace.board.complete(task.id, attempt.number, "Cloud Lu", {})
    workspace.board.decide(task.id, "accept", actor="ann")


def test_a_store_that_is_away_is_not_taken_for_quiet(workspace: Workspace) -> None:
    """A cycle that cannot look says so."""
    line = ShakyTables(workspace.tables)
    line.down = True
    with pytest.raises(StoreUnavailable):
        request_pending_approvals(Workspace.over(workspace.ledger, line))
