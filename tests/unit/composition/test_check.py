"""Checking a composition: its stages, how their types fit, and what has no price."""
# ruff: noqa: E501, FBT003 - a table reads best with one case a line; graphs hold constants

from typing import Any

import pytest
from hypothesis import given, settings
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
)
from earmark.composition.check import Checked, check, check_input
from earmark.composition.effects import FALLIBLE, NETWORK, PURE, UNKNOWN, Effect, Llm
from earmark.composition.subtype import validate
from earmark.composition.types import (
    ANY,
    BOOL,
    NULL,
    NUMBER,
    TEXT,
    ListOf,
    MapOf,
    NType,
    Record,
    Union,
    record,
)
from earmark.errors import CheckFailed, InvalidConfig
from earmark.money import Money
from unit.composition.catalogues import declared, library
from unit.composition.generators import bigger

LIBRARY = library(
    declared("any"),
    declared("text", TEXT, TEXT),
    declared("number", NUMBER, NUMBER),
    declared("length", TEXT, NUMBER),
    declared("is_long", TEXT, BOOL),
    declared("maybe_bool", ANY, Union((BOOL, NULL))),
    declared("split", TEXT, record(left=TEXT, right=NUMBER)),
    declared("page", record(text=TEXT, lang=TEXT, limit=NUMBER, note=Union((TEXT, NULL))), TEXT),
    declared("pair", record(source_0=TEXT, source_1=NUMBER), TEXT),
    declared("count", ANY, NUMBER),
    declared("kept", record(left=TEXT, right=NUMBER), TEXT),
    declared("words", TEXT, ListOf(TEXT)),
    declared("join", ListOf(TEXT), TEXT),
    declared("join_any", ListOf(Union((NUMBER, TEXT))), TEXT),
    declared("counts", TEXT, MapOf(TEXT, NUMBER)),
    declared("titled", record(text=TEXT, title=TEXT), TEXT),
)
TEXTS = Stage("text")
NUMBERS = Stage("number")


def checked(root: Node, **options: Any) -> Checked:
    """The check of a graph against the library above."""
    return check(Composition(description="", root=root), LIBRARY, **options)


def problems(root: Node, **options: Any) -> tuple[str, ...]:
    """The problems of a graph; none where it checks."""
    try:
        checked(root, **options)
    except CheckFailed as error:
        return error.problems
    return ()


