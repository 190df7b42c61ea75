"""The board on every store: claims, leases, states, needs and approvals."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from earmark.board.board import Board
from earmark.board.listing import TaskFilter
from earmark.board.task import Priority, Task, TaskDraft, TaskStatus
from earmark.errors import InvalidTask, KeyReused, NotFound, TaskMoved, TaskRefused
from earmark.testing import ManualClock
from support.board_books import (
    AGENT,
    LEASE,
    MODEL,
    SECOND,
    add,
    claimed,
    completed,
    in_state,
    open_board,
    quality,
    running,
    start,
)


@pytest.fixture
def board(url: str, clock: ManualClock) -> Iterator[Board]:
    """An empty board."""
    with open_board(url, clock) as opened:
        yield opened


def claim(board: Board, most: int = 10, agent: str = AGENT) -> list[str]:
    """Claim tasks and return their titles."""
    return [task.title for task in board.claim(agent, most, lease_ns=LEASE)]


def pass_lease(clock: ManualClock) -> None:
    """Let a lease that was just taken run out."""
    clock.advance(timedelta(seconds=LEASE / SECOND))


# Claims -------------------------------------------------------------------------------------------


def test_the_most_urgent_and_then_the_oldest_are_claimed(board: Board) -> None:
    """Claims go by priority, then by age; never more than asked for, each once."""
    for number, priority in enumerate((3, 2, 0, 2, 0)):
        add(board, f"{number}", priority=Priority(priority))
    assert [task.title for task in board.ready(AGENT, 3)] == ["2", "4", "1"]
    assert claim(board, 3) == ["2", "4", "1"]
    assert claim(board, 3) == ["3", "0"]
    assert claim(board, 3) == []
    assert claim(board, 0) == claim(board, -1) == []


def test_a_claim_says_who_and_until_when(board: Board, clock: ManualClock) -> None:
    """A claimed task names its agent, when, and when its lease ends; the model it was given to."""
    task = claimed(board)
    assert (task.status, task.agent, task.claimed_at) == ("claimed", AGENT, clock.instant())
    assert task.lease_until == clock.instant() + LEASE
    made = start(board, task, key="k")
    found = board.get(task.id)
    assert (found.status, found.claimed_by) == (TaskStatus.RUNNING, f"{AGENT} → tiny")
    assert board.attempts(task.id) == [made]
    assert (made.number, made.key, made.model, made.outcome) == (1, "k", MODEL, "")


def test_what_may_not_run_is_not_claimed(board: Board, clock: ManualClock) -> None:
    """Not: what is due later, waits for a task or a person, or is for another agent alone."""
    first = board.add(draft := _draft("first", assignee="AG Lu"), actor="ann")
    assert draft.assignee == first.assignee
    add(board, "needs", needs=(first.id,))
    add(board, "later", due_at=clock.instant() + SECOND)
    add(board, "destroys", destructive=True)
    assert claim(board) == []
    assert [task.title for task in board.ready("AG Lu", 9)] == ["first"]
    assert claim(board, agent="AG Lu") == ["first"]
    clock.advance(timedelta(seconds=1))
    assert claim(board) == ["later"]


def _draft(title: str, **fields: object) -> TaskDraft:
    return TaskDraft(title=title, **fields)  # type: ignore[arg-type]


def test_an_agent_has_a_name(board: Board) -> None:
    """Nobody claims without a name."""
    with pytest.raises(InvalidTask, match="'' is not an agent"):
        board.claim("", 1, lease_ns=LEASE)


# Leases -------------------------------------------------------------------------------------------


def test_a_task_whose_lease_ran_out_comes_back(board: Board, clock: ManualClock) -> None:
    """It is found when its lease ends, not before; taken back, it is anybody's, its try lost."""
    task = running(board)
    clock.advance(timedelta(seconds=LEASE / SECOND) - timedelta(microseconds=1))
    assert board.expired() == []
    clock.advance(timedelta(microseconds=1))
    (found,) = board.expired()
    back = board.take_back(
        found.id, found.version, to=TaskStatus.PENDING, reason="nothing was sent"
    )
    assert (back.status, back.agent, back.model, back.lease_until) == (
        TaskStatus.PENDING,
        "",
        "",
        0,
    )
    assert [each.outcome for each in board.attempts(task.id)] == ["lost"]
    assert claim(board, agent="AG Lu") == [task.title]


