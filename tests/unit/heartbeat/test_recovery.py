"""Tasks of a heartbeat that died: the books say whether they may be tried again."""

from datetime import timedelta

import pytest

from earmark.board.task import Attempt, CompositionWork, Task, TaskStatus
from earmark.errors import KeyReused
from earmark.money import Money
from earmark.workspace.attempt_reservations import FenceResult, attempt_key, fence_attempt, was_sent
from support.beat_house import BeatHouse

BUDGET = "c8/cloud-lu"
LEASE = timedelta(minutes=2)


def dies(beats: BeatHouse, task: Task, *, begun: bool = True, run: str = "") -> Attempt | None:
    """Claim *task*, begin it, and never be heard of again."""
    (claimed,) = beats.board.claim("Cloud Lu", 1, lease_ns=120 * 10**9)
    assert claimed.id == task.id
    if not begun:
        return None
    number = beats.board.next_attempt(task.id)
    key = "" if run else attempt_key(task.id, number)
    budget = f"{BUDGET}/run-{run}" if run else BUDGET
    return beats.board.start(claimed, model="scripted/m", key=key, run_id=run, budget=budget)


def test_a_task_of_which_nothing_was_sent_comes_back(beats: BeatHouse) -> None:
    """Claimed, or begun and not paid for: it is pending again once the lease ran out, and done."""
    for begun in (False, True):
        task = beats.add()
        dies(beats, task, begun=begun)
        assert beats.cycle().dispatched == ()
        report = beats.cycle(after=LEASE)
        assert report.recovered == ("recovered 'a task', which is pending again",)
        assert beats.status(task) is TaskStatus.COMPLETED
        assert beats.cost(task) == Money("0.10")
    assert "nothing was sent" in beats.board.history(task.id)[3].note


@pytest.mark.parametrize("state", ["open", "settled", "presumed"])
def test_a_destructive_task_that_may_have_run_is_for_a_person(beats: BeatHouse, state: str) -> None:
    """Whatever became of its call, nothing repeats it by itself, and a person is told once."""
    task = beats.add(destructive=True)
    beats.board.decide(task.id, "approve", actor="ann")
    attempt = dies(beats, task)
    assert attempt is not None
    beats.ledger.reserve(BUDGET, "0.10", key=attempt.key, deadline="20min")
    if state == "settled":
        beats.ledger.settle(attempt.key, "0.04")
    if state == "presumed":
        beats.ledger.presume(attempt.key)
    report = beats.cycle(after=LEASE)
    assert "is unknown: a person decides" in report.recovered[0]
    assert beats.status(task) is TaskStatus.UNKNOWN
    beats.cycles(3, every=timedelta(minutes=10))
    assert beats.nudges() == ["unknown"]
    assert beats.spent == Money("0.04" if state == "settled" else "0.10")
    assert len(beats.provider.sent) == 0


@pytest.mark.parametrize("state", ["open", "settled"])
def test_another_task_that_may_have_run_is_tried_again(beats: BeatHouse, state: str) -> None:
    """Its first call stays counted; the second one is paid beside it."""
    task = beats.add()
    attempt = dies(beats, task)
    assert attempt is not None
    beats.ledger.reserve(BUDGET, "0.10", key=attempt.key, deadline="20min")
    if state == "settled":
        beats.ledger.settle(attempt.key, "0.10")
    beats.cycle(after=LEASE)
    done = beats.board.get(task.id)
    assert (done.status, done.attempts) == (TaskStatus.COMPLETED, 2)
    assert beats.spent + beats.held == Money("0.20")
    beats.cycle(after=timedelta(minutes=20))
    assert beats.cost(task) == beats.spent == Money("0.20")
    assert [each.outcome for each in beats.board.attempts(task.id)] == ["lost", "completed"]


def test_a_task_that_kills_its_heartbeats_ends_as_failed(beats: BeatHouse) -> None:
    """It comes back until its tries are used up, and not for ever."""
    task = beats.add(max_attempts=2)
    beats.kill_switch(enabled=False)
    for status in (TaskStatus.PENDING, TaskStatus.FAILED):
        attempt = dies(beats, task)
        assert attempt is not None
        beats.ledger.reserve(BUDGET, "0.10", key=attempt.key)
        beats.cycle(after=LEASE)
        assert beats.status(task) is status