FITTING: list[tuple[Node, NType, NType]] = [
    (TEXTS, TEXT, TEXT),
    (Const(3), ANY, ANY),
    (Sequential((TEXTS, Stage("length"), NUMBERS)), TEXT, NUMBER),
    (Sequential((Const("x"), TEXTS)), ANY, TEXT),
    (Sequential((Stage("any"), NUMBERS, Stage("any"), TEXTS)), ANY, TEXT),
    (Retry(Stage("length"), 3), TEXT, NUMBER),
    (RemoteStage("http://h", input=TEXT, output=BOOL, cost=Money("0.1")), TEXT, BOOL),
    # Parallel: a field by its name where there is one, else the whole input.
    (Sequential((TEXTS, Parallel({"a": TEXTS, "b": Stage("length")}))), TEXT, record(a=TEXT, b=NUMBER)),
    (Sequential((Stage("split"), Parallel({"left": TEXTS, "right": NUMBERS}))), TEXT, record(left=TEXT, right=NUMBER)),
    (Sequential((Stage("split"), Parallel({"left": TEXTS, "x": Stage("any")}))), TEXT, record(left=TEXT, x=ANY)),
    (Sequential((Stage("counts"), Parallel({"a": NUMBERS}))), TEXT, record(a=NUMBER)),
    (Parallel({"a": TEXTS, "b": TEXTS}), Union((record(a=TEXT, b=TEXT), TEXT)), record(a=TEXT, b=TEXT)),
    (Parallel({"a": TEXTS, "b": NUMBERS}), record(a=TEXT, b=NUMBER), record(a=TEXT, b=NUMBER)),
    (Parallel({"a": Stage("any")}), ANY, record(a=ANY)),
    (Parallel({"a": TEXTS, "b": Stage("titled")}), record(a=TEXT), record(a=TEXT, b=TEXT)),
    # Branch: both arms and the predicate get its input.
    (Branch(predicate=Stage("is_long"), if_true=TEXTS, if_false=Stage("length")), TEXT, Union((NUMBER, TEXT))),
    (Branch(predicate=Const(True), if_true=TEXTS, if_false=Stage("any")), TEXT, ANY),
    (Branch(predicate=Stage("any"), if_true=TEXTS, if_false=TEXTS), TEXT, TEXT),
    # Fanout, Merge.
    (Fanout(TEXTS, (TEXTS, Stage("length"))), TEXT, ListOf(Union((NUMBER, TEXT)))),
    (Sequential((Fanout(TEXTS, (TEXTS, TEXTS)), Stage("join"))), TEXT, TEXT),
    (Sequential((Fanout(TEXTS, (TEXTS, Stage("length"))), Stage("join_any"))), TEXT, TEXT),
    (Merge((TEXTS, Stage("length")), Stage("pair")), Union((record(source_0=TEXT, source_1=TEXT), TEXT)), TEXT),
    (Sequential((TEXTS, Merge((TEXTS, Stage("length")), Stage("pair")))), TEXT, TEXT),
    # Let: the body gets the input's fields under the bindings.
    (Let({"title": Const("t")}, Stage("titled")), record(text=TEXT), TEXT),
    (Let({"title": TEXTS, "text": TEXTS}, Stage("titled")), TEXT, TEXT),
    (Sequential((Stage("split"), Let({"text": Stage("any"), "title": Const(1)}, Stage("titled")))), TEXT, TEXT),
    (Let({"x": Stage("any")}, Stage("any")), ANY, ANY),
    (Sequential((Stage("split"), Let({"x": Stage("any")}, Stage("kept")))), TEXT, TEXT),
    # Config takes fields off what is asked of the input.
    (Stage("page", config={"lang": "de"}), record(text=TEXT, limit=NUMBER, note=Union((TEXT, NULL))), TEXT),
    (Sequential((TEXTS, Stage("page", config={"lang": "de", "limit": 3}))), TEXT, TEXT),
    (Stage("any", config={}), ANY, ANY),
]  # fmt: skip


@pytest.mark.parametrize(("root", "input_", "output"), FITTING)
def test_a_graph_that_fits_says_what_it_takes_and_gives(
    root: Node, input_: NType, output: NType
) -> None:
    """Types flow through every operator as its values will."""
    result = checked(root)
    assert (result.input, result.output) == (input_, output)