@pytest.mark.parametrize("to", [TaskStatus.UNKNOWN, TaskStatus.FAILED])
def test_a_lost_task_goes_where_the_books_say(
    board: Board, clock: ManualClock, to: TaskStatus
) -> None:
    """What may have been sent is unknown or failed; the reason and who had it stay on the task."""
    task = running(board)
    pass_lease(clock)
    lost = board.take_back(task.id, task.version, to=to, reason="a hold is open")  # type: ignore[arg-type]
    assert (lost.status, lost.error, lost.agent) == (to, "a hold is open", AGENT)
    assert board.expired() == []


def test_a_renewed_lease_is_not_taken_back(board: Board, clock: ManualClock) -> None:
    """Renewing wins against one who already read that the lease ran out, in either order."""
    task = claimed(board)
    pass_lease(clock)
    (found,) = board.expired()
    assert board.renew(AGENT, [task.id, "nobody"], lease_ns=LEASE) == {task.id}
    with pytest.raises(TaskMoved, match="renewed its lease"):
        board.take_back(found.id, found.version, to=TaskStatus.PENDING, reason="")
    pass_lease(clock)
    board.take_back(found.id, found.version, to=TaskStatus.PENDING, reason="")
    assert board.renew(AGENT, [task.id], lease_ns=LEASE) == set()


def test_only_its_agent_renews(board: Board, clock: ManualClock) -> None:
    """Another agent's renewal does nothing, and one that is shorter takes nothing away."""
    task = claimed(board)
    assert board.renew("AG Lu", [task.id], lease_ns=9 * LEASE) == set()
    assert board.renew(AGENT, [task.id], lease_ns=1) == {task.id}
    assert board.get(task.id).lease_until == clock.instant() + LEASE
    assert board.get(task.id).version == task.version


def test_an_older_version_is_not_taken_back(board: Board, clock: ManualClock) -> None:
    """Two who found the same lost task: the second is told that it moved on."""
    task = claimed(board)
    pass_lease(clock)
    board.take_back(task.id, task.version, to=TaskStatus.PENDING, reason="")
    with pytest.raises(TaskMoved, match="not as it was read"):
        board.take_back(task.id, task.version, to=TaskStatus.FAILED, reason="")


def test_nothing_starts_when_the_lease_ran_out(board: Board, clock: ManualClock) -> None:
    """A heartbeat that slept too long does not start what another may already be taking back."""
    task = claimed(board)
    pass_lease(clock)
    with pytest.raises(TaskMoved, match="lease ran out"):
        start(board, task)
    assert board.attempts(task.id) == []


@pytest.mark.parametrize(
    "finish",
    [
        lambda board, task: board.complete(task.id, 1, AGENT, {}),
        lambda board, task: board.fail(task.id, 1, AGENT, "no"),
        lambda board, task: board.unknown(task.id, 1, AGENT, "cut"),
        lambda board, task: board.park(task.id, AGENT, "no"),
    ],
    ids=["complete", "fail", "unknown", "park"],
)
def test_who_lost_a_task_decides_nothing(
    board: Board, clock: ManualClock, finish: Callable[[Board, Task], object]
) -> None:
    """After its task was taken back and given to another, an agent's answer changes nothing."""
    task = running(board)
    pass_lease(clock)
    board.take_back(task.id, task.version, to=TaskStatus.PENDING, reason="")
    with pytest.raises(TaskMoved):
        finish(board, task)
    (again,) = board.claim("AG Lu", 1, lease_ns=LEASE)
    start(board, again)
    before = board.get(task.id)
    with pytest.raises(TaskMoved):
        finish(board, task)
    assert board.get(task.id) == before


def test_its_own_earlier_try_decides_nothing(board: Board, clock: ManualClock) -> None:
    """A process of the same name that slept through the loss of its try does not end the next."""
    task = running(board)
    pass_lease(clock)
    board.take_back(task.id, task.version, to=TaskStatus.PENDING, reason="")
    (again,) = board.claim(AGENT, 1, lease_ns=LEASE)
    assert start(board, again).number == 2
    with pytest.raises(TaskMoved, match="attempt 1 ended as lost"):
        board.complete(task.id, 1, AGENT, {"of": 1})
    assert board.complete(task.id, 2, AGENT, {"of": 2}).result == {"of": 2}
    with pytest.raises(TaskMoved, match="no attempt 3"):
        board.complete(task.id, 3, AGENT, {"of": 3})


