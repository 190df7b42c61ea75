"""Plans: what a composition costs at least and at most, line by line and in all."""
# ruff: noqa: FBT003 - graphs hold constants

import json
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.composition.ast import (
    Branch,
    Composition,
    Const,
    Fanout,
    Let,
    Merge,
    Node,
    Parallel,
    RemoteStage,
    Retry,
    Sequential,
    Stage,
    children,
)
from earmark.composition.catalogue import Quote
from earmark.composition.effects import PURE, Llm
from earmark.composition.plan import Plan, plan
from earmark.composition.types import ANY, BOOL
from earmark.errors import CheckFailed
from earmark.money import Money
from unit.composition.catalogues import declared, library
from unit.composition.generators import bigger

COSTS = {
    "ask": "0.003",
    "free": None,
    "one": "0.01",
    "two": "0.02",
    "five": "0.05",
    "tiny": "0.000000001",
}


def exactly(cost: str) -> Quote:
    """The quote of a stage that cannot settle less than it declares."""
    return Quote(Money(cost), Money(cost), "declared", hold=Money(cost))


LIBRARY = library(
    *(declared(name, cost=cost) for name, cost in COSTS.items() if name != "ask"),
    declared("upto", cost="0.04"),
    declared("pure", ANY, ANY, PURE, cost="0.02"),
    declared("other", ANY, ANY, PURE, cost="0.03"),
    declared("ask", ANY, BOOL, cost="0.003"),
    declared("model", ANY, ANY, Llm("m")),
    declared("prompted", ANY, ANY, Llm("m")),
    quotes={
        **{name: exactly(cost) for name, cost in COSTS.items() if cost},
        "pure": exactly("0.02"),
        "other": exactly("0.03"),
        "model": Quote(Money("0.001"), Money("0.25"), "200 tokens out"),
        "prompted": Quote(Money(0), None, "its prompt is not known yet"),
    },
)
FREE, ONE, TWO, FIVE = Stage("free"), Stage("one"), Stage("two"), Stage("five")
ASK, UPTO, PURE_, OTHER = Stage("ask"), Stage("upto"), Stage("pure"), Stage("other")


def planned(root: Node, **options: Any) -> Plan:
    """The plan of a graph against the library above."""
    return plan(Composition(description="", root=root), LIBRARY, **options)


TOTALS: list[tuple[Node, str, str]] = [
    (FREE, "0", "0"),
    (ONE, "0.01", "0.01"),
    (Const(True), "0", "0"),
    (Sequential((ONE, TWO, FIVE, FREE)), "0.08", "0.08"),
    (Sequential((ONE,) * 10), "0.1", "0.1"),
    (Parallel({"a": ONE, "b": TWO}), "0.03", "0.03"),
    (Fanout(ONE, (TWO, TWO, FREE)), "0.05", "0.05"),
    (Merge((ONE, ONE), FIVE), "0.07", "0.07"),
    (Let({"x": ONE, "y": TWO}, FIVE), "0.08", "0.08"),
    (Branch(predicate=ASK, if_true=ONE, if_false=FIVE), "0.013", "0.053"),
    (Branch(predicate=ASK, if_true=FREE, if_false=FIVE), "0.003", "0.053"),
    (Branch(predicate=Const(True), if_true=ONE, if_false=FIVE), "0.01", "0.01"),
    (Branch(predicate=Const(False), if_true=ONE, if_false=FIVE), "0.05", "0.05"),
    (Retry(ONE, 3), "0.01", "0.03"),
    (Retry(Retry(ONE, 3), 4), "0.01", "0.12"),
    (Retry(Sequential((ONE, TWO)), 2), "0.03", "0.06"),
    (Retry(Branch(predicate=ASK, if_true=ONE, if_false=FIVE), 2), "0.013", "0.106"),
    (Stage("model"), "0.001", "0.25"),
    (Retry(Stage("model"), 3), "0.001", "0.75"),
    (RemoteStage("http://h", input=ANY, output=ANY, cost=Money("0.0005")), "0", "0.0005"),
    (UPTO, "0", "0.04"),
    (Sequential((UPTO, UPTO, ONE)), "0.01", "0.09"),
    (Sequential((PURE_, PURE_, OTHER, PURE_)), "0.05", "0.09"),
    (Parallel({"a": Retry(PURE_, 3), "b": PURE_}), "0.02", "0.08"),
    (Branch(predicate=ASK, if_true=PURE_, if_false=OTHER), "0.003", "0.033"),
    (Branch(predicate=Const(True), if_true=PURE_, if_false=ONE), "0.02", "0.02"),
    (Sequential((Branch(predicate=ASK, if_true=PURE_, if_false=ONE), PURE_)), "0.023", "0.043"),
    (Retry(Stage("tiny"), 1000), "0.000000001", "0.000001"),
]