FAILING: list[tuple[Node, str]] = [
    (Sequential((Stage("length"), TEXTS)), "at /stages/1: takes Text, but is given Number: Number is no Text"),
    (Sequential((TEXTS, Retry(NUMBERS, 2))), "at /stages/1/stage: takes Number, but is given Text"),
    (Sequential((TEXTS, Parallel({"a": NUMBERS}))), "at /stages/1/branches/a: takes Number, but is given Text"),
    (Sequential((Stage("split"), Parallel({"left": NUMBERS}))), "at /stages/1/branches/left: takes Number"),
    (Sequential((Stage("split"), Parallel({"z": TEXTS}))), "at /stages/1/branches/z: takes Text, but is given Record"),
    (Sequential((NUMBERS, Branch(predicate=Const(True), if_true=TEXTS, if_false=NUMBERS))), "at /stages/1/if_true: takes Text"),
    (Sequential((TEXTS, Branch(predicate=Stage("is_long"), if_true=TEXTS, if_false=NUMBERS))), "at /stages/1/if_false: takes Number"),
    (Branch(predicate=Stage("is_long"), if_true=TEXTS, if_false=NUMBERS), "at /: no input can fit all of its parts"),
    (Branch(predicate=TEXTS, if_true=TEXTS, if_false=TEXTS), "at /predicate: a predicate gives a Bool: Text is no Bool"),
    (Branch(predicate=Stage("maybe_bool"), if_true=TEXTS, if_false=TEXTS), "at /predicate: a predicate gives a Bool: Null"),
    (Branch(predicate=Const("yes"), if_true=TEXTS, if_false=TEXTS), "at /predicate: a predicate is true or false, not 'yes'"),
    (Branch(predicate=Const(1), if_true=TEXTS, if_false=TEXTS), "at /predicate: a predicate is true or false, not 1"),
    (Fanout(TEXTS, (TEXTS, NUMBERS)), "at /targets/1: takes Number, but is given Text"),
    (Sequential((Fanout(TEXTS, (TEXTS, Stage("length"))), Stage("join"))), "at /stages/1: takes List<Text>, but is given List<Number | Text>"),
    (Merge((Stage("length"), TEXTS), Stage("pair")), "at /target: takes Record{source_0: Text, source_1: Number}"),
    (Merge((TEXTS,), Stage("pair")), "at /target: takes Record{source_0: Text, source_1: Number}, but is given Record{source_0: Text}: the field 'source_1' is missing"),
    (Sequential((Stage("split"), Merge((TEXTS,), Stage("any")))), "at /stages/1/sources/0: takes Text, but is given Null"),
    (Sequential((TEXTS, Let({"title": TEXTS}, Stage("titled")))), "at /stages/1/body: takes Record{text: Text, title: Text}, but is given Record{title: Text}: the field 'text' is missing"),
    (Let({"title": Stage("count")}, Stage("titled")), "at /body: takes Record{text: Text, title: Text}"),
    (Let({"title": TEXTS}, Stage("titled")), "at /: no input can fit all of its parts"),
    (Stage("page", config={"limit": "many"}), "at /: its config is wrong: /limit: 'many' is no Number"),
    (Stage("text", config={"a": 1}), "at /: has a config, but takes Text, which has no fields"),
    (Stage("txet"), "at /: no stage 'txet': is it 'text'"),
    (Sequential((TEXTS, Stage("0123abcd"))), "at /stages/1: no stage '0123abcd'"),
]  # fmt: skip


@pytest.mark.parametrize(("root", "problem"), FAILING)
def test_a_graph_that_does_not_fit_says_where_and_why(root: Node, problem: str) -> None:
    """A misfit is refused before anything runs, with its place and both types."""
    found = problems(root)
    assert len(found) == 1, found
    assert found[0].startswith(problem)


def test_all_problems_are_told_at_once_in_document_order() -> None:
    """One check finds every fault of a graph."""
    root = Sequential(
        (Stage("nope"), Branch(predicate=Const(0), if_true=TEXTS, if_false=Stage("nada")))
    )
    places = [problem.split(":")[0] for problem in problems(root)]
    assert places == ["at /stages/0", "at /stages/1/predicate", "at /stages/1/if_false"]


def test_at_most_fifty_problems_are_told() -> None:
    """A graph of a thousand unknown stages gives a bounded refusal that says how many more."""
    found = problems(Sequential((Stage("nope"),) * 1000))
    assert len(found) == 51
    assert found[-1] == "and 950 more"


@pytest.mark.parametrize("effect", [Llm("m"), NETWORK, UNKNOWN])
def test_an_effect_that_may_cost_refuses_without_a_price(effect: Effect) -> None:
    """`Llm`, `Network` and `Unknown` without a price are refused, unless allowed by name."""
    name = {Llm("m"): "llm", NETWORK: "network", UNKNOWN: "unknown"}[effect]
    stages = library(declared("call", ANY, ANY, effect, FALLIBLE))
    graph = Composition(description="", root=Stage("call"))
    with pytest.raises(CheckFailed, match=f"has no price for its effect {name}"):
        check(graph, stages)
    others = {"llm", "network", "unknown", "pure", "cost"} - {name}
    with pytest.raises(CheckFailed):
        check(graph, stages, allow=others)
    assert check(graph, stages, allow={name}).effects == tuple(sorted(["fallible", name]))