def test_a_clock_that_steps_back_frees_nothing_early(board: Board, clock: ManualClock) -> None:
    """Time on the board never runs back: neither old leases nor new ones end early."""
    old = claimed(board)
    clock.set(clock.now - timedelta(hours=1))
    new = claimed(board)
    assert board.expired() == []
    assert (new.claimed_at, new.lease_until) == (old.claimed_at, old.lease_until)
    clock.advance(timedelta(hours=1))
    assert board.expired() == []
    pass_lease(clock)
    assert board.expired() == [old, new]


def test_a_clock_that_steps_back_keeps_no_lost_task(board: Board, clock: ManualClock) -> None:
    """A lease that ran out by the board's own time is over, though the clock shows less again."""
    lost = claimed(board)
    pass_lease(clock)
    board.add(TaskDraft(title="later"), actor="ann")
    clock.set(clock.now - timedelta(days=1))
    assert [task.id for task in board.expired()] == [lost.id]


# States -------------------------------------------------------------------------------------------


def test_a_result_is_kept_once(board: Board) -> None:
    """Completing again changes nothing; ending the same try otherwise is refused."""
    task = running(board)
    result = {"cost": {"estimated_usd": 0.045864}, "response_text": "é\0\ud800"}
    done = board.complete(task.id, 1, AGENT, result, input_tokens=163, output_tokens=3025)
    assert done.result == {"cost": {"estimated_usd": 0.045864}, "response_text": "é\0�"}
    (tried,) = board.attempts(task.id)
    assert (tried.outcome, tried.input_tokens, tried.output_tokens) == ("completed", 163, 3025)
    assert board.complete(task.id, 1, AGENT, {"other": 1}) == board.get(task.id)
    assert board.get(task.id).result == done.result
    with pytest.raises(TaskMoved, match="ended as completed"):
        board.fail(task.id, 1, AGENT, "no")
    with pytest.raises(TaskMoved, match="ended as completed"):
        board.complete(task.id, 1, "AG Lu", {})


def test_what_json_cannot_say_is_no_result(board: Board) -> None:
    """NaN is refused before anything is written: the try is still open."""
    task = running(board)
    with pytest.raises(InvalidTask, match="result"):
        board.complete(task.id, 1, AGENT, {"score": float("nan")})
    assert board.get(task.id) == task


def test_a_failed_try_is_repeated_while_some_are_left(board: Board, clock: ManualClock) -> None:
    """With a time to retry at it is pending until then; after the last try it stays failed."""
    task = running(board, max_attempts=2)
    then = clock.instant() + 5 * SECOND
    waiting = board.fail(task.id, 1, AGENT, "overloaded", retry_at=then)
    assert (waiting.status, waiting.error, waiting.due_at) == (
        TaskStatus.PENDING,
        "overloaded",
        then,
    )
    assert claim(board) == []
    clock.advance(timedelta(seconds=5))
    (again,) = board.claim(AGENT, 1, lease_ns=LEASE)
    start(board, again)
    failed = board.fail(task.id, 2, AGENT, "still", retry_at=then)
    assert (failed.status, failed.attempts, failed.agent) == (TaskStatus.FAILED, 2, AGENT)


def test_nothing_repeats_what_is_destructive(board: Board) -> None:
    """A destructive task that failed waits for a person, whatever its tries."""
    task = add(board, destructive=True)
    board.decide(task.id, "approve", actor="ann")
    (found,) = board.claim(AGENT, 1, lease_ns=LEASE)
    start(board, found)
    assert board.fail(task.id, 1, AGENT, "no", retry_at=1).status is TaskStatus.FAILED
    assert board.decide(task.id, "retry", actor="ann").status is TaskStatus.PENDING


def test_the_last_lost_try_is_a_failure(board: Board, clock: ManualClock) -> None:
    """A task that kills whoever runs it comes back only while it has tries left."""
    task = running(board, max_attempts=1)
    pass_lease(clock)
    lost = board.take_back(task.id, task.version, to=TaskStatus.PENDING, reason="no sign of it")
    assert (lost.status, lost.error) == (TaskStatus.FAILED, "no sign of it")


