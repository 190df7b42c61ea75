"""Types: reading and printing them, what fits what, and checking values."""

import json
from typing import Any

import pytest
from hypothesis import given

from earmark.composition.shorthand import parse_author_type
from earmark.composition.subtype import is_subtype, meet, mismatch, validate
from earmark.composition.types import (
    ANY,
    BOOL,
    BYTES,
    NULL,
    NUMBER,
    TEXT,
    VNODE,
    ListOf,
    MapOf,
    NonEmpty,
    NType,
    OneOf,
    Range,
    Record,
    RecordWith,
    Refined,
    StreamOf,
    Union,
    Var,
    parse_type,
    record,
    type_json,
    union,
)
from earmark.errors import InvalidComposition
from unit.composition.generators import types, values

PERCENT = Refined(NUMBER, Range(0, 100))
SIZE = Refined(Union((TEXT, NUMBER)), OneOf(("s", "m", 1)))
TITLE = Refined(TEXT, NonEmpty())
MAYBE = Union((TEXT, NULL))


@given(types)
def test_whatever_type_is_printed_reads_back_the_same(type_: NType) -> None:
    """For any type, its JSON form is JSON and reads as that type."""
    assert parse_type(json.loads(json.dumps(type_json(type_)))) == type_


FITS: list[tuple[NType, NType]] = [
    (TEXT, TEXT),
    (TEXT, ANY),
    (ANY, TEXT),
    (Var("T"), TEXT),
    (TEXT, Var("T")),
    (ListOf(ANY), ListOf(TEXT)),
    (StreamOf(TEXT), StreamOf(ANY)),
    (MapOf(TEXT, NUMBER), MapOf(TEXT, Union((NUMBER, NULL)))),
    (record(a=TEXT, b=NUMBER), record(a=TEXT)),
    (record(a=TEXT), Record({})),
    (record(a=record(x=NUMBER, y=TEXT)), record(a=record(x=NUMBER))),
    (record(a=TEXT), record(a=TEXT, b=MAYBE)),
    (record(a=TEXT), record(a=TEXT, b=ANY, c=NULL, d=Var("T"))),
    (record(a=TEXT), RecordWith({"a": TEXT}, "R")),
    (RecordWith({"a": TEXT}, "R"), record(a=TEXT, b=NUMBER)),
    (TEXT, MAYBE),
    (MAYBE, Union((NULL, NUMBER, TEXT))),
    (PERCENT, NUMBER),
    (PERCENT, PERCENT),
    (PERCENT, Union((NUMBER, NULL))),
    (Refined(record(a=TEXT, b=TEXT), NonEmpty()), Refined(record(a=TEXT), NonEmpty())),
    (Union(()), TEXT),
]
MISFITS: list[tuple[NType, NType, str]] = [
    (TEXT, NUMBER, "Text is no Number"),
    (NULL, TEXT, "Null is no Text"),
    (VNODE, record(a=TEXT), "VNode is no Record{a: Text}"),
    (ListOf(TEXT), ListOf(NUMBER), "items: Text is no Number"),
    (ListOf(TEXT), StreamOf(TEXT), "List<Text> is no Stream<Text>"),
    (MapOf(TEXT, TEXT), MapOf(TEXT, BOOL), "values: Text is no Bool"),
    (MapOf(BYTES, TEXT), MapOf(TEXT, TEXT), "keys: Bytes is no Text"),
    (record(a=TEXT), record(a=TEXT, b=NUMBER), "the field 'b' is missing"),
    (record(a=TEXT), record(a=NUMBER), "field 'a': Text is no Number"),
    (RecordWith({"a": TEXT}, "R"), record(a=NUMBER), "field 'a': Text is no Number"),
    (record(a=TEXT), MapOf(TEXT, TEXT), "Record{a: Text} is no Map<Text, Text>"),
    (MAYBE, TEXT, "Null is no Text"),
    (TEXT, Union((NUMBER, NULL)), "Text is none of Number | Null"),
    (NUMBER, PERCENT, "Number is not known to be Number (0..100)"),
    (Refined(NUMBER, Range(1, 2)), PERCENT, "Number (1..2) is not known to be Number (0..100)"),
    (PERCENT, TEXT, "Number is no Text"),
    (ListOf(record(a=ListOf(TEXT))), ListOf(record(a=ListOf(BOOL))), "items: field 'a': items: "),
]