def test_every_unpriced_effect_must_be_allowed() -> None:
    """Allowing one of two effects is not enough."""
    stages = library(declared("call", ANY, ANY, Llm("m"), NETWORK))
    graph = Composition(description="", root=Stage("call"))
    with pytest.raises(CheckFailed, match="for its effect network:"):
        check(graph, stages, allow=["llm"])
    assert check(graph, stages, allow=["llm", "network"])


def test_an_empty_policy_allows_nothing_special() -> None:
    """No names allow no more than the default does; a name with a typo is an error."""
    stages = library(declared("call", ANY, ANY, UNKNOWN))
    graph = Composition(description="", root=Stage("call"))
    with pytest.raises(CheckFailed):
        check(graph, stages, allow=[])
    with pytest.raises(InvalidConfig, match="'unknwon' is no effect: it is one of cost, fallible"):
        check(graph, stages, allow=["unknwon"])


def test_a_declared_price_is_enough() -> None:
    """A stage with a `Cost` may have any effect; a model declared to cost nothing may not."""
    graph = Composition(description="", root=Stage("call"))
    assert check(graph, library(declared("call", ANY, ANY, Llm("m"), cost="0.01")))
    assert check(graph, library(declared("call", ANY, ANY, NETWORK, cost="0")))
    with pytest.raises(CheckFailed):
        check(graph, library(declared("call", ANY, ANY, Llm("m"), cost="0")))


def test_a_remote_stage_needs_a_price() -> None:
    """A call to another host without a declared cost is refused; its message holds no secret."""
    url = "https://user:hunter2@example.org/run?key=s3cret"
    remote = RemoteStage(url, input=ANY, output=ANY)
    [problem] = problems(remote)
    assert "no price for its effect network" in problem
    assert "https://example.org/run" in problem
    assert "hunter2" not in problem
    assert "s3cret" not in problem
    assert problems(remote, allow=["network"]) == ()
    priced = RemoteStage(url, input=ANY, output=ANY, cost=Money("0.05"))
    assert checked(priced).effects == ("cost", "fallible", "network")


def test_the_input_of_a_run_is_checked() -> None:
    """A value that does not fit the composition's input is refused before anything runs."""
    type_ = checked(Stage("page")).input
    check_input({"text": "a", "lang": "de", "limit": 3}, type_)
    with pytest.raises(CheckFailed) as caught:
        check_input({"text": 1, "lang": "de"}, type_)
    assert caught.value.problems == (
        "input /text: 1 is no Text",
        "input /: the field 'limit' is missing",
    )


anything = st.sampled_from([Stage("any"), Const(True), Const({"a": [1]})])


@given(st.recursive(anything, bigger, max_leaves=12))
def test_graphs_of_untyped_stages_always_fit(root: Node) -> None:
    """Stages of type `Any` check wherever they stand, but for predicates that are no Bool."""
    found = problems(root)
    assert all("predicate" in problem for problem in found), found


SAMPLES: dict[str, tuple[NType, NType, Any]] = {
    "text": (TEXT, TEXT, "t"),
    "number": (NUMBER, NUMBER, 1),
    "length": (TEXT, NUMBER, 2),
    "is_long": (TEXT, BOOL, True),
    "split": (TEXT, record(left=TEXT, right=NUMBER), {"left": "l", "right": 3}),
    "left": (record(left=TEXT), TEXT, "x"),
    "whole": (record(left=TEXT, right=NUMBER), record(left=TEXT), {"left": "y"}),
    "first": (record(source_0=TEXT), TEXT, "z"),
}
SOURCES: dict[str, tuple[NType, Any]] = {
    "a text": (TEXT, "t"),
    "a number": (NUMBER, 1),
    "a record": (record(left=TEXT, right=NUMBER), {"left": "l", "right": 3}),
    "sources": (record(source_0=TEXT, source_1=TEXT), {"source_0": "a", "source_1": "b"}),
    "nested": (record(left=record(left=TEXT)), {"left": {"left": "n"}}),
}
TYPED = library(
    *(declared(name, i, o) for name, (i, o, _) in SAMPLES.items()),
    *(declared(name, ANY, type_) for name, (type_, _) in SOURCES.items()),
)
typed_nodes = st.recursive(st.sampled_from([Stage(name) for name in SAMPLES]), bigger, max_leaves=6)