def test_what_was_not_sent_is_put_back(board: Board, clock: ManualClock) -> None:
    """A parked task is pending again; asked so, its try does not count, but its number is used."""
    task = running(board, max_attempts=1)
    parked = board.park(task.id, AGENT, "paused", due_at=clock.instant() + 1, uncount=True)
    assert (parked.status, parked.attempts, parked.agent) == (TaskStatus.PENDING, 0, "")
    clock.advance(timedelta(seconds=1))
    (again,) = board.claim(AGENT, 1, lease_ns=LEASE)
    assert board.next_attempt(task.id) == start(board, again).number == 2
    assert board.park(task.id, AGENT, "stopped").attempts == 1
    assert [each.outcome for each in board.attempts(task.id)] == ["parked", "parked"]
    (last,) = board.claim(AGENT, 1, lease_ns=LEASE)
    assert board.park(last.id, AGENT, "stopped", uncount=True).attempts == 1


def test_a_key_leads_to_one_try(board: Board) -> None:
    """A reservation's key that an earlier try of the task had is refused: it would be answered."""
    task = claimed(board)
    start(board, task, key="k")
    board.park(task.id, AGENT, "stopped")
    (again,) = board.claim(AGENT, 1, lease_ns=LEASE)
    with pytest.raises(KeyReused, match="attempt 1, now 2"):
        start(board, again, key="k")
    assert board.get(task.id) == again


def test_a_task_starts_once(board: Board) -> None:
    """Of two who start the same claimed task, one is told that it is running."""
    task = claimed(board)
    start(board, task)
    with pytest.raises(TaskMoved):
        start(board, task)
    with pytest.raises(TaskRefused, match=r"start of task .* refused: it is running"):
        start(board, board.get(task.id))


def test_a_grade_is_shown_and_a_retry_forgets_it(board: Board) -> None:
    """What was said of a result goes with the retry; the result stays until there is another."""
    done = completed(board)
    assert done.quality is None
    graded = board.grade(done.id, quality(65), actor="ann")
    assert (graded.status, graded.quality) == (TaskStatus.GRADED, quality(65))
    rejected = board.decide(done.id, "reject", actor="ann")
    again = board.decide(rejected.id, "retry", actor="ann")
    assert (again.status, again.quality, again.completed_at) == (TaskStatus.PENDING, None, 0)
    assert again.result == done.result


#: What people may do with a task, by its state.
DECISIONS = {
    "grade": {TaskStatus.COMPLETED},
    "accept": {TaskStatus.COMPLETED, TaskStatus.GRADED},
    "reject": {TaskStatus.COMPLETED, TaskStatus.GRADED},
    "retry": {TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.REJECTED},
    "cancel": {
        *(TaskStatus.PENDING, TaskStatus.CLAIMED),
        *(TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.REJECTED),
    },
}


def decide(board: Board, task: Task, name: str) -> Task:
    """Let ann do it."""
    if name == "grade":
        return board.grade(task.id, quality(), actor="ann")
    return board.decide(task.id, name, actor="ann")


@pytest.mark.parametrize("status", list(TaskStatus))
def test_a_state_allows_its_moves_and_no_others(board: Board, status: TaskStatus) -> None:
    """A refused move says the state and what it allows, and changes nothing."""
    for name, states in DECISIONS.items():
        task = in_state(board, status)
        if status in states:
            assert decide(board, task, name).version == task.version + 1
        else:
            with pytest.raises(TaskRefused) as refused:
                decide(board, task, name)
            assert (refused.value.status, refused.value.move) == (status, name)
            assert board.get(task.id) == task
        with suppress(TaskRefused):
            board.decide(task.id, "cancel", actor="ann")  # out of the next one's way


def test_a_person_cancels_what_an_agent_claimed(board: Board) -> None:
    """The agent is told when it wants to start; the task is never claimed again."""
    task = claimed(board)
    board.decide(task.id, "cancel", actor="ann")
    with pytest.raises(TaskMoved):
        start(board, task)
    assert claim(board) == []


# Needs and approvals ------------------------------------------------------------------------------


