"""Input that nobody vouches for: one sentence with the place, never a crash."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.composition.ast import (
    Composition,
    Const,
    Fanout,
    Merge,
    Parallel,
    RemoteStage,
    Retry,
    Sequential,
    Stage,
)
from earmark.composition.document import MAX_BYTES
from earmark.composition.parse import parse_composition, parse_node
from earmark.composition.types import ANY
from earmark.errors import InvalidComposition
from unit.composition.generators import values

STAGE = {"op": "Stage", "id": "a"}
OPERATORS = "Stage, RemoteStage, Const, Sequential, Parallel, Branch, Fanout, Merge, Retry, Let"


def document(root: object) -> str:
    """A document around a root."""
    return json.dumps({"description": "d", "version": "1", "root": root})


def refusal(text: str | bytes) -> InvalidComposition:
    """The refusal of a text, whose message is one short sentence."""
    with pytest.raises(InvalidComposition) as caught:
        parse_composition(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert caught.value.__cause__ is None
    return caught.value


SHAPES: list[tuple[object, str, str]] = [
    (None, "/root", "a node is an object, not null"),
    ([STAGE], "/root", "a node is an object, not an array"),
    ("Stage", "/root", "a node is an object, not 'Stage'"),
    ({}, "/root", "the field 'op' is missing"),
    ({"op": 3}, "/root/op", "'op' is a string, not 3"),
    ({"op": "Loop"}, "/root/op", f"'Loop' is no operator: it is one of {OPERATORS}"),
    ({"op": "stage", "id": "a"}, "/root/op", f"'stage' is no operator: it is one of {OPERATORS}"),
    ({"op": "Stage"}, "/root", "the field 'id' is missing"),
    ({"op": "Stage", "id": 7}, "/root/id", "'id' is a string, not 7"),
    ({"op": "Stage", "id": ""}, "/root/id", "a stage's id or name has 1 to 256 characters"),
    ({"op": "Stage", "id": "a" * 257}, "/root/id", "has 1 to 256 characters"),
    ({**STAGE, "pinning": "exact"}, "/root/pinning", "'exact' is neither 'signature' nor 'both'"),
    ({**STAGE, "pinning": None}, "/root/pinning", "'pinning' is a string, not null"),
    ({**STAGE, "config": [1]}, "/root/config", "'config' is an object, not an array"),
    ({"op": "Const"}, "/root", "the field 'value' is missing"),
    ({"op": "Sequential"}, "/root", "the field 'stages' is missing"),
    ({"op": "Sequential", "stages": {}}, "/root/stages", "'stages' is an array, not an object"),
    ({"op": "Sequential", "stages": []}, "/root/stages", "'stages' is empty"),
    ({"op": "Sequential", "stages": [STAGE, 3]}, "/root/stages/1", "a node is an object, not 3"),
    ({"op": "Parallel", "branches": []}, "/root/branches", "'branches' is an object, not an array"),
    ({"op": "Parallel", "branches": {}}, "/root/branches", "'branches' is empty"),
    ({"op": "Parallel", "branches": {"a/b": 1}}, "/root/branches/a~1b", "a node is an object"),
    ({"op": "Branch", "predicate": STAGE}, "/root", "the field 'if_true' is missing"),
    ({"op": "Fanout", "source": STAGE, "targets": []}, "/root/targets", "'targets' is empty"),
    ({"op": "Merge", "sources": [], "target": STAGE}, "/root/sources", "'sources' is empty"),
    ({"op": "Merge", "sources": [STAGE]}, "/root", "the field 'target' is missing"),
    ({"op": "Retry", "stage": STAGE}, "/root", "the field 'max_attempts' is missing"),
    ({"op": "Let", "bindings": {}}, "/root", "the field 'body' is missing"),
    ({"op": "Let", "bindings": None, "body": STAGE}, "/root/bindings", "is an object, not null"),
]


@pytest.mark.parametrize(("root", "place", "detail"), SHAPES)
def test_a_node_of_the_wrong_shape_is_refused_at_its_place(
    root: object, place: str, detail: str
) -> None:
    """Unknown operators, missing fields and wrong types are refused where they stand."""
    error = refusal(document(root))
    assert error.place == place
    assert detail in error.detail


@pytest.mark.parametrize("attempts", [0, -1, 1001, 4294967295, 9007199254740991])
def test_absurd_attempts_are_refused(attempts: int) -> None:
    """A retry takes 1 to 1,000 attempts."""
    error = refusal(document({"op": "Retry", "stage": STAGE, "max_attempts": attempts}))
    assert error.place == "/root/max_attempts"
    assert f"{attempts} attempts: it takes 1 to 1,000" in error.detail


@pytest.mark.parametrize("attempts", ["3", 3.0, True, None, [3]])
def test_attempts_that_are_no_whole_number_are_refused(attempts: object) -> None:
    """`true`, `3.0` and `"3"` are no number of attempts."""
    error = refusal(document({"op": "Retry", "stage": STAGE, "max_attempts": attempts}))
    assert error.place == "/root/max_attempts"
    assert "is a whole number" in error.detail


@pytest.mark.parametrize("delay", [-1, 86_400_001, 1.5, "1"])
def test_absurd_delays_are_refused(delay: object) -> None:
    """A delay is 0 ms to a day."""
    retry = {"op": "Retry", "stage": STAGE, "max_attempts": 2, "delay_ms": delay}
    assert refusal(document(retry)).place == "/root/delay_ms"


@pytest.mark.parametrize("field", ["description", "version", "root"])
def test_each_of_the_three_top_fields_is_required(field: str) -> None:
    """A document without a description, a version or a root is refused."""
    whole = {"description": "d", "version": "1", "root": STAGE}
    del whole[field]
    error = refusal(json.dumps(whole))
    assert error.place == ""
    assert error.detail == f"the field '{field}' is missing"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "a composition is an object, not an array"),
        ("null", "a composition is an object, not null"),
        ("{'a': 1}", "not JSON"),
        (document(STAGE) + "x", "not JSON: Extra data at line 1, column"),
        (b"\xef\xbb\xbf" + document(STAGE).encode(), "byte order mark"),
        ("\ufeff" + document(STAGE), "byte order mark"),
        (document(STAGE).encode("utf-16"), "not UTF-8: byte 0xff at offset 0"),
        (document(STAGE).encode() + b"\x80", "not UTF-8: byte 0x80 at offset"),
        (document(STAGE).encode() + b"\x00", "not JSON"),
        (document({"op": "Const", "value": "\ud800"}).replace("\\ud800", "\ud800"), "surrogate"),
    ],
)
def test_what_is_no_json_document_is_refused(text: str | bytes, detail: str) -> None:
    """Text that is not UTF-8, has a byte order mark or is no JSON object is refused."""
    assert detail in refusal(text).detail


@pytest.mark.parametrize(
    ("value", "place", "detail"),
    [
        ('{"a": {"b": 1, "b": 2}}', "/root/value/a", "the key 'b' appears twice"),
        ("[1, NaN]", "/root/value/1", "NaN is not JSON"),
        ("Infinity", "/root/value", "Infinity is not JSON"),
        ("-Infinity", "/root/value", "-Infinity is not JSON"),
        ("1e999", "/root/value", "'1e999' is too large"),
        ("9007199254740992", "/root/value", "integer of more than 53 bits"),
        ("-9007199254740992", "/root/value", "integer of more than 53 bits"),
        ("1" * 100_000, "/root/value", "integer of more than 53 bits"),
        (r'{"x": "\ud800"}', "/root/value/x", "half of a surrogate pair"),
        (r'{"x\udfff": 1}', "/root/value", "half of a surrogate pair"),
        (r'"\uDC00\ud800"', "/root/value", "half of a surrogate pair"),
    ],
)
def test_values_json_does_not_carry_are_refused_at_their_place(
    value: str, place: str, detail: str
) -> None:
    """Duplicate keys, NaN, huge integers and half surrogate pairs are found where they stand."""
    error = refusal(document({"op": "Const", "value": "VALUE"}).replace('"VALUE"', value))
    assert error.place == place
    assert detail in error.detail


def test_a_duplicate_key_at_the_top_is_refused() -> None:
    """The second of two roots does not silently win."""
    error = refusal('{"description": "", "version": "", "root": {}, "root": {"op": "Const"}}')
    assert error.place == ""
    assert error.detail == "the key 'root' appears twice"


def test_a_whole_surrogate_pair_and_the_largest_integer_are_text_and_number() -> None:
    """What JSON does carry is kept exactly."""
    text = document({"op": "Const", "value": ["😀", 9007199254740991, 1e300]})
    assert "\\ud83d" in text
    assert parse_composition(text).root == Const(["😀", 9007199254740991, 1e300])


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ('{"op":"Sequential","stages":[', "]}"),
        ('{"op":"Retry","max_attempts":2,"stage":', "}"),
        ('{"op":"Let","bindings":{},"body":', "}"),
        ('{"op":"Parallel","branches":{"x":', "}}"),
        ("[", "]"),
        ('{"op":"Const","value":[', "]}"),
        ('{"_comment":', "}"),
    ],
)
@pytest.mark.parametrize("depth", [129, 400, 10_000])
def test_a_graph_nested_too_deep_is_refused(opening: str, closing: str, depth: int) -> None:
    """Ten thousand nested nodes or values are a refusal, never a stack overflow."""
    text = document("ROOT").replace('"ROOT"', opening * depth + json.dumps(STAGE) + closing * depth)
    assert refusal(text)


def test_128_nodes_may_nest_and_129_may_not() -> None:
    """The bound on nesting is exact, read or built in code."""
    node: Any = Stage("a")
    for _ in range(127):
        node = Retry(node, 1)
    deep = Composition(description="", root=node)
    assert parse_composition(deep.to_json()) == deep
    with pytest.raises(InvalidComposition, match="nests deeper than 128 nodes"):
        Composition(description="", root=Retry(node, 1))


def test_nested_values_are_refused_however_they_came_in() -> None:
    """A node that was read elsewhere is held to the same bound on nesting."""
    raw: Any = STAGE
    for _ in range(10_000):
        raw = {"op": "Sequential", "stages": [raw]}
    with pytest.raises(InvalidComposition, match="nests deeper than 128 nodes"):
        parse_node(raw)


def test_more_than_16_mib_are_refused_before_they_are_read() -> None:
    """A file of 100 MB is refused by its size alone, whatever is in it."""
    error = refusal(b"[" * 100_000_000)
    assert error.detail == "100,000,000 bytes, at most 16,777,216 are read"
    assert "characters" in refusal("[" * (MAX_BYTES + 1)).detail


def test_a_composition_built_in_code_is_held_to_the_same_rules() -> None:
    """Nodes made in Python are refused like ones that were read, at the same places."""
    for root, place in [
        (Sequential(()), "/root/stages"),
        (Parallel({}), "/root/branches"),
        (Fanout(Stage("a"), ()), "/root/targets"),
        (Merge((), Stage("a")), "/root/sources"),
        (Retry(Stage("a"), 0), "/root/max_attempts"),
        (Const(object()), "/root/value"),
        (Const([1, {"a": float("nan")}]), "/root/value/1/a"),
        (Const(1 << 53), "/root/value"),
        (Const({3: 4}), "/root/value"),
        (Stage("a\ud800"), "/root/id"),
        (Stage("a", config={"b": b"c"}), "/root/config/b"),
        (Sequential((Stage("a"), Retry(Stage("b"), 2, delay_ms=-1))), "/root/stages/1/delay_ms"),
        (RemoteStage("file:///etc/passwd", input=ANY, output=ANY), "/root/url"),
    ]:
        with pytest.raises(InvalidComposition) as caught:
            Composition(description="", root=root)
        assert caught.value.place == place


TYPE_FAULTS: list[tuple[object, str, str]] = [
    ("Text", "", "a type is an object, not 'Text'"),
    ({}, "", "the field 'kind' is missing"),
    ({"kind": "Texts"}, "/kind", "'Texts' is no type: it is one of Any, Bool, Bytes"),
    ({"kind": "List"}, "", "the field 'value' is missing"),
    ({"kind": "Map", "value": {"key": {"kind": "Text"}}}, "/value", "'value' is missing"),
    ({"kind": "Record", "value": [["a", "Text"]]}, "/value", "is an object, not an array"),
    ({"kind": "Record", "value": {"a": {"kind": "?"}}}, "/value/a/kind", "'?' is no type"),
    ({"kind": "Union", "value": {}}, "/value", "are an array, not an object"),
    ({"kind": "Var", "value": 1}, "/value", "is a string, not 1"),
]


@pytest.mark.parametrize(("type_", "place", "detail"), TYPE_FAULTS)
def test_a_type_of_the_wrong_shape_is_refused_at_its_place(
    type_: object, place: str, detail: str
) -> None:
    """The types of a remote stage are read as strictly as its node."""
    root = {"op": "RemoteStage", "url": "http://h", "input": type_, "output": {"kind": "Any"}}
    error = refusal(document(root))
    assert error.place == f"/root/input{place}"
    assert detail in error.detail


@pytest.mark.parametrize("kind", ["List", "Stream"])
@pytest.mark.parametrize("depth", [65, 5000])
def test_a_type_nested_too_deep_is_refused(kind: str, depth: int) -> None:
    """Types nest at most 64 deep."""
    opening, closing = f'{{"kind":"{kind}","value":' * depth, "}" * depth
    text = document(
        {"op": "RemoteStage", "url": "http://h", "input": "TYPE", "output": {"kind": "Any"}}
    )
    assert refusal(text.replace('"TYPE"', f'{opening}{{"kind":"Any"}}{closing}'))


@pytest.mark.parametrize(
    "cost",
    [
        5,
        {},
        {"cents": 5, "usd": "0.05"},
        {"cents": -1},
        {"cents": 1.5},
        {"cents": True},
        {"cents": "5"},
        {"cents": 1 << 52},
        {"usd": 0.05},
        {"usd": "-1"},
        {"usd": "NaN"},
        {"usd": "1e400"},
        {"usd": "0.0000000001"},
        {"usd": "4000000000"},
        {"usd": "five"},
    ],
)
def test_a_cost_that_is_no_price_is_refused(cost: object) -> None:
    """Negative, fractional, ambiguous and absurd prices are refused at their place."""
    any_ = {"kind": "Any"}
    root = {"op": "RemoteStage", "url": "http://h", "input": any_, "output": any_, "cost": cost}
    assert refusal(document(root)).place.startswith("/root/cost")


@given(values)
def test_no_json_value_is_more_than_a_refusal(value: object) -> None:
    """Any JSON value as a document or as a root is read or refused in one sentence."""
    for text in (json.dumps(value), document(value), document({"op": value})):
        try:
            parse_composition(text)
        except InvalidComposition as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is fine


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_a_refusal(raw: bytes) -> None:
    """Random bytes are refused, whatever they are."""
    with pytest.raises(InvalidComposition):
        parse_composition(raw)


@given(st.data())
def test_a_damaged_document_is_read_or_refused(data: st.DataObject) -> None:
    """Cutting or overwriting a piece of a good document never crashes the reader."""
    good = document({"op": "Sequential", "stages": [STAGE, {"op": "Const", "value": [1, "é"]}]})
    raw = bytearray(good.encode())
    start = data.draw(st.integers(0, len(raw)))
    length = data.draw(st.integers(0, 20))
    raw[start : start + length] = data.draw(st.binary(max_size=5))
    try:
        parse_composition(bytes(raw))
    except InvalidComposition as error:
        assert str(error)  # noqa: PT017 - either outcome is fine