@pytest.mark.parametrize(("sub", "sup"), FITS)
def test_a_type_fits_where_all_its_values_do(sub: NType, sup: NType) -> None:
    """The format's subtyping: width and depth, nullable fields optional, `Any` both ways."""
    assert is_subtype(sub, sup)


@pytest.mark.parametrize(("sub", "sup", "why"), MISFITS)
def test_a_type_that_does_not_fit_says_why(sub: NType, sup: NType, why: str) -> None:
    """A mismatch names the part that does not fit."""
    assert why in (mismatch(sub, sup) or "")


@given(types)
def test_every_type_fits_itself_and_any(type_: NType) -> None:
    """Subtyping is reflexive, and `Any` takes and gives everything."""
    assert is_subtype(type_, type_)
    assert is_subtype(type_, ANY)
    assert is_subtype(ANY, type_)


@given(types, types)
def test_what_two_types_share_fits_both(one: NType, other: NType) -> None:
    """The meet of two types may stand where either is wanted."""
    shared = meet(one, other)
    if shared is not None:
        assert is_subtype(shared, one)
        assert is_subtype(shared, other)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (TEXT, ANY, TEXT),
        (TEXT, NUMBER, None),
        (record(a=TEXT), record(b=NUMBER), record(a=TEXT, b=NUMBER)),
        (record(a=TEXT), record(a=NUMBER), None),
        (MAYBE, TEXT, TEXT),
        (MAYBE, Union((NUMBER, NULL)), NULL),
        (PERCENT, NUMBER, PERCENT),
        (ListOf(MAYBE), ListOf(TEXT), ListOf(TEXT)),
    ],
)
def test_two_types_share_the_values_of_both(one: NType, other: NType, shared: NType | None) -> None:
    """What fits both of two types, or that nothing does."""
    assert meet(one, other) == shared
    assert meet(other, one) == shared


VALID: list[tuple[Any, NType]] = [
    (None, NULL),
    (True, BOOL),
    (0, NUMBER),
    (-1.5, NUMBER),
    ("", TEXT),
    ("eA==", BYTES),
    ({"tag": "div"}, VNODE),
    ([], ListOf(TEXT)),
    (["a"], StreamOf(TEXT)),
    ({"a": 1}, MapOf(TEXT, NUMBER)),
    ({"a": "x", "b": 3}, record(a=TEXT)),
    ({}, record(a=MAYBE)),
    ({"a": None}, record(a=MAYBE)),
    ({"a": "x"}, RecordWith({"a": TEXT}, "R")),
    (3, Union((TEXT, NUMBER))),
    (0, PERCENT),
    (100.0, PERCENT),
    ("m", SIZE),
    (1, SIZE),
    ("x", TITLE),
    (object(), Var("T")),
]
INVALID: list[tuple[Any, NType, str]] = [
    (1, TEXT, "/: 1 is no Text"),
    (True, NUMBER, "/: true is no Number"),
    (float("nan"), NUMBER, "/: nan is no Number"),
    (1, BOOL, "/: 1 is no Bool"),
    ("null", NULL, "/: 'null' is no Null"),
    ({}, ListOf(TEXT), "/: an object is no List<Text>"),
    (["a", 1], ListOf(TEXT), "/1: 1 is no Text"),
    ([], MapOf(TEXT, TEXT), "/: an array is no Map<Text, Text>"),
    ({"a/b": 1}, MapOf(TEXT, TEXT), "/a~1b: 1 is no Text"),
    ("x", record(a=TEXT), "/: 'x' is no Record{a: Text}"),
    ({}, record(a=TEXT), "/: the field 'a' is missing"),
    ({"a": {"b": []}}, record(a=record(b=TEXT)), "/a/b: an array is no Text"),
    (1, MAYBE, "/: 1 is none of Text | Null"),
    (101, PERCENT, "/: 101 is no Number (0..100)"),
    (-0.5, PERCENT, "/: -0.5 is no Number (0..100)"),
    ("50", PERCENT, "/: '50' is no Number"),
    ("l", SIZE, "/: 'l' is no Text | Number (one of 's', 'm', 1)"),
    (True, Refined(ANY, OneOf((1,))), "/: true is no Any (one of 1)"),
    ([1], Refined(ANY, OneOf(([1, 2],))), "/: an array is no Any (one of an array)"),
    ("", TITLE, "/: '' is no Text (not empty)"),
    (5, Refined(ANY, NonEmpty()), "/: 5 is no Any (not empty)"),
]