def test_acceptance_unblocks_what_needs_it(board: Board) -> None:
    """A task waits until the last of those it needs is accepted; nobody else's word counts."""
    a, b = add(board, "a"), add(board, "b")
    needy = add(board, "c", needs=(b.id, a.id, b.id))
    assert (needy.needs, needy.waiting) == ((a.id, b.id), 2)
    for task, left in ((a, 1), (b, 0)):
        (found,) = board.claim(AGENT, 1, lease_ns=LEASE)
        start(board, found)
        board.complete(task.id, 1, AGENT, {})
        assert board.get(needy.id).waiting == left + 1
        board.decide(task.id, "accept", actor="ann")
        assert board.get(needy.id).waiting == left
    assert claim(board) == ["c"]
    told = [event.note for event in board.history(needy.id) if event.move == "unblocked"]
    assert told == ["#1 was accepted, 1 more to come", "#2 was accepted"]


def test_what_is_accepted_already_is_not_waited_for(board: Board) -> None:
    """A task added after what it needs was accepted waits for nothing."""
    done = in_state(board, TaskStatus.ACCEPTED)
    assert add(board, needs=(done.id,)).waiting == 0


def test_a_need_that_is_given_up_keeps_its_task_waiting(board: Board) -> None:
    """Where what it needs was cancelled or rejected, a task stays on the board, waiting."""
    gone, bad = in_state(board, TaskStatus.CANCELLED), in_state(board, TaskStatus.REJECTED)
    needy = add(board, needs=(gone.id, bad.id))
    assert (needy.status, needy.waiting) == (TaskStatus.PENDING, 2)
    assert claim(board) == []


def test_many_wait_for_one(board: Board) -> None:
    """One acceptance unblocks all that wait for it, more than fit in one statement."""
    first = claimed(board)
    for _ in range(60):
        add(board, needs=(first.id,))
    start(board, first)
    board.complete(first.id, 1, AGENT, {})
    board.decide(first.id, "accept", actor="ann")
    assert len(claim(board, 100)) == 60


def test_only_what_is_there_can_be_needed(board: Board) -> None:
    """An unknown need is refused, and nothing is added."""
    with pytest.raises(InvalidTask, match="'nope' is not a task on the board to need"):
        add(board, needs=("nope",))
    assert board.find() == []


def test_a_destructive_task_waits_for_a_person(board: Board) -> None:
    """It is claimed after its approval, which names who gave it; a P0 one too."""
    task = add(board, destructive=True, priority=Priority.P0)
    assert (task.approval, claim(board)) == ("wanted", [])
    approved = board.decide(task.id, "approve", actor="ann")
    assert (approved.approval, approved.approved_by) == ("given", "ann")
    with pytest.raises(TaskRefused, match="approval was given"):
        board.decide(task.id, "deny", actor="bob")
    assert claim(board) == [task.title]


def test_a_denied_task_is_over(board: Board) -> None:
    """It is cancelled, and says who denied it."""
    task = add(board, destructive=True)
    denied = board.decide(task.id, "deny", actor="ann", note="not today")
    assert (denied.status, denied.approval) == (TaskStatus.CANCELLED, "denied")
    assert denied.approved_by == "ann"
    with pytest.raises(TaskRefused):
        board.decide(task.id, "approve", actor="ann")


def test_approval_is_asked_for_what_is_configured(board: Board) -> None:
    """By type and by priority; being P0 alone asks nobody."""
    asked = frozenset({"deploy", "P1"})

    def wanted(**fields: object) -> str:
        return board.add(_draft("t", **fields), actor="ann", approval_for=asked).approval

    assert wanted(type="deploy") == wanted(priority=Priority.P1) == "wanted"
    assert wanted(priority=Priority.P0) == wanted(destructive=True) == ""
    with pytest.raises(TaskRefused, match="nobody asks for approval"):
        board.decide(add(board).id, "approve", actor="ann")


def test_nobody_moves_what_is_not_there(board: Board) -> None:
    """A task that is not on the board is not found, by whatever name it is looked for."""
    for name in ("", "0", "nope", "a\0b", "\ud800", "01234567", "f" * 400):
        with pytest.raises(NotFound):
            board.decide(name, "accept", actor="ann")
    assert board.find(TaskFilter()) == []
