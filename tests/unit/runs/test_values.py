"""What passes from stage to stage: JSON of the declared types, each stage's own, mended text."""

import json
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from earmark.composition.ast import Const, Node, Parallel, Retry, Sequential, Stage
from earmark.composition.types import NUMBER, Range, Refined
from earmark.errors import InvalidConfig, StageFailed
from earmark.money import Money
from earmark.runs.statement_line import LineOutcome, StatementLine
from earmark.stages.kinds.jsontext import validated_json
from earmark.stages.kinds.model import model_stage
from earmark.stages.kinds.process import process_stage
from earmark.stages.kinds.python import stage
from earmark.testing.scripted import Answer, Failure, ScriptedProvider

HALF: Final = "cut \ud83d"
MENDED: Final = "cut �"
PERCENT: Final = Refined(NUMBER, Range(0, 100))


@stage(cost="0.05", output=PERCENT)
async def grade(value: Any) -> Any:
    """Give what it gets, also what is no percentage."""
    return value


@stage(input=PERCENT)
async def read(value: Any) -> Any:
    """Take a percentage."""
    return value


def only(lines: tuple[StatementLine, ...], path: str) -> StatementLine:
    """Return the one line of a place."""
    (found,) = (line for line in lines if line.path == path)
    return found


# Types --------------------------------------------------------------------------------------------


def test_an_output_of_another_type_is_a_failed_and_billed_stage(house: Any) -> None:
    """It does not reach the next stage; what it cost is booked, and its line says what is wrong."""
    error, statement = house.fail(
        StageFailed, Sequential((Stage("grade"), Stage("read"))), 999, stages=[grade, read]
    )
    assert "999" in error.detail
    (line,) = statement.lines
    assert (line.path, line.outcome, line.settled) == (
        "/stages/0",
        LineOutcome.FAILED,
        Money("0.05"),
    )
    house.check(statement)


def test_an_output_of_another_type_may_be_tried_again(house: Any) -> None:
    """A stage that gives the right type at last succeeds; every attempt is paid."""
    answers = iter([999, "x", 7])

    @stage(cost="0.05", output=PERCENT)
    async def improve(_: Any) -> Any:
        return next(answers)

    statement = house.run(Retry(Stage("improve"), 5), None, stages=[improve])
    assert (statement.output, statement.spent) == (7, Money("0.15"))
    house.check(statement)


@pytest.mark.parametrize("value", [999, "7", None, [7], True])
def test_an_input_of_another_type_costs_nothing(house: Any, value: Any) -> None:
    """What an untyped stage hands on is looked at before the next one is asked or paid."""

    @stage(input=PERCENT, cost="0.05")
    async def costly(value: Any) -> Any:
        return value

    @stage
    async def untyped(_: Any) -> Any:
        return value

    root = Retry(Sequential((Stage("untyped"), Stage("costly"))), 3)
    error, statement = house.fail(StageFailed, root, stages=[untyped, costly])
    assert error.path == "/stage/stages/1"
    assert not error.retryable
    assert statement.spent == Money()
    assert house.books.holds(state=None) == []


def test_a_models_answer_of_another_type_is_paid(house: Any) -> None:
    """A reply whose cost is known settles to it, also where its text is no answer."""
    odd: Any = {"not": "text"}
    provider = ScriptedProvider([Answer(text=odd)])
    asked = model_stage("asked", "scripted/m", "{text}", max_tokens=10)
    _, statement = house.fail(
        StageFailed, Stage("asked"), {"text": "a"}, stages=[asked], providers={"scripted": provider}
    )
    (line,) = statement.lines
    assert line.state == "settled"
    assert line.settled > Money()
    house.check(statement)


# Own values ---------------------------------------------------------------------------------------


@stage
def scribble(value: Any) -> Any:
    """Write into its input."""
    value["seen"] = True
    value["list"].append(1)
    return value


@stage
def hand_on(value: Any) -> Any:
    """Give its input itself."""
    return value


@pytest.mark.parametrize("first", [Stage("hand_on"), Const({"list": []})], ids=["input", "Const"])
def test_no_stage_sees_what_another_writes_into_its_input(house: Any, first: Node) -> None:
    """Branches of one input, a constant, a retry's input: each attempt has a copy of its own."""
    branches = {"a": Stage("scribble"), "b": Stage("hand_on"), "c": Stage("scribble")}
    given: dict[str, Any] = {"list": []}
    root = Sequential((first, Parallel(branches)))
    output = house.run(root, given, stages=[scribble, hand_on], concurrency=1).output
    assert output["b"] == {"list": []}
    assert output["a"] == output["c"] == {"list": [1], "seen": True}
    assert given == {"list": []}
    assert first in (Stage("hand_on"), Const({"list": []}))


