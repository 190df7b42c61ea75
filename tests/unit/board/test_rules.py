"""How a task may move, without a board: every move from every state."""

import pytest
from msgspec import structs
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
    Lose,
    Move,
    Park,
    Reject,
    Requeue,
    Start,
    TakeBack,
)
from earmark.board.rules import advance, needs_approval, obstacle
from earmark.board.task import Priority, Quality, Task, TaskDraft, TaskStatus
from earmark.errors import TaskMoved, TaskRefused

NOW = 1000
HELD = {TaskStatus.CLAIMED, TaskStatus.RUNNING}
QUALITY = Quality(overall=50, passed=False, graded_by="ann", graded_at=NOW)


#: What every task has: its draft's fields, and what the board keeps of it beside them.
BASE = {
    **structs.asdict(TaskDraft(title="t")), "id": "t", "number": 1,
    "approval": "", "approved_by": "", "waiting": 0, "attempts": 1, "model": "",
    "created_at": 1, "created_by": "ann", "claimed_at": 2, "started_at": 3, "completed_at": 4,
    "result": None, "error": "", "quality": None, "version": 7,
}  # fmt: skip


def task(status: TaskStatus, **fields: object) -> Task:
    """Return a task in a state, with what one in that state has."""
    held = {"agent": "Lu", "lease_until": NOW + 1}
    has = held if status in HELD else {"agent": "", "lease_until": 0}
    return Task(**{**BASE, **has, "status": status, **fields})


#: States in which a task that somebody had is nobody's again.
_NOBODYS = {TaskStatus.PENDING, TaskStatus.CANCELLED}

#: Each move, from which states it leads, and where to.
MOVES: list[tuple[Move, dict[TaskStatus, TaskStatus]]] = [
    (Claim(agent="Lu", lease_until=NOW + 9), {TaskStatus.PENDING: TaskStatus.CLAIMED}),
    (Start(agent="Lu", version=7, model="m"), {TaskStatus.CLAIMED: TaskStatus.RUNNING}),
    (Complete(agent="Lu", result={}), {TaskStatus.RUNNING: TaskStatus.COMPLETED}),
    (Fail(agent="Lu", error="no"), {TaskStatus.RUNNING: TaskStatus.FAILED}),
    (Fail(agent="Lu", error="no", retry_at=5), {TaskStatus.RUNNING: TaskStatus.PENDING}),
    (Lose(agent="Lu", error="cut"), {TaskStatus.RUNNING: TaskStatus.UNKNOWN}),
    (Park(agent="Lu"), dict.fromkeys(HELD, TaskStatus.PENDING)),
    (Grade(quality=QUALITY), {TaskStatus.COMPLETED: TaskStatus.GRADED}),
    (
        Accept(actor="ann"),
        dict.fromkeys((TaskStatus.COMPLETED, TaskStatus.GRADED), TaskStatus.ACCEPTED),
    ),
    (
        Reject(actor="ann"),
        dict.fromkeys((TaskStatus.COMPLETED, TaskStatus.GRADED), TaskStatus.REJECTED),
    ),
    (
        Requeue(actor="ann"),
        dict.fromkeys(
            (TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.REJECTED), TaskStatus.PENDING
        ),
    ),
    (
        Cancel(actor="ann"),
        dict.fromkeys(
            (
                TaskStatus.PENDING,
                TaskStatus.CLAIMED,
                TaskStatus.FAILED,
                TaskStatus.UNKNOWN,
                TaskStatus.REJECTED,
            ),
            TaskStatus.CANCELLED,
        ),
    ),
]


@pytest.mark.parametrize("status", list(TaskStatus))
@pytest.mark.parametrize(
    ("move", "ways"), MOVES, ids=[f"{m.name} {i}" for i, (m, _) in enumerate(MOVES)]
)
def test_every_move_from_every_state(
    move: Move, ways: dict[TaskStatus, TaskStatus], status: TaskStatus
) -> None:
    """A move leads where the table says and makes the next version; else it is refused."""
    before = task(status)
    if status in ways:
        after = advance(before, move, NOW)
        assert (after.status, after.version) == (ways[status], 8)
        assert (after.lease_until > 0) == (after.status in HELD)
        assert after.agent == ("" if after.status in _NOBODYS else "Lu") or not before.agent
        return
    with pytest.raises((TaskMoved, TaskRefused)) as refused:
        advance(before, move, NOW)
    assert refused.value.task == "t"