def run(node: Node, value: Any) -> Any:  # noqa: PLR0911 - one case an operator
    """A run by the format's rules, in which each stage refuses an input that is not of its type."""
    match node:
        case Stage(name):
            wanted, _, output = SAMPLES[name]
            assert validate(value, wanted) == []
            return output
        case Sequential(stages):
            for stage in stages:
                value = run(stage, value)
            return value
        case Parallel(branches):
            return {k: run(n, value[k] if _has(value, k) else value) for k, n in branches.items()}
        case Branch():
            run(node.if_false, value)
            assert run(node.predicate, value) is True
            return run(node.if_true, value)
        case Fanout(source, targets):
            fed = run(source, value)
            return [run(target, fed) for target in targets]
        case Merge(sources, target):
            names = [f"source_{i}" for i in range(len(sources))]
            routed = [value.get(n) if isinstance(value, dict) else value for n in names]
            outputs = [run(n, v) for n, v in zip(sources, routed, strict=True)]
            return run(target, dict(zip(names, outputs, strict=True)))
        case Retry(stage):
            return run(stage, value)
        case Let(bindings, body):
            outer = value if isinstance(value, dict) else {}
            return run(body, {**outer, **{k: run(n, value) for k, n in bindings.items()}})
        case _:
            raise AssertionError(node)


def _has(value: Any, name: str) -> bool:
    return isinstance(value, dict) and name in value


@settings(max_examples=500)
@given(typed_nodes, st.sampled_from(list(SOURCES)))
def test_a_checked_graph_never_gives_a_stage_the_wrong_type(root: Node, source: str) -> None:
    """If a graph checks, every stage of a run gets what it takes and gives what it says."""
    composition = Composition(description="", root=Sequential((Stage(source), root)))
    try:
        result = check(composition, TYPED)
    except CheckFailed:
        return
    assert validate(run(root, SOURCES[source][1]), result.output) == []


@settings(max_examples=500)
@given(typed_nodes, st.sampled_from(list(SOURCES)))
def test_an_input_that_every_stage_takes_is_never_refused(root: Node, source: str) -> None:
    """An input with which a run would succeed passes the check of the run's input."""
    value = SOURCES[source][1]
    try:
        result = check(Composition(description="", root=root), TYPED)
        run(root, value)
    except (CheckFailed, AssertionError):
        return
    check_input(value, result.input)


def test_effects_and_warnings_are_those_of_all_stages() -> None:
    """The effects of a composition are its stages' together, each once."""
    stages = library(declared("a", ANY, ANY, PURE), declared("b", ANY, ANY, FALLIBLE))
    graph = Composition(description="", root=Sequential((Stage("a"), Stage("b"), Stage("a"))))
    assert check(graph, stages).effects == ("fallible", "pure")


def test_types_inferred_from_deep_and_wide_graphs_stay_small() -> None:
    """Nesting and fanning out without end widens to `Any` instead of growing without end."""
    deep: Node = TEXTS
    for _ in range(100):
        deep = Parallel({"x": deep})
    assert validate({"x": 1}, checked(deep).output) in ([], ["/x: 1 is no Any"])
    remotes = [
        RemoteStage("http://h", input=TEXT, output=Record({f"f{i}": TEXT}), cost=Money(1))
        for i in range(500)
    ]
    assert checked(Fanout(TEXTS, tuple(remotes))).output == ListOf(ANY)