def test_a_heartbeat_that_was_only_slow_sends_nothing_any_more(beats: BeatHouse) -> None:
    """Taken back before it had paid, its late payment is refused: the key is taken."""
    task = beats.add()
    attempt = dies(beats, task)
    assert attempt is not None
    beats.kill_switch(enabled=False)
    beats.cycle(after=LEASE)
    assert beats.status(task) is TaskStatus.PENDING
    with pytest.raises(KeyReused):
        beats.ledger.reserve(BUDGET, "0.10", key=attempt.key)
    assert (beats.spent, beats.held, was_sent(beats.ledger, attempt)) == (Money(), Money(), False)
    assert fence_attempt(beats.ledger, attempt) is FenceResult.UNSENT


def test_a_slow_heartbeat_that_paid_first_has_sent(beats: BeatHouse) -> None:
    """Between the look and the bar it paid: then something may have been sent."""
    task = beats.add()
    attempt = dies(beats, task)
    assert attempt is not None
    seen = beats.ledger.store.reservation
    beats.ledger.reserve(BUDGET, "0.10", key=attempt.key)

    class Late:
        """A store in which the payment is not seen yet."""

        def __getattr__(self, name: str) -> object:
            return (lambda _: None) if name == "reservation" else getattr(store, name)

    store = beats.ledger.store
    beats.ledger.store = Late()  # type: ignore[assignment]
    assert fence_attempt(beats.ledger, attempt) is FenceResult.SENT
    beats.ledger.store = store
    assert seen(attempt.key) is not None


def test_under_a_pause_nothing_is_taken_back(beats: BeatHouse) -> None:
    """The late payment cannot be barred then, and nothing could be dispatched: it waits."""
    task = beats.add()
    dies(beats, task)
    beats.ledger.pause(BUDGET)
    assert beats.cycle(after=LEASE).recovered == ()
    assert beats.status(task) is TaskStatus.RUNNING
    beats.ledger.resume(BUDGET)
    beats.cycle()
    assert beats.status(task) is TaskStatus.COMPLETED


@pytest.mark.parametrize("sent", [False, True])
def test_a_composition_is_judged_by_all_its_calls(beats: BeatHouse, *, sent: bool) -> None:
    """One reservation of its run is enough to call it sent."""
    graph = {"description": "a", "version": "0.1.0", "root": {"op": "Stage", "id": "x"}}
    task = beats.add(destructive=True, work=CompositionWork(graph=graph, input=1, budget="0.10"))
    beats.board.decide(task.id, "approve", actor="ann")
    dies(beats, task, run="0123456789abcdef")
    if sent:
        path = f"{BUDGET}/run-0123456789abcdef"
        beats.ledger.set_budget(path, limits=["0.10 usd total"])
        beats.ledger.release(beats.ledger.reserve(path, "0.01").key)
        beats.ledger.reserve(path, "0.02")
    beats.kill_switch(enabled=False)
    beats.cycle(after=LEASE)
    assert beats.status(task) is (TaskStatus.UNKNOWN if sent else TaskStatus.PENDING)


def test_a_lease_is_renewed_while_its_task_is_under_way(beats: BeatHouse) -> None:
    """A call of nine minutes under a lease of two is nobody else's to take back."""
    from support.beat_house import answer

    beats.provider.play(answer(10, after=540))
    task = beats.add()
    with BeatHouse(ledger=beats.ledger, clock=beats.clock, agent="VS Lu", holder="h:2") as other:
        other.start()

        def wait() -> None:
            # The call sleeps, and so does whoever renews the lease, after each renewal again.
            sleepers = beats.clock.sleepers
            for _ in range(17):
                beats.pass_time(timedelta(seconds=30), sleepers=sleepers)
                assert other.board.expired() == []
            beats.pass_time(timedelta(seconds=30))

        beats.when_sent(wait)
        beats.cycle()
        assert beats.status(task) is TaskStatus.COMPLETED
        row = beats.workspace.agents.get("Cloud Lu")
        assert row is not None
        assert row.held_at(beats.clock.instant())