@pytest.mark.parametrize("to", [TaskStatus.PENDING, TaskStatus.UNKNOWN, TaskStatus.FAILED])
@pytest.mark.parametrize("status", list(TaskStatus))
def test_only_what_is_held_is_taken_back(status: TaskStatus, to: TaskStatus) -> None:
    """A claimed or running task whose lease ran out goes where it is sent; no other."""
    move = TakeBack(version=7, to=to, reason="lost")  # type: ignore[arg-type]
    late = task(status, lease_until=NOW)
    if status in HELD:
        assert advance(late, move, NOW).status is to
        with pytest.raises(TaskMoved, match="renewed"):
            advance(task(status), move, NOW)
    else:
        with pytest.raises(TaskRefused):
            advance(late, move, NOW)
    with pytest.raises(TaskMoved):
        advance(replace(late, version=8), move, NOW)


def test_a_claimed_task_comes_back_after_its_last_try() -> None:
    """A lease that was lost before a try began costs no try."""
    move = TakeBack(version=7, to=TaskStatus.PENDING, reason="lost")
    fields = {"attempts": 3, "lease_until": NOW}
    assert advance(task(TaskStatus.CLAIMED, **fields), move, NOW).status is TaskStatus.PENDING
    assert advance(task(TaskStatus.RUNNING, **fields), move, NOW).status is TaskStatus.FAILED


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, ""),
        ({"assignee": "Lu", "approval": "given", "due_at": NOW}, ""),
        ({"waiting": 2}, "waits for 2 of the tasks it needs"),
        ({"approval": "wanted"}, "waits for a person's approval"),
        ({"approval": "denied"}, "waits for a person's approval"),
        ({"assignee": "AG Lu"}, "is for AG Lu alone"),
        ({"due_at": NOW + 1}, "is not due yet"),
    ],
)
def test_what_stands_in_the_way_of_a_claim_is_said(fields: dict[str, object], said: str) -> None:
    """Nothing, or the one thing that keeps an agent from claiming, which its refusal repeats."""
    pending = task(TaskStatus.PENDING, **fields)
    assert obstacle(pending, "Lu", NOW) == said
    claim = Claim(agent="Lu", lease_until=NOW + 9)
    if not said:
        assert advance(pending, claim, NOW).agent == "Lu"
        return
    with pytest.raises(TaskRefused, match=said):
        advance(pending, claim, NOW)


@pytest.mark.parametrize("move", [Approve(actor="ann"), Deny(actor="ann")])
@pytest.mark.parametrize("approval", ["", "wanted", "given", "denied"])
def test_approval_is_given_where_it_is_wanted(move: Approve | Deny, approval: str) -> None:
    """Only a pending task that waits for a person is approved or denied; a refusal offers it so."""
    asked = task(TaskStatus.PENDING, approval=approval)
    if approval == "wanted":
        after = advance(asked, move, NOW)
        wanted = ("given", "pending") if move.name == "approve" else ("denied", "cancelled")
        assert (after.approval, after.status, after.approved_by) == (*wanted, "ann")
    else:
        with pytest.raises(TaskRefused) as refused:
            advance(asked, move, NOW)
        assert not {"approve", "deny"} & set(refused.value.allowed)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"destructive": True}, {"destructive"}),
        ({"destructive": True, "priority": Priority.P0}, {"destructive"}),
        ({"type": "deploy"}, {"deploy", "review"}),
        ({"priority": Priority.P0}, {"P0"}),
    ],
)
def test_a_person_is_asked_for_what_is_named(fields: dict[str, object], asked: set[str]) -> None:
    """Destructive tasks, types and priorities, each where it is named and nowhere else."""
    draft = TaskDraft(**{"title": "t", **fields})  # type: ignore[arg-type]
    assert needs_approval(draft, frozenset(asked))
    assert not needs_approval(draft, frozenset({"consult-not", "P3"}))
    assert not needs_approval(TaskDraft(title="t"), frozenset(asked))


@pytest.mark.parametrize(
    ("title", "series"),
    [("[SELF-10] Tracker", "SELF-10"), ("Tracker", ""), ("[open", ""), ("a [b] c", "")],
)
def test_a_title_may_begin_with_its_series(title: str, series: str) -> None:
    """The tag in brackets in front of a title is its series."""
    assert task(TaskStatus.PENDING, title=title).series == series
