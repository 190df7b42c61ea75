"""Each operator of a composition gives its parts the right input and makes the right output."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from earmark.composition.ast import (
    Branch,
    Const,
    Fanout,
    Let,
    Merge,
    Node,
    Parallel,
    Retry,
    Sequential,
    Stage,
)
from earmark.errors import StageFailed
from earmark.stages.kinds.python import stage


@stage
async def same(value: Any) -> Any:
    """Give back what it was given."""
    return value


@stage
async def double(value: Any) -> Any:
    """Twice the number."""
    return value * 2


@stage
async def positive(value: Any) -> Any:
    """Whether the number is above 0."""
    return value > 0


SAME, DOUBLE, POSITIVE = Stage("same"), Stage("double"), Stage("positive")
STAGES = [same, double, positive]


@pytest.mark.parametrize(
    ("root", "given", "expected"),
    [
        pytest.param(SAME, {"a": 1}, {"a": 1}, id="a stage gets the input"),
        pytest.param(Const([1, None]), "x", [1, None], id="a constant ignores the input"),
        pytest.param(Sequential((DOUBLE, DOUBLE)), 3, 12, id="a sequence feeds on"),
        pytest.param(
            Parallel({"b": SAME, "a": SAME}), {"a": 1, "b": 2}, {"a": 1, "b": 2}, id="by name"
        ),
        pytest.param(Parallel({"a": SAME}), {"a": None, "z": 1}, {"a": None}, id="a null by name"),
        pytest.param(Parallel({"c": SAME}), {"a": 1}, {"c": {"a": 1}}, id="no such name: all"),
        pytest.param(Parallel({"a": SAME, "b": DOUBLE}), 4, {"a": 4, "b": 8}, id="no object: all"),
        pytest.param(
            Branch(predicate=POSITIVE, if_true=DOUBLE, if_false=SAME), 5, 10, id="the true arm"
        ),
        pytest.param(
            Branch(predicate=POSITIVE, if_true=DOUBLE, if_false=SAME), -5, -5, id="the false arm"
        ),
        pytest.param(Fanout(DOUBLE, (SAME, DOUBLE)), 3, [6, 12], id="a fan-out of the source"),
        pytest.param(
            Merge((SAME, SAME), SAME),
            {"source_0": 1},
            {"source_0": 1, "source_1": None},
            id="a merge routes by source",
        ),
        pytest.param(
            Merge((SAME, DOUBLE), SAME), 3, {"source_0": 3, "source_1": 6}, id="a merge of all"
        ),
        pytest.param(
            Let({"x": Const(1), "y": Const(2)}, SAME),
            {"x": 0, "z": 3},
            {"x": 1, "y": 2, "z": 3},
            id="a binding shadows the input",
        ),
        pytest.param(Let({"x": SAME}, SAME), 7, {"x": 7}, id="a bare input is dropped by let"),
        pytest.param(Retry(DOUBLE, 3), 3, 6, id="a retry that succeeds at once"),
        pytest.param(
            Stage("same", config={"a": 2, "b": 3}), {"a": 1}, {"a": 2, "b": 3}, id="config wins"
        ),
        pytest.param(
            Stage("same", config={"items": 1}),
            "x",
            {"items": 1, "text": "x"},
            id="a bare input goes under the first usual field that is free",
        ),
        pytest.param(Stage("same", config={}), None, {"items": None}, id="an empty config counts"),
    ],
)
def test_operators(house: Any, root: Node, given: Any, expected: Any) -> None:
    """Every operator routes and combines values as the format says."""
    statement = house.run(root, given, stages=STAGES)
    assert statement.output == expected
    house.check(statement)


def test_bare_input_goes_under_the_missing_field_of_the_type(house: Any) -> None:
    """Where the stage's type names the field that config leaves open, the input goes there."""

    @stage(input={"Record": [["question", "Text"], ["tone", "Text"]]})
    async def ask(value: Any) -> Any:
        return value

    root = Stage("ask", config={"tone": "dry"})
    statement = house.run(root, "why?", stages=[ask])
    assert statement.output == {"question": "why?", "tone": "dry"}


@pytest.mark.parametrize("answer", [1, 0, None, "true", {}])
def test_predicate_that_is_no_bool_fails(house: Any, answer: Any) -> None:
    """A predicate that answers neither true nor false ends the run; it is not taken for false."""

    @stage
    async def odd(_: Any) -> Any:
        return answer

    root = Branch(predicate=Stage("odd"), if_true=SAME, if_false=SAME)
    error, statement = house.fail(StageFailed, root, stages=[*STAGES, odd])
    assert error.path == "/predicate"
    assert "true or false" in error.detail
    assert [line.stage for line in statement.lines] == ["odd"]


def test_arm_not_taken_does_not_run(house: Any) -> None:
    """Of a branch only the chosen arm runs and costs."""

    @stage(cost="0.90")
    async def dear(_: Any) -> Any:
        return "dear"

    root = Branch(predicate=Const(value=False), if_true=Stage("dear"), if_false=SAME)
    statement = house.run(root, 1, stages=[*STAGES, dear], budget="0.10")
    assert statement.output == 1
    assert str(statement.spent) == "0"


@pytest.mark.parametrize(
    "shape",
    [
        lambda parts: Parallel({str(i): part for i, part in enumerate(parts)}),
        lambda parts: Fanout(Const(0), tuple(parts)),
        lambda parts: Merge(tuple(parts), Const(0)),
        lambda parts: Let({str(i): part for i, part in enumerate(parts)}, Const(0)),
    ],
    ids=["Parallel", "Fanout", "Merge", "Let"],
)
def test_parts_run_at_once(house: Any, gate: Callable[[int], Any], shape: Any) -> None:
    """Branches, targets, sources and bindings run concurrently, all of them."""

    async def main() -> Any:
        door = gate(8)

        @stage
        async def meet(value: Any) -> Any:
            await door.pass_through()
            return value

        await house.run_async(shape([Stage("meet")] * 8), stages=[meet], concurrency=8)
        return door.most

    assert asyncio.run(main()) == 8


def test_concurrency_limit_counts_running_stages_however_they_nest(
    house: Any, gate: Callable[[int], Any]
) -> None:
    """At most so many stages run at once, and nesting deeper than the limit does not deadlock."""

    async def main() -> Any:
        door = gate(3)

        @stage
        async def meet(value: Any) -> Any:
            await door.pass_through()
            return value

        inner = Parallel({str(i): Stage("meet") for i in range(4)})
        nested: Node = inner
        for _ in range(6):
            nested = Fanout(Const(0), (nested, inner))
        await house.run_async(nested, stages=[meet], concurrency=3)
        return door.most

    assert asyncio.run(main()) == 3


def test_nesting_up_to_the_limit_runs(house: Any) -> None:
    """A composition nested 128 nodes deep, the most there may be, runs."""
    root: Node = SAME
    for _ in range(127):
        root = Parallel({"x": root})
    statement = house.run(root, 1, stages=STAGES)
    assert len(statement.lines) == 1
    assert statement.lines[0].path == "/branches/x" * 127