@pytest.mark.parametrize(("root", "least", "most"), TOTALS)
def test_a_plan_totals_every_operator(root: Node, least: str, most: str) -> None:
    """Sums over what runs; of a branch one arm; of a retry one attempt to all."""
    result = planned(root)
    assert (result.min, result.max) == (Money(least), Money(most))


HOLDS: list[tuple[Node, str]] = [
    (FREE, "0"),
    (Sequential((UPTO, ONE, UPTO)), "0.04"),
    (Retry(Parallel({"a": FIVE, "b": TWO}), 4), "0.05"),
    (Branch(predicate=ASK, if_true=UPTO, if_false=TWO), "0.02"),
    (Branch(predicate=ASK, if_true=FIVE, if_false=FREE), "0.003"),
    (Branch(predicate=Const(True), if_true=FIVE, if_false=FREE), "0.05"),
    (Sequential((PURE_, PURE_)), "0.02"),
    (Stage("prompted"), "0"),
]


@pytest.mark.parametrize(("root", "hold"), HOLDS)
def test_the_hold_is_the_largest_that_cannot_be_avoided(root: Node, hold: str) -> None:
    """Of the stages that every run gets to; what each of two arms needs is unavoidable too."""
    assert planned(root).hold == Money(hold)


def test_each_occurrence_has_its_own_line() -> None:
    """A stage used twice is two lines, each with its path, its attempts and what it adds."""
    arms = Branch(predicate=ASK, if_true=Retry(TWO, 3, delay_ms=10), if_false=FREE)
    root = Sequential((ONE, Retry(Parallel({"a/b": ONE, "c": arms}), 2)))
    lines = {
        line.path: (line.stage, str(line.min), str(line.max), line.attempts, line.note)
        for line in planned(root).lines
    }
    arm = "only if its arm is taken"
    at = "/stages/1/stage/branches"
    assert lines == {
        "/stages/0": ("one", "0.01", "0.01", 1, "declared"),
        f"{at}/a~1b": ("one", "0.01", "0.02", 2, "declared"),
        f"{at}/c/predicate": ("ask", "0.003", "0.006", 2, "declared"),
        f"{at}/c/if_true/stage": ("two", "0", "0.12", 6, f"declared; {arm}"),
        f"{at}/c/if_false": ("free", "0", "0", 2, arm),
    }


def test_an_arm_that_is_never_taken_costs_nothing() -> None:
    """A constant predicate decides at plan time which arm counts."""
    root = Branch(predicate=Const(False), if_true=FIVE, if_false=ONE)
    never, taken = planned(root).lines
    assert (never.min, never.max, never.attempts) == (Money(), Money(), 0)
    assert never.note == "declared; never reached"
    assert (taken.min, taken.max, taken.attempts) == (Money("0.01"), Money("0.01"), 1)


def test_a_stage_without_a_bound_makes_the_maximum_unknown_and_is_named() -> None:
    """What depends on an input that is not there yet has no maximum; the plan says which lines."""
    result = planned(Sequential((ONE, Retry(Stage("prompted"), 2), FIVE)))
    assert result.min == Money("0.06")
    assert result.max is None
    [line] = result.unbounded
    assert (line.path, line.max) == ("/stages/1/stage", None)
    assert line.note == "its prompt is not known yet"
    assert result.to_json()["max"] is None


def test_an_unbounded_arm_that_is_never_taken_does_not_matter() -> None:
    """Only what may run counts against the maximum."""
    root = Branch(predicate=Const(True), if_true=ONE, if_false=Stage("prompted"))
    result = planned(root)
    assert (result.max, result.unbounded) == (Money("0.01"), ())
    maybe = Branch(predicate=ASK, if_true=ONE, if_false=Stage("prompted"))
    assert planned(maybe).max is None


