"""A type variable stands for one type at each place where a stage is used."""
# ruff: noqa: FBT003 - graphs hold constants

import pytest

from earmark.composition.ast import (
    Branch,
    Composition,
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
from earmark.composition.check import Checked, check
from earmark.composition.types import (
    ANY,
    BOOL,
    NULL,
    NUMBER,
    TEXT,
    ListOf,
    MapOf,
    NonEmpty,
    NType,
    RecordWith,
    Refined,
    StreamOf,
    Var,
    record,
    union,
)
from earmark.errors import CheckFailed
from unit.composition.catalogues import declared, library

T, U = Var("T"), Var("U")
NAMED = record(name=TEXT, age=NUMBER)
LIBRARY = library(
    declared("any", ANY, ANY),
    declared("number", TEXT, NUMBER),
    declared("numbers", ANY, ListOf(NUMBER)),
    declared("maybe", ANY, union([NULL, TEXT])),
    declared("named", ANY, NAMED),
    declared("bool", TEXT, BOOL),
    declared("takes_number", NUMBER, BOOL),
    declared("takes_text", TEXT, BOOL),
    declared("takes_texts", ListOf(TEXT), BOOL),
    declared("takes_age", record(age=NUMBER), BOOL),
    declared("takes_wrong_age", record(age=TEXT), BOOL),
    declared("same", T, T),
    declared("list", T, ListOf(T)),
    declared("pair", T, record(a=T, b=T)),
    declared("first", ListOf(T), T),
    declared("head", Refined(ListOf(T), NonEmpty()), T),
    declared("stream", StreamOf(T), T),
    declared("values", MapOf(TEXT, T), T),
    declared("given", union([NULL, T]), T),
    declared("both", record(a=T, b=T), T),
    declared("merged", record(source_0=T, source_1=U), record(x=U, y=T)),
    declared("untagged", record(x=TEXT, y=TEXT), BOOL),
    declared("tagged", RecordWith(record(name=TEXT).fields, "r"), RecordWith({"tag": BOOL}, "r")),
    declared("const_true", T, BOOL),
)


def s(*names: str) -> Sequential:
    """These stages, one after another."""
    return Sequential(tuple(map(Stage, names)))


def checked(root: Node) -> Checked:
    """Check a graph against the library above."""
    return check(Composition(description="", root=root), LIBRARY)


REFUSED: list[Node] = [
    s("number", "same", "bool"),
    s("number", "same", "same", "same", "takes_text"),
    s("number", "list", "takes_texts"),
    s("numbers", "first", "takes_text"),
    s("number", "list", "first", "takes_text"),
    s("maybe", "given", "takes_number"),
    s("named", "tagged", "takes_wrong_age"),
    Sequential((Stage("number"), Retry(Stage("same"), 2), Stage("takes_text"))),
    Sequential((Stage("number"), Fanout(Stage("same"), (Stage("takes_text"),)))),
    Sequential((Stage("number"), Fanout(Stage("any"), (Stage("same"),)), Stage("bool"))),
    Sequential((Stage("number"), Parallel({"age": Stage("same")}), Stage("takes_wrong_age"))),
    Sequential((Stage("number"), Merge((Stage("same"), Stage("same")), Stage("untagged")))),
    Sequential((Stage("number"), Let({"age": Stage("same")}, Stage("takes_wrong_age")))),
    Sequential(
        (
            Stage("number"),
            Branch(predicate=Const(True), if_true=Stage("same"), if_false=Stage("same")),
            Stage("takes_text"),
        )
    ),
    Sequential(
        (
            Stage("number"),
            Branch(predicate=Stage("same"), if_true=Stage("any"), if_false=Stage("any")),
        )
    ),
]


@pytest.mark.parametrize("root", REFUSED, ids=str)
def test_a_bound_variable_does_not_fit_another_type(root: Node) -> None:
    """What goes into a stage with a variable comes out of it as what it is."""
    with pytest.raises(CheckFailed):
        checked(root)


ACCEPTED: list[tuple[Node, NType]] = [
    (s("number", "same", "takes_number"), BOOL),
    (s("same", "takes_text"), BOOL),
    (s("any", "same", "takes_text"), BOOL),
    (s("number", "list"), ListOf(NUMBER)),
    (s("number", "list", "list", "first", "first"), NUMBER),
    (s("number", "pair", "both"), NUMBER),
    (s("maybe", "given"), TEXT),
    (s("named", "tagged"), record(age=NUMBER, tag=BOOL)),
    (s("named", "tagged", "takes_age"), BOOL),
    (
        Sequential((Stage("number"), Fanout(Stage("same"), (Stage("list"),)))),
        ListOf(ListOf(NUMBER)),
    ),
    (
        Sequential((Stage("number"), Merge((Stage("same"), Stage("list")), Stage("merged")))),
        record(x=ListOf(NUMBER), y=NUMBER),
    ),
    (Stage("same"), T),
]


@pytest.mark.parametrize(("root", "output"), ACCEPTED, ids=str)
def test_a_variable_is_bound_where_it_is_used(root: Node, output: NType) -> None:
    """Each use of a stage has its own variables; one that nothing binds fits everything."""
    assert checked(root).output == output


def test_one_variable_is_not_two_types() -> None:
    """Two fields of one variable get one type, or types of which one fits the other."""
    apart = Parallel({"a": Stage("number"), "b": Stage("maybe")})
    with pytest.raises(CheckFailed, match="T cannot be both"):
        checked(Sequential((apart, Stage("both"))))


@pytest.mark.parametrize("name", ["pair", "list"])
def test_types_that_grow_at_each_stage_end_somewhere(name: str) -> None:
    """A long chain is checked in a moment, and so is what follows it."""
    chain = Sequential((Stage("number"), *[Stage(name)] * 2000, Stage("takes_text")))
    with pytest.raises(CheckFailed, match="takes Text, but is given"):
        checked(chain)
