"""A run's statement says what the ledger says, whatever the run did and however it was paid."""

import asyncio
import json
import random
from typing import Any

import pytest

from earmark.composition.ast import Const, Fanout, Let, Merge, Parallel, Retry, Sequential, Stage
from earmark.errors import EarmarkError, InvalidUsage
from earmark.money import Money
from earmark.runs.events import RunEnded, RunStarted, StageEnded, StageStarted
from earmark.runs.statement import RunStatus, Statement
from earmark.runs.statement_line import LineOutcome
from earmark.stages.kinds.model import model_stage
from earmark.stages.kinds.python import Costed, stage
from earmark.testing.scripted import Answer, Failure, ScriptedProvider, Unmetered


@stage(cost="0.05", effects=["Pure"])
async def pure(value: Any) -> Any:
    """Cost the same for the same input."""
    return [value]


PURE = Stage("pure")


@pytest.mark.parametrize(
    "root",
    [
        Sequential((Parallel({"a": PURE, "b": PURE}), PURE)),
        Fanout(Const(1), (PURE,) * 20),
        Merge((PURE, PURE), PURE),
        Let({"a": PURE, "b": PURE}, Const(0)),
        Parallel({"x": Parallel({"y": PURE}), "z": PURE}),
    ],
    ids=["Sequential", "Fanout", "Merge", "Let", "nested"],
)
def test_equal_work_on_equal_input_is_paid_once(house: Any, root: Any) -> None:
    """A pure stage runs once for each input in a run, wherever in the graph; hits cost nothing."""
    statement = house.run(root, 1, stages=[pure])
    ran = [line for line in statement.lines if line.outcome is LineOutcome.OK]
    hits = [line for line in statement.lines if line.outcome is LineOutcome.CACHED]
    inputs = 2 if isinstance(root, Sequential | Merge) else 1
    assert len(ran) == inputs
    assert hits
    assert statement.spent == Money.nanos(inputs * 50_000_000)
    assert all(line.settled == Money() and not line.key for line in hits)
    house.check(statement)


def test_cache_is_of_one_run(house: Any) -> None:
    """Another run pays again."""
    first, second = (house.run(PURE, 1, stages=[pure]) for _ in range(2))
    assert first.spent == second.spent == Money("0.05")