@pytest.mark.parametrize(("value", "type_"), VALID)
def test_a_value_of_the_type_has_no_problems(value: object, type_: NType) -> None:
    """Values are taken by structure; fields that may be null may be absent."""
    assert validate(value, type_) == []


@pytest.mark.parametrize(("value", "type_", "problem"), INVALID)
def test_a_value_of_another_type_is_told_with_its_place(
    value: object, type_: NType, problem: str
) -> None:
    """Each problem names the place in the value and what was wanted there."""
    assert validate(value, type_) == [problem]


def test_at_most_twenty_problems_are_told() -> None:
    """A long wrong value does not give a long message."""
    assert len(validate([1] * 10_000, ListOf(TEXT))) == 20


@given(values, types, types)
def test_a_value_of_a_type_is_one_of_every_wider_type(
    value: Any, narrow: NType, wide: NType
) -> None:
    """Where one concrete type fits another, so do its values."""
    loose = ("Any", "Var", "RecordWith")
    concrete = not any(kind in json.dumps(type_json(narrow)) for kind in loose)
    if concrete and is_subtype(narrow, wide) and not validate(value, narrow):
        assert not _strict_problems(value, narrow, wide)


def _strict_problems(value: Any, narrow: NType, wide: NType) -> list[str]:
    # Records may have more fields than declared, of any type; keep to the declared ones.
    if isinstance(value, dict) or "Record" in json.dumps(type_json(narrow)):
        return []
    return validate(value, wide)


@pytest.mark.parametrize(
    ("variants", "normal"),
    [
        ([], NULL),
        ([TEXT], TEXT),
        ([TEXT, TEXT], TEXT),
        ([TEXT, NULL], Union((NULL, TEXT))),
        ([Union((TEXT, NUMBER)), BOOL], Union((BOOL, NUMBER, TEXT))),
        ([VNODE, Var("T"), Union((TEXT,))], Union((TEXT, VNODE, Var("T")))),
        ([ListOf(TEXT), BYTES, ANY], Union((ANY, BYTES, ListOf(TEXT)))),
    ],
)
def test_a_normal_union_is_flat_sorted_and_without_doubles(
    variants: list[NType], normal: NType
) -> None:
    """Unions made here are in the format's normal form."""
    assert union(variants) == normal


@pytest.mark.parametrize(
    ("raw", "type_"),
    [
        ("Text", TEXT),
        ({"List": "Text"}, ListOf(TEXT)),
        ({"Stream": {"List": "Any"}}, StreamOf(ListOf(ANY))),
        ({"Map": ["Text", "Number"]}, MapOf(TEXT, NUMBER)),
        ({"Record": [["a", "Text"], ["b", {"Union": ["Text", "Null"]}]]}, record(a=TEXT, b=MAYBE)),
        ({"Record": {"a": "Text"}}, record(a=TEXT)),
        ({"kind": "Text"}, TEXT),
        ({"List": {"kind": "Var", "value": "T"}}, ListOf(Var("T"))),
    ],
)
def test_authors_may_write_types_in_short(raw: object, type_: NType) -> None:
    """The short form and the format's own read to the same type."""
    assert parse_author_type(raw) == type_


@pytest.mark.parametrize(
    "raw",
    [
        None,
        3,
        "Texts",
        {},
        {"List": "Text", "Map": []},
        {"Map": ["Text"]},
        {"Record": [["a"]]},
        {"Record": [["a", "Text"], ["a", "Text"]]},
        {"Record": "Text"},
        {"Tuple": ["Text"]},
        {"List": None},
    ],
)
def test_a_short_type_that_is_none_is_refused(raw: object) -> None:
    """A type with a typo is refused, never taken for `Any`."""
    with pytest.raises(InvalidComposition):
        parse_author_type(raw, "/input")


def test_a_short_type_nested_too_deep_is_refused() -> None:
    """Nesting is bounded in the short form too."""
    raw: Any = "Text"
    for _ in range(500):
        raw = {"List": raw}
    with pytest.raises(InvalidComposition, match="nests deeper than 64"):
        parse_author_type(raw)


def test_a_long_type_is_shown_short() -> None:
    """A type of ten thousand fields does not give a message of ten thousand fields."""
    wide = Record({f"f{i}": TEXT for i in range(10_000)})
    assert len(str(wide)) < 250
    assert len(mismatch(TEXT, Union((wide, ListOf(wide)))) or "") < 1000
