"""Tasks that are compositions: a run below the agent's budget, with a budget of its own."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from earmark.board.task import CompositionWork, TaskStatus
from earmark.errors import NotFound
from earmark.heartbeat.recovery import recover
from earmark.money import Money
from earmark.quilt.quilt import Patch
from earmark.stages.kinds.model import model_stage
from earmark.stages.kinds.remote import remote_stage
from earmark.testing import HalfStream
from support.beat_house import MODEL, BeatHouse, answer
from support.last_resort import LAST_RESORT_S
from support.stub_server import Scene, StubServer

STAGE = {"op": "Stage", "id": "draft"}


def graph(root: dict[str, Any]) -> dict[str, Any]:
    """Return a composition of which this is the root."""
    return {"description": "a test", "version": "0.1.0", "root": root}


TWICE = {"op": "Sequential", "stages": [STAGE] * 2}
GRAPH = graph(TWICE)


def composing(**settings: object) -> BeatHouse:
    """Return a heartbeat that has a stage of its model."""
    stage = model_stage("draft", MODEL, "Go on: {input}", max_tokens=1000)
    return BeatHouse(house={"stages": (stage,)}, **settings)


def test_a_composition_is_dispatched_on_a_budget_of_its_own() -> None:
    """Its run is a budget below the agent's; result and cost are those of all its calls."""
    with composing() as beats:
        task = beats.add(work=CompositionWork(graph=GRAPH, input="once", budget="0.50"))
        beats.cycle()
        done = beats.board.get(task.id)
        assert done.status is TaskStatus.COMPLETED
        assert done.result is not None
        assert done.result["output"] == done.result["response_text"] == "ok"
        assert done.result["cost"] == {"input_tokens": 200, "output_tokens": 2000}
        (attempt,) = beats.board.attempts(task.id)
        assert attempt.budget == f"c8/cloud-lu/run-{done.result['run_id']}"
        assert beats.cost(task) == beats.spent == Money("0.20")
        assert (attempt.input_tokens, attempt.output_tokens) == (200, 2000)


def test_a_composition_that_its_own_budget_refuses_fails() -> None:
    """Half-way through its budget it is refused: for good, and what it cost is booked."""
    with composing() as beats:
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.15"))
        beats.cycle()
        assert beats.status(task) is TaskStatus.FAILED
        assert beats.cost(task) == Money("0.10")


def test_a_composition_with_an_unknown_call_is_unknown() -> None:
    """A run that broke off with a lost reply is for a person, like a call that did."""
    with composing() as beats:
        beats.provider.play(HalfStream())
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
        beats.cycle()
        assert beats.status(task) is TaskStatus.UNKNOWN
        assert beats.cost(task) == Money("0.10")


def test_a_composition_that_names_no_known_stage_fails(beats: BeatHouse) -> None:
    """What was never sent costs nothing and fails for good."""
    task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
    beats.cycle()
    assert (beats.status(task), beats.spent) == (TaskStatus.FAILED, Money())
    with pytest.raises(NotFound):
        beats.ledger.balances("c8/cloud-lu/run-0")


@pytest.mark.parametrize("is_known", [False, True])
def test_a_task_calls_only_addresses_of_the_configuration(is_known: bool) -> None:  # noqa: FBT001
    """Who may add a task does not choose where the heartbeat's host posts to, however deep."""
    with StubServer() as remote:
        remote.play(Scene(body=b'{"ok": true, "data": {"output": "done"}}'))
        configured = remote.url if is_known else f"{remote.url}/another"
        call = {
            "op": "RemoteStage",
            "url": remote.url,
            "input": {"kind": "Any"},
            "output": {"kind": "Any"},
            "cost": {"usd": "0.01"},
        }
        root = {"op": "Retry", "stage": call, "max_attempts": 2}
        with BeatHouse(house={"stages": (remote_stage("r", configured, cost="0.01"),)}) as beats:
            task = beats.add(work=CompositionWork(graph=graph(root), input="x", budget="0.50"))
            beats.cycle()
            expected = TaskStatus.COMPLETED if is_known else TaskStatus.FAILED
            assert (beats.status(task), len(remote.requests)) == (expected, int(is_known))


def test_a_composition_that_takes_too_long_is_unknown() -> None:
    """It is cancelled at the task's time-out, and what it held is presumed spent."""
    with composing() as beats:
        beats.provider.play(answer(10, after=700))
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
        beats.when_sent(lambda: beats.clock.advance(timedelta(seconds=600)))
        beats.cycle()
        assert (beats.status(task), beats.cost(task)) == (TaskStatus.UNKNOWN, Money("0.10"))


def test_all_calls_of_a_composition_share_its_time() -> None:
    """Each in time and all together too late: the one under way is cut off, and presumed spent."""
    with composing() as beats:
        beats.provider.play(answer(5, after=400))
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
        for seconds in (400, 200):
            beats.when_sent(lambda by=seconds: beats.clock.advance(timedelta(seconds=by)))
        beats.cycle()
        assert (beats.status(task), beats.cost(task)) == (TaskStatus.UNKNOWN, Money("0.15"))
        assert beats.board.get(task.id).error == "no end within 600 s"


# Stopped in the middle ----------------------------------------------------------------------------


def kill(beats: BeatHouse) -> None:
    """Let a sibling stop the agent."""
    beats.kill_switch(enabled=False)


def pause(beats: BeatHouse) -> None:
    """Let a person stop the spending."""
    beats.ledger.pause("c8/cloud-lu", actor="ann")