def test_failed_work_is_not_remembered(house: Any) -> None:
    """A pure stage that failed is tried again by a retry, and only its success is kept."""
    answers = iter([ValueError("no"), "yes"])

    @stage(cost="0.01", effects=["Pure"])
    async def flaky(_: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    root = Sequential((Retry(Stage("flaky"), 3), Const(None), Stage("flaky")))
    statement = house.run(root, None, stages=[flaky])
    assert [str(line.outcome) for line in statement.lines] == ["failed", "ok", "cached"]
    house.check(statement)


def test_one_hold_is_on_the_run_and_everything_above(make_house: Any) -> None:
    """A run is a child budget: what it spends counts on each budget above it."""
    house = make_house("1 usd per day")
    house.books.set_budget("acme/team", limits=["0.50 usd total"])
    statement = house.run(PURE, 1, stages=[pure], budget="0.20")
    assert statement.budget == f"acme/run-{statement.run_id}"
    assert [each.path for each in house.books.budgets(kind="run")] == [statement.budget]
    assert house.spent == Money("0.05")
    (balance,) = house.books.balances(statement.budget)
    assert (balance.limit, balance.settled) == (Money("0.20"), Money("0.05"))


def test_model_calls_are_itemised(house: Any) -> None:
    """A line of a model call shows usage, model, pinned price and what it cost."""
    provider = ScriptedProvider([Answer(text="Hello"), Unmetered(text="World")])
    ask = model_stage("ask", "scripted/m", "Say {text}.", max_tokens=100)
    root = Sequential((Stage("ask"), Stage("ask")))
    statement = house.run(root, "hi", stages=[ask], providers={"scripted": provider})
    assert statement.output == "World"
    first, second = statement.lines
    assert first.usage is not None
    assert (first.usage.tokens, first.model, first.settled) == (15, "m", Money("0.00002"))
    assert first.price is not None
    assert first.price.name == "scripted/m"
    assert second.presumed
    assert second.settled == second.hold > Money()
    assert second.note == "no usage in the reply"
    assert provider.sent[1].request.messages == [{"role": "user", "content": "Say Hello."}]
    house.check(statement)


def test_failed_model_call_that_was_not_billed_costs_nothing(house: Any) -> None:
    """A call the provider turned away is released, and its retry is paid on its own."""
    provider = ScriptedProvider([Failure(billed="no"), Answer(text="fine")])
    ask = model_stage("ask", "scripted/m", "Say hi.", max_tokens=10)
    statement = house.run(
        Retry(Stage("ask"), 2), None, stages=[ask], providers={"scripted": provider}
    )
    assert [line.state for line in statement.lines] == ["released", "settled"]
    assert statement.spent == Money("0.00002")
    house.check(statement)


def test_statement_survives_json(house: Any) -> None:
    """A statement written as JSON and read again is the same statement."""
    provider = ScriptedProvider()
    ask = model_stage("ask", "scripted/m", "Say {text}.", max_tokens=100)
    statement = house.run(
        Sequential((Stage("ask"), PURE)), "x", stages=[ask, pure], providers={"scripted": provider}
    )
    text = json.dumps(statement.to_json())
    assert Statement.from_json(json.loads(text)) == statement
    _, refused = house.fail(EarmarkError, PURE, 1, stages=[pure], budget="0.01")
    assert Statement.from_json(json.loads(json.dumps(refused.to_json()))) == refused


def test_table_shows_each_attempt_and_the_totals(house: Any) -> None:
    """The statement for people has a line for each attempt and ends with what was spent."""
    statement = house.run(Fanout(Const(1), (PURE, PURE)), stages=[pure])
    lines = statement.table().splitlines()
    assert lines[0].split() == [
        "stage", "path", "try", "outcome", "hold", "settled", "tokens", "time"
    ]  # fmt: skip
    assert lines[1].split()[:6] == ["pure", "/targets/0", "1", "ok", "0.05", "0.05"]
    assert lines[2].split()[:4] == ["pure", "/targets/1", "1", "cached"]
    assert lines[-1] == f"spent 0.05 of 1 USD on 'acme/run-{statement.run_id}'"


def test_events_tell_the_story_in_order(house: Any) -> None:
    """Whoever listens hears the start, each attempt and its cost, and the end."""
    statement = house.run(Sequential((PURE, PURE)), 1, stages=[pure])
    kinds = [type(event) for event in house.events]
    assert kinds == [RunStarted, *[StageStarted, StageEnded] * 2, RunEnded]
    assert house.events[0].plan.max == Money("0.10")
    ended = [event for event in house.events if isinstance(event, StageEnded)]
    assert [event.spent for event in ended] == [Money("0.05"), Money("0.10")]
    assert house.events[-1].statement is statement


def test_money_spent_beside_the_stages_is_reported_loudly(house: Any, caplog: Any) -> None:
    """When the ledger knows of more than the lines, the statement says by how much."""

    @stage
    def spends_by_itself(_: Any) -> Any:
        (run,) = [b.path for b in house.books.budgets("acme") if "/run-" in b.path]
        house.books.settle(house.books.reserve(run, "0.20").key, "0.12")

    statement = house.run(Stage("spends_by_itself"), stages=[spends_by_itself])
    assert statement.unaccounted == Money("0.12")
    assert statement.spent == Money("0.12")
    assert "0.12" in caplog.text
    assert "no line explains" in statement.table()


def test_random_runs_agree_with_the_ledger(make_house: Any) -> None:
    """Whatever a run does, its lines add up to the ledger's balances and no limit is passed."""
    for seed in range(40):
        chance = random.Random(seed)
        house = make_house("5 usd total")

        @stage(cost="0.10")
        async def any_end(value: Any, chance: random.Random = chance) -> Any:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            match chance.randrange(6):
                case 0:
                    raise ValueError("no")
                case 1:
                    return Costed(value, "0.03")
                case _:
                    return value

        any_stage = Stage("any_end")
        roots = [
            Parallel({str(i): Retry(any_stage, 2) for i in range(5)}),
            Retry(Fanout(any_stage, (any_stage,) * 4), 3),
            Sequential((Retry(any_stage, 4), Merge((any_stage,) * 3, any_stage))),
        ]
        root = roots[chance.randrange(3)]
        budget = chance.choice(["0.60", "1", "3"])
        try:
            statement = house.run(root, 1, stages=[any_end], budget=budget)
        except EarmarkError as error:
            statement = error.statement
        assert statement.status in {RunStatus.OK, RunStatus.FAILED, RunStatus.REFUSED}
        assert statement.spent <= Money(budget)
        house.check(statement)


def test_a_budget_of_somebody_is_not_made_a_runs(make_house: Any) -> None:
    """A run whose path has a budget already is refused before a call; its limits and holds stay."""
    house = make_house("1 usd per day")
    own = house.books.set_budget("acme/run-7", limits=["0.10 usd per day"])
    held = house.books.reserve("acme/run-7", "0.10")
    with pytest.raises(InvalidUsage, match=r"'acme/run-7' is of kind 'budget'.* another run_id"):
        house.run(PURE, 1, stages=[pure], budget="0.20", run_id="7")
    assert house.books.budgets("acme/run-7") == [own]
    (balance,) = house.books.balances("acme/run-7")
    assert (balance.limit, balance.held, balance.settled) == (held.amount, held.amount, Money())