def test_what_is_given_back_is_nobody_elses(house: Any) -> None:
    """Outputs from the cache, of a constant and of a function's own list can be written into."""
    kept: list[Any] = []

    @stage(effects=["Pure"])
    def mine(_: Any) -> Any:
        return kept

    constant = Const({"x": []})
    root = Parallel({"a": Stage("mine"), "b": Stage("mine"), "c": constant})
    output = house.run(root, 1, stages=[mine]).output
    output["a"].append("a")
    output["c"]["x"].append("c")
    assert (output["b"], kept, constant) == ([], [], Const({"x": []}))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({0: 2, True: 3, None: 4, 1.5: 5}, '{"0": 2, "true": 3, "null": 4, "1.5": 5}'),
        ((1, (2,)), "[1, [2]]"),
        ({"a": (True, None, -0.0)}, '{"a": [true, null, -0.0]}'),
        ({HALF: [HALF, "\ud83d\ude00"]}, json.dumps({MENDED: [MENDED, "😀"]})),
        (10**400, str(10**400)),
    ],
    ids=["keys", "tuples", "nested", "halves", "large"],
)
def test_an_output_is_made_json(house: Any, value: Any, wanted: str) -> None:
    """The next stage gets what a reader of the statement gets."""
    got: list[Any] = []

    @stage
    def give(_: Any) -> Any:
        return value

    @stage
    def take(value: Any) -> Any:
        got.append(value)
        return value

    statement = house.run(Sequential((Stage("give"), Stage("take"))), None, stages=[give, take])
    assert json.dumps(got[0]) == json.dumps(json.loads(wanted)) == json.dumps(statement.output)


def _endless() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [{"b": datetime(2026, 1, 1, tzinfo=UTC)}]}, "/a/0/b"),
        ({"a/b": {1, 2}}, "/a~1b"),
        ([0, float("nan")], "/1"),
        ({"k": float("inf")}, "/k"),
        ({1: 0, "1": 0}, "the key '1' appears twice"),
        ({HALF: 0, "cut �": 0}, "appears twice"),
        ({"x": {(1, 2): 3}}, "/x"),
        ([b"bytes"], "/0"),
        ({"n": 10 ** (sys.int_info.default_max_str_digits + 1)}, "/n"),
        (_endless(), "nested too deeply"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(value: Any, place: str) -> None:
    """Whoever wrote the stage is told where in its output the trouble is."""
    with pytest.raises(ValueError, match=re.escape(place)):
        validated_json(value)


# Text ---------------------------------------------------------------------------------------------


def test_half_a_character_in_the_input_is_mended(house: Any) -> None:
    """A run takes the input, and its statement can be written and read."""
    statement = house.run(Stage("hand_on"), [HALF], stages=[hand_on])
    assert statement.output == [MENDED]


def test_an_input_that_is_not_json_is_refused_with_its_place(house: Any) -> None:
    """Nothing runs, nothing is written."""
    with pytest.raises(InvalidConfig, match="/a/0"):
        house.run(Stage("hand_on"), {"a": [{1, 2}]}, stages=[hand_on])


@stage(cost="0.05")
async def says_half(_: Any) -> Any:
    """Fail with half a character."""
    raise ValueError(HALF)


def _printing(text: str, code: int) -> Any:
    # The escape, as a program cut in the middle of one prints it.
    program = f"import sys; print({text!r}, file=sys.stdout if {code} == 0 else sys.stderr)"
    argv = [sys.executable, "-c", f"{program}; sys.exit({code})"]
    return process_stage("prints", argv, cost="0.05")


def _scripted(answer: Any) -> dict[str, Any]:
    asked = model_stage("asked", "scripted/m", "{text}", max_tokens=10)
    return {"stages": [asked], "providers": {"scripted": ScriptedProvider([answer])}}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("says_half", {"stages": [says_half]}),
        ("prints", {"stages": [_printing(r'"cut \ud83d"', 0)]}),
        ("prints", {"stages": [_printing("cut \\ud83d", 1)]}),
        ("asked", _scripted(Answer(text=HALF, model=HALF))),
        ("asked", _scripted(Failure(detail=HALF, billed="yes"))),
    ],
    ids=["exception", "program", "program's error", "model", "provider's failure"],
)
def test_half_a_character_does_not_lose_a_paid_run(
    house: Any, name: str, options: dict[str, Any]
) -> None:
    """Wherever the text comes from: the statement is written, and is UTF-8."""
    try:
        statement = house.run(Stage(name), {"text": "a"}, **options)
    except StageFailed as failed:
        statement = failed.statement
    json.dumps(statement.to_json(), ensure_ascii=False).encode()
    assert statement.spent > Money()
    house.check(statement)