@pytest.mark.parametrize(("stop", "state"), [(kill, "killed"), (pause, "paused")])
def test_a_control_is_read_before_each_call_of_a_composition(
    stop: Callable[[BeatHouse], None], state: str
) -> None:
    """Stopped in its middle a run sends nothing more; what it cost counts, as does the try."""
    with composing() as beats:
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
        beats.when_sent(lambda: stop(beats))
        report = beats.cycle()
        assert (report.state, [each.outcome for each in report.dispatched]) == (state, ["retried"])
        stopped = beats.board.get(task.id)
        assert (stopped.status, stopped.attempts) == (TaskStatus.PENDING, 1)
        assert report.reason == stopped.error
        assert len(beats.provider.sent) == 1
        assert beats.cost(task) == beats.spent == Money("0.10")
        assert beats.held == Money()
        beats.kill_switch(enabled=True)
        beats.ledger.resume("c8/cloud-lu")
        beats.cycle(after=timedelta(minutes=30))
        assert (beats.status(task), beats.cost(task)) == (TaskStatus.COMPLETED, Money("0.30"))


def test_stopped_before_its_first_call_a_composition_has_not_tried() -> None:
    """The switch of a run that has held and not sent: nothing is spent, and no try is used up."""
    with composing() as beats:
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
        on_look(beats, 2, lambda: kill(beats))
        assert beats.cycle().state == "killed"
        stopped = beats.board.get(task.id)
        assert (stopped.status, stopped.attempts) == (TaskStatus.PENDING, 0)
        assert (beats.provider.sent, beats.spent, beats.held) == ([], Money(), Money())


def test_a_destructive_composition_that_was_stopped_is_not_begun_again() -> None:
    """Half of it is done: a person decides."""
    with composing() as beats:
        work = CompositionWork(graph=GRAPH, input="x", budget="0.50")
        task = beats.add(work=work, destructive=True)
        beats.board.decide(task.id, "approve", actor="ann")
        beats.when_sent(lambda: kill(beats))
        assert beats.cycle().state == "killed"
        stopped = beats.board.get(task.id)
        assert stopped.status is TaskStatus.FAILED
        assert "kill switch" in stopped.error


def test_a_retry_does_not_repeat_what_was_stopped() -> None:
    """It is no failure of the stage: a composition that tries three times ends at once."""
    root = {"op": "Retry", "stage": TWICE, "max_attempts": 3, "delay_ms": 1000}
    with composing() as beats:
        work = CompositionWork(graph=graph(root), input="x", budget="0.50")
        task = beats.add(work=work)
        beats.when_sent(lambda: kill(beats))
        assert beats.cycle().state == "killed"
        assert (len(beats.provider.sent), beats.status(task)) == (1, TaskStatus.PENDING)


def test_what_runs_beside_a_stopped_call_settles() -> None:
    """The call that is not sent waits for those that were: each is booked at its true cost."""
    # Whichever is sent first takes its time; the other one comes to its second call meanwhile.
    root = {"op": "Parallel", "branches": {"one": TWICE, "other": TWICE}}
    with composing() as beats:
        beats.provider.play(answer(7, after=60), answer(3))
        work = CompositionWork(graph=graph(root), input="x", budget="0.50")
        task = beats.add(work=work)
        # Both are under way when the switch is set.
        beats.when_sent(lambda: None)
        beats.when_sent(lambda: kill(beats))
        looked = asyncio.Event()
        on_look(beats, 4, looked.set)

        async def script() -> None:
            cycle = asyncio.ensure_future(beats.beat.cycle())
            async with asyncio.timeout(LAST_RESORT_S):
                while not looked.is_set():
                    await asyncio.to_thread(lambda: None)
            for _ in range(10):
                await asyncio.to_thread(lambda: None)
            assert not cycle.done()
            beats.clock.advance(timedelta(seconds=60))
            assert (await cycle).state == "killed"

        beats.start().run(script())
        assert len(beats.provider.sent) == 2
        assert {hold.state for hold in beats.holds()} == {"released", "settled"}
        assert (beats.cost(task), beats.held) == (Money("0.10"), Money())
        assert beats.status(task) is TaskStatus.PENDING


def test_a_run_whose_task_was_taken_back_sends_nothing_more() -> None:
    """Another heartbeat may be at it by now: each call asks whether the task is still its own."""
    with composing() as beats:
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))

        def lose() -> None:
            over = "UPDATE {schema}.task SET lease_until = 1"
            beats.workspace.tables.write("board", lambda rows: rows.run(over))
            recover(beats.workspace, agent="VS Lu")

        beats.when_sent(lose)
        report = beats.cycle()
        # Its own again in the same cycle, it runs once from its beginning.
        assert [each.outcome for each in report.dispatched] == ["lost", "completed"]
        assert (len(beats.provider.sent), beats.cost(task)) == (3, Money("0.30"))


def test_what_was_begun_goes_on_into_the_quiet_hours() -> None:
    """Nothing is dispatched in them; a run that was begun before them ends."""
    with composing(quiet_hours="12:01-14:00") as beats:
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
        beats.when_sent(lambda: beats.clock.advance(timedelta(minutes=1)))
        beats.cycle()
        assert beats.status(task) is TaskStatus.COMPLETED
        later = beats.add()
        assert beats.cycle().state == "quiet"
        assert beats.status(later) is TaskStatus.PENDING


def on_look(beats: BeatHouse, number: int, do: Callable[[], object]) -> None:
    """Do this when the kill switch is read for so many times, counted from 0."""
    named, looks = beats.workspace.quilt.named, iter(range(99))

    def late(name: str) -> list[Patch]:
        if next(looks) == number:
            do()
        return named(name)

    beats.workspace.quilt.named = late  # type: ignore[method-assign]
