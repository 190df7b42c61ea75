"""Tasks that are compositions: a run below the agent's budget, with a budget of its own."""

from datetime import timedelta

import pytest

from earmark.board.task import CompositionWork, Status
from earmark.errors import NotFound
from earmark.money import Money
from earmark.stages.kinds.model import model_stage
from earmark.testing import HalfStream
from support.beat_house import MODEL, BeatHouse, answer

GRAPH = {
    "description": "a test",
    "version": "0.1.0",
    "root": {"op": "Sequential", "stages": [{"op": "Stage", "id": "draft"}] * 2},
}


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
        assert done.status is Status.COMPLETED
        assert done.result is not None
        assert done.result["output"] == done.result["response_text"] == "ok"
        assert done.result["cost"] == {
            "input_tokens": 200,
            "output_tokens": 2000,
            "estimated_usd": 0.2,
        }
        (attempt,) = beats.board.attempts(task.id)
        assert attempt.budget == f"c8/cloud-lu/run-{done.result['run_id']}"
        assert beats.cost(task) == beats.spent == Money("0.20")
        assert (attempt.input_tokens, attempt.output_tokens) == (200, 2000)


def test_a_composition_that_its_own_budget_refuses_fails() -> None:
    """Half-way through its budget it is refused: for good, and what it cost is booked."""
    with composing() as beats:
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.15"))
        beats.cycle()
        assert beats.status(task) is Status.FAILED
        assert beats.cost(task) == Money("0.10")


def test_a_composition_with_an_unknown_call_is_unknown() -> None:
    """A run that broke off with a lost reply is for a person, like a call that did."""
    with composing() as beats:
        beats.provider.play(HalfStream())
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
        beats.cycle()
        assert beats.status(task) is Status.UNKNOWN
        assert beats.cost(task) == Money("0.10")


def test_a_composition_that_names_no_known_stage_fails(beats: BeatHouse) -> None:
    """What was never sent costs nothing and fails for good."""
    task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
    beats.cycle()
    assert (beats.status(task), beats.spent) == (Status.FAILED, Money())
    with pytest.raises(NotFound):
        beats.ledger.balances("c8/cloud-lu/run-0")


def test_a_composition_that_takes_too_long_is_unknown() -> None:
    """It is cancelled at the task's time-out, and what it held is presumed spent."""
    with composing() as beats:
        beats.provider.play(answer(10, after=700))
        task = beats.add(work=CompositionWork(graph=GRAPH, input="x", budget="0.50"))
        beats.when_sent(lambda: beats.clock.advance(timedelta(seconds=600)))
        beats.cycle()
        assert (beats.status(task), beats.cost(task)) == (Status.UNKNOWN, Money("0.10"))
