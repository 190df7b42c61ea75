"""What the Noether composition format promises of budgets: its tests and what follows from them.

The first six are the tests of its budgeted executor, in cents and under their own names.
"""

from typing import Any

from earmark.composition.ast import (
    Branch,
    Composition,
    Const,
    RemoteStage,
    Retry,
    Sequential,
    Stage,
)
from earmark.composition.effects import PURE, CostEffect, EffectSet, Llm
from earmark.composition.plan import plan
from earmark.composition.types import ANY
from earmark.errors import BudgetExceeded, CheckFailed, StageFailed
from earmark.money import Money
from earmark.runs.statement import RunStatus
from earmark.stages.kinds.python import PythonStage, stage
from earmark.stages.library import Declared, StageLibrary
from earmark.stages.stage import StageSpec


def cents(count: int) -> str:
    """Return an amount of cents as dollars."""
    return str(Money.nanos(count * 10_000_000))


def costly(name: str, price: int) -> PythonStage:
    """Return a stage that costs so many cents and gives its name."""

    async def answer(_: Any) -> Any:
        return name

    return stage(name=name, cost=cents(price), effects=[Llm("gpt")])(answer)


def costs(*specs: StageSpec) -> dict[str, Money | None]:
    """Return what each stage costs in a plan of all of them."""
    root = Sequential(tuple(Stage(spec.name) for spec in specs))
    library = StageLibrary(map(Declared, specs))
    planned = plan(Composition(description="", root=root), library)
    return {line.stage: line.max for line in planned.lines}


def spec(name: str, *effects: Any) -> StageSpec:
    """Return a stage that is only declared."""
    return StageSpec(name=name, effects=EffectSet(effects), implementation_hash=f"impl_{name}")


def test_no_cost_stages_pass_through(house: Any) -> None:
    """A free stage runs on a budget of 0, and nothing is spent."""

    @stage
    async def a(_: Any) -> Any:
        return 1

    statement = house.run(Stage("a"), budget=cents(0), stages=[a])
    assert (statement.output, statement.spent) == (1, Money())


def test_within_budget_executes_and_tracks_cost(house: Any) -> None:
    """A stage of 10 runs on a budget of 100, and 10 are spent."""
    statement = house.run(Stage("llm"), budget=cents(100), stages=[costly("llm", 10)])
    assert (statement.output, statement.spent) == ("llm", Money(cents(10)))


def test_over_budget_returns_error_and_rolls_back(house: Any) -> None:
    """A stage of 50 is refused on a budget of 49; nothing is spent or held."""
    root = Stage("expensive")
    error, statement = house.fail(
        BudgetExceeded, root, budget=cents(49), stages=[costly("expensive", 50)]
    )
    assert (error.settled, error.limit) == (Money(), Money(cents(49)))
    assert statement.spent == statement.held == house.spent == house.held == Money()


def test_second_stage_pushes_over_budget(house: Any) -> None:
    """After 60 of 100 are spent a stage of 50 is refused; 60 stay spent."""
    a, b = costly("a", 60), costly("b", 50)
    # The plan would refuse it beforehand; a predicate known only at run lets it begin.
    gate = stage(name="gate")(lambda _: True)
    arm = Sequential((Stage("a"), Stage("b")))
    root = Branch(predicate=Stage("gate"), if_true=arm, if_false=Const(0))
    error, statement = house.fail(BudgetExceeded, root, budget=cents(100), stages=[a, b, gate])
    assert (error.settled, error.limit) == (Money(cents(60)), Money(cents(100)))
    assert (error.requested, error.available) == (Money(cents(50)), Money(cents(40)))
    assert statement.spent == Money(cents(60))
    house.check(statement)


def test_build_cost_map_extracts_costs_from_store() -> None:
    """The plan knows what each stage declares to cost."""
    s1 = spec("s1", CostEffect(Money(cents(25))), Llm("gpt"))
    s2 = spec("s2", CostEffect(Money(cents(75))), Llm("gpt"))
    assert costs(s1, s2) == {"s1": Money(cents(25)), "s2": Money(cents(75))}


def test_build_cost_map_ignores_free_stages() -> None:
    """A stage without a cost is free in the plan."""
    assert costs(spec("free", PURE)) == {"free": Money()}


def test_equality_with_the_budget_is_admitted(house: Any) -> None:
    """A stage that costs exactly what is left runs."""
    root = Sequential((Stage("a"), Stage("b")))
    stages = [costly("a", 60), costly("b", 40)]
    assert house.run(root, budget=cents(100), stages=stages).spent == Money(cents(100))


def test_free_stage_runs_on_an_exhausted_budget(house: Any) -> None:
    """When everything is spent, what costs nothing still runs."""
    free = stage(name="free")(lambda _: "free")
    root = Sequential((Stage("a"), Stage("free")))
    statement = house.run(root, budget=cents(10), stages=[costly("a", 10), free])
    assert (statement.output, statement.spent) == ("free", Money(cents(10)))


def test_each_attempt_is_charged_and_none_is_given_back(house: Any) -> None:
    """Three failed attempts of 7 cost 21."""

    @stage(cost=cents(7))
    async def fails(_: Any) -> Any:
        raise ValueError("no")

    _, statement = house.fail(StageFailed, Retry(Stage("fails"), 3), stages=[fails])
    assert statement.spent == Money(cents(21))


def test_refused_stage_never_runs(house: Any) -> None:
    """What is refused was not called."""
    calls: list[int] = []
    gate = stage(name="gate")(lambda _: True)

    @stage(cost=cents(50))
    async def dear(_: Any) -> Any:
        calls.append(1)

    root = Branch(predicate=Stage("gate"), if_true=Stage("dear"), if_false=Const(0))
    house.fail(BudgetExceeded, root, budget=cents(49), stages=[dear, gate])
    assert calls == []


def test_arm_not_taken_costs_nothing_but_is_planned(house: Any) -> None:
    """An arm counts in the plan and costs only where it runs."""
    gate = stage(name="gate")(lambda _: False)
    root = Branch(predicate=Stage("gate"), if_true=Stage("a"), if_false=Stage("b"))
    statement = house.run(root, budget=cents(60), stages=[gate, costly("a", 60), costly("b", 5)])
    assert statement.spent == Money(cents(5))
    planned = house.events[0].plan
    assert (planned.min, planned.max) == (Money(), Money(cents(60)))
    assert planned.hold == Money(cents(5))


def test_constant_costs_nothing(house: Any) -> None:
    """A constant needs no budget and leaves no line."""
    statement = house.run(Const({"a": 1}), budget=cents(0))
    assert (statement.output, statement.lines, statement.status) == ({"a": 1}, (), RunStatus.OK)


def test_refusal_carries_what_was_spent_before_it(house: Any) -> None:
    """The error says what was spent, the limit, what was asked for and what was left."""
    gate = stage(name="gate")(lambda _: True)
    arm = Sequential((Stage("a"), Stage("b")))
    root = Branch(predicate=Stage("gate"), if_true=arm, if_false=Const(0))
    stages = [gate, costly("a", 30), costly("b", 30)]
    error, statement = house.fail(BudgetExceeded, root, budget=cents(50), stages=stages)
    assert error.settled == Money(cents(30)) == error.statement.spent
    assert statement.lines[-1].path == "/if_true/stages/1"


def test_remote_stage_without_a_price_is_refused(house: Any) -> None:
    """A remote stage costs money somewhere: without a declared cost it does not run."""
    root = RemoteStage("http://127.0.0.1:1/", input=ANY, output=ANY)
    error, _ = house.fail(CheckFailed, root)
    assert "no price" in str(error)
