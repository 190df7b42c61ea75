"""How a dispatch can end, and what is booked, told and tried again then."""

from datetime import timedelta

import pytest

from earmark.board.task import ModelWork, TaskStatus
from earmark.money import Money
from earmark.testing import Failure, HalfStream, Unmetered
from earmark.workspace.task_costs import task_cost
from support.beat_house import TEN_CENTS, BeatHouse, answer


def test_a_failure_is_tried_again_later_and_then_final() -> None:
    """Billed failures count as tries; each waits longer, and the third is the last."""
    with BeatHouse(Failure(billed="yes", status=500)) as beats:
        task = beats.add()
        assert [each.outcome for each in beats.cycle().dispatched] == ["retried"]
        due = beats.board.get(task.id).due_at - beats.clock.instant()
        assert due == 60 * 10**9
        assert beats.cycle(after=timedelta(seconds=59)).dispatched == ()
        assert len(beats.cycle(after=timedelta(seconds=1)).dispatched) == 1
        assert beats.cycle(after=timedelta(seconds=119)).dispatched == ()
        last = beats.cycle(after=timedelta(seconds=1))
        assert [each.outcome for each in last.dispatched] == ["failed"]
        failed = beats.board.get(task.id)
        assert (failed.status, failed.attempts) == (TaskStatus.FAILED, 3)
        assert failed.result is not None
        assert failed.result["status"] == "error"
        assert beats.cost(task) == beats.provider.billed == beats.spent
        assert "3 of 1" not in beats.health().output


def test_a_failure_that_cannot_pass_is_not_tried_again() -> None:
    """A wrong key or a wrong model does not get better by repeating."""
    with BeatHouse(Failure(billed="no", status=401, retryable=False)) as beats:
        task = beats.add()
        beats.cycle()
        assert (beats.status(task), beats.spent) == (TaskStatus.FAILED, Money())


def test_a_provider_that_is_down_costs_no_tries() -> None:
    """Calls that never left are no attempts: tasks outlive an outage, and health names it."""
    with BeatHouse(*[Failure(billed="no")] * 9, TEN_CENTS) as beats:
        task = beats.add()
        beats.cycle()
        assert beats.health().status == "warn"
        assert "1 of 1 dispatches did not succeed: call failed" in beats.health().output
        for _ in range(9):
            beats.cycle(after=timedelta(hours=1))
        done = beats.board.get(task.id)
        assert (done.status, done.attempts) == (TaskStatus.COMPLETED, 1)
        assert beats.cost(task) == Money("0.10")
        assert beats.health().heartbeat["last_error"] is None


@pytest.mark.parametrize("script", [HalfStream(), Failure(billed="unknown")])
def test_a_lost_reply_is_unknown_and_counts_whole(script: HalfStream | Failure) -> None:
    """Nobody knows what it cost or did: the hold is spent, a person is nudged, nothing repeats."""
    with BeatHouse(script) as beats:
        task = beats.add()
        report = beats.cycle()
        assert [each.outcome for each in report.dispatched] == ["unknown"]
        assert beats.status(task) is TaskStatus.UNKNOWN
        assert (beats.spent, beats.nudges()) == (Money("0.10"), ["unknown"])
        assert beats.cycle(after=timedelta(days=1)).dispatched == ()
        assert task_cost(beats.ledger, beats.board.attempts(task.id)).presumed == Money("0.10")


def test_a_call_that_takes_too_long_is_unknown() -> None:
    """After its time-out the hold is presumed and a person decides."""
    with BeatHouse(answer(10, after=601)) as beats:
        task = beats.add()
        beats.when_sent(lambda: beats.clock.advance(timedelta(seconds=600)))
        beats.cycle()
        assert (beats.status(task), beats.spent) == (TaskStatus.UNKNOWN, Money("0.10"))


def test_a_reply_without_usage_is_a_result_at_the_whole_hold() -> None:
    """The answer is kept; what it cost is presumed, and the result says why."""
    with BeatHouse(Unmetered(text="done")) as beats:
        task = beats.add()
        beats.cycle()
        result = beats.board.get(task.id).result
        assert result is not None
        assert (result["response_text"], beats.cost(task)) == ("done", Money("0.1"))
        assert result["note"] == "no usage in the reply"
        assert beats.health().budget["unresolved"] == 1


def test_a_provider_that_is_not_configured_fails_the_task(beats: BeatHouse) -> None:
    """A task's own mistake is its own: it fails, says so, and the next one goes."""
    task = beats.add(work=ModelWork(model="nobody/m"))
    unpriced = beats.add(work=ModelWork(model="scripted/other"))
    fine = beats.add()
    beats.cycle()
    assert "no provider 'nobody'" in beats.board.get(task.id).error
    assert "unpriced" in beats.board.get(unpriced.id).error
    assert [beats.status(each) for each in (task, unpriced, fine)] == [
        TaskStatus.FAILED,
        TaskStatus.FAILED,
        TaskStatus.COMPLETED,
    ]
