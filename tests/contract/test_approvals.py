"""Tasks that wait for a person, on every store: somebody is told of each, once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from earmark.board.task import Draft, Status, Task
from earmark.errors import StoreUnavailable
from earmark.nudges.nudge import Nudge
from earmark.nudges.nudges import Nudges
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from earmark.workspace.approvals import MOST, ask_for_all, put_on_board
from earmark.workspace.workspace import Desk, open_desk
from support.ledger_workers import in_threads
from support.shaky_tables import ShakyTables

RISKY = Draft(title="[OPS-1] Drop the table", type="deploy", destructive=True)


@pytest.fixture
def desk(url: str, clock: ManualClock) -> Iterator[Desk]:
    """An empty board, of which a chat hears."""
    with (
        open_ledger(url, clock=clock) as ledger,
        open_desk(ledger, sibling="VS Lu", channels=("chat",)) as opened,
    ):
        yield opened


def nudges(desk: Desk) -> list[Nudge]:
    """Return every nudge there is."""
    return desk.nudges.find(most=1000)


def add(desk: Desk, draft: Draft = RISKY, key: str | None = None) -> Task:
    """Put a task on the board as every program does."""
    return put_on_board(desk, draft, actor="ann", key=key)


def test_who_adds_a_task_that_waits_for_a_person_nudges(desk: Desk) -> None:
    """The sibling is told which task, what it is and who wants it, on every channel."""
    task = add(desk)
    (nudge,) = nudges(desk)
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
    assert [each.channel for each in desk.nudges.deliveries(nudge.id)] == ["chat"]
    assert desk.quilt.get("sibling_nudge", nudge.id).data["task"] == task.id


def test_a_task_that_asks_nobody_nudges_nobody(desk: Desk) -> None:
    """Only what the configuration has a person approve is told."""
    put_on_board(desk, Draft(title="a"), actor="ann")
    put_on_board(desk, RISKY, actor="ann", approval_for=frozenset())
    assert (nudges(desk), ask_for_all(desk)) == ([], 0)
    put_on_board(desk, Draft(title="a"), actor="ann", approval_for=frozenset({"P2"}))
    assert [nudge.kind for nudge in nudges(desk)] == ["approval"]


def test_each_task_is_told_once(desk: Desk) -> None:
    """Added again under its key, seen by any number of cycles, tried again: one nudge."""
    first = [add(desk, key="k") for _ in range(2)]
    in_threads([lambda: ask_for_all(desk)] * 4)
    assert len(nudges(desk)) == len({task.id for task in first}) == 1
    desk.board.approve(first[0].id, actor="ann")
    desk.board.cancel(first[0].id, actor="ann")
    add(desk, key="k")
    assert (len(nudges(desk)), ask_for_all(desk)) == (1, 0)


def test_what_could_not_be_told_is_told_by_the_next_cycle(desk: Desk, clock: ManualClock) -> None:
    """The task is on the board though the nudge could not be written, and is not forgotten."""
    line = ShakyTables(desk.tables)
    line.down = True
    task = add(replace(desk, nudges=Nudges(line, clock)))
    assert (desk.board.get(task.id).status, nudges(desk)) == (Status.PENDING, [])
    assert (ask_for_all(desk, ("chat",)), ask_for_all(desk, ("chat",))) == (1, 0)
    (nudge,) = nudges(desk)
    assert [each.channel for each in desk.nudges.deliveries(nudge.id)] == ["chat"]


def test_old_tasks_are_told_a_few_at_a_time(desk: Desk) -> None:
    """Many that nobody was told of are no flood, and those that cannot run yet come later."""
    first = desk.board.add(Draft(title="first"), actor="ann")
    for _ in range(MOST + 1):
        desk.board.add(RISKY, actor="ann")
    later = desk.board.add(replace_needs(first), actor="ann")
    assert [ask_for_all(desk) for _ in range(3)] == [MOST, 1, 0]
    desk.board.cancel(nudges(desk)[0].data["task"], actor="ann")
    accept(desk, first)
    assert ask_for_all(desk) == 1
    assert nudges(desk)[-1].data["task"] == later.id


def replace_needs(first: Task) -> Draft:
    """Return a task that waits for another one and for a person."""
    return Draft(title="later", destructive=True, needs=(first.id,))


def accept(desk: Desk, task: Task) -> None:
    """Do a task, and take what came of it."""
    (claimed,) = desk.board.claim("Cloud Lu", 1, lease_ns=10**12)
    attempt = desk.board.start(claimed, model="a/b", key="k", budget="c8")
    desk.board.complete(task.id, attempt.number, "Cloud Lu", {})
    desk.board.accept(task.id, actor="ann")


def test_a_store_that_is_away_is_not_taken_for_quiet(desk: Desk) -> None:
    """A cycle that cannot look says so."""
    line = ShakyTables(desk.tables)
    line.down = True
    with pytest.raises(StoreUnavailable):
        ask_for_all(replace(desk, tables=line))