def test_a_stage_allowed_without_a_price_says_so() -> None:
    """What runs unpriced by permission is counted as 0 and marked."""
    remote = RemoteStage("http://h", input=ANY, output=ANY)
    with pytest.raises(CheckFailed):
        planned(remote)
    [line] = planned(remote, allow=["network"]).lines
    assert (line.max, line.note) == (Money(), "no price: network allowed by name")


def test_a_plan_is_json_with_decimal_strings() -> None:
    """Amounts leave as exact decimal strings, never as floats."""
    form = planned(Retry(ONE, 3)).to_json()
    assert json.loads(json.dumps(form)) == form
    assert (form["min"], form["max"], form["hold"]) == ("0.01", "0.03", "0.01")
    [line] = form["lines"]
    assert line.pop("stage_id") == LIBRARY.resolve("one").stage.spec.stage_id
    assert line == {
        "path": "/stage",
        "stage": "one",
        "kind": "declared",
        "min": "0.01",
        "max": "0.03",
        "attempts": 3,
        "note": "declared",
    }


def test_absurd_retries_stay_exact() -> None:
    """A thousand attempts of a thousand attempts, nested, lose no nano-dollar."""
    node: Node = Stage("tiny")
    for _ in range(10):
        node = Retry(node, 1000)
    assert planned(node).max == Money.nanos(1000**10)


leaves = st.sampled_from([FREE, ONE, TWO, FIVE, Stage("tiny"), Const(True), Const({"a": 1})])
predicates = st.sampled_from([FREE, ASK, Const(True), Const(False), Sequential((ONE, ASK))])
priced_nodes = st.recursive(leaves, partial(bigger, predicates=predicates), max_leaves=10)


def bounds(node: Node) -> tuple[Fraction, Fraction]:
    """The least and the most by the rules, in dollars, the slow and obvious way."""
    if isinstance(node, Stage):
        cost = Fraction(COSTS[node.id] or "0")
        return cost, cost
    parts = [bounds(child) for _, child in children(node)]
    least, most = sum(part[0] for part in parts), sum(part[1] for part in parts)
    match node:
        case Retry():
            return Fraction(least), Fraction(most * node.max_attempts)
        case Branch(predicate=Const(bool() as truth)):
            return parts[1] if truth else parts[2]
        case Branch():
            test, yes, no = parts
            return test[0] + min(yes[0], no[0]), test[1] + max(yes[1], no[1])
        case _:
            return Fraction(least), Fraction(most)


@given(priced_nodes)
def test_totals_follow_the_rules_for_any_graph(root: Node) -> None:
    """For any graph the plan's totals are those of the rules, to the nano-dollar."""
    result = planned(root)
    least, most = bounds(root)
    assert result.max is not None
    assert Fraction(result.min.decimal) == least
    assert Fraction(result.max.decimal) == most
    assert result.min <= result.max


def spend(node: Node, data: st.DataObject) -> Fraction:
    """What one run that succeeds spends: some arm of each branch, some failed attempts before."""
    match node:
        case Stage(name):
            return Fraction(COSTS[name] or "0")
        case Retry():
            attempts = data.draw(st.integers(1, node.max_attempts))
            return sum((spend(node.stage, data) for _ in range(attempts)), Fraction(0))
        case Branch():
            constant = node.predicate.value if isinstance(node.predicate, Const) else None
            taken = data.draw(st.booleans()) if constant is None else constant
            arm = node.if_true if taken else node.if_false
            return spend(node.predicate, data) + spend(arm, data)
        case _:
            return sum((spend(child, data) for _, child in children(node)), Fraction(0))


@given(priced_nodes, st.data())
def test_no_run_spends_less_or_more_than_its_plan(root: Node, data: st.DataObject) -> None:
    """Whichever arms are taken and attempts fail, the spend is within the plan's bounds."""
    result = planned(root)
    spent = spend(root, data)
    assert result.max is not None
    assert Fraction(result.min.decimal) <= spent <= Fraction(result.max.decimal)


@given(priced_nodes)
def test_without_branches_the_lines_add_up_to_the_totals(root: Node) -> None:
    """Where everything runs, the total is the sum of the lines; with branches, at most that."""
    result = planned(root)
    assert result.max is not None
    least = sum((line.min for line in result.lines), Money())
    most = sum((line.max for line in result.lines if line.max is not None), Money())
    assert least <= result.min
    assert most >= result.max
    if "Branch" not in repr(root):
        assert (least, most) == (result.min, result.max)
