"""Stages: their ids, their two written forms, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.composition.effects import FALLIBLE, NETWORK, PURE, UNKNOWN, CostEffect, EffectSet, Llm
from earmark.composition.types import ANY, BOOL, NUMBER, TEXT, ListOf, NType, record
from earmark.errors import InvalidStage
from earmark.money import Money
from earmark.stages.stage import Deprecated, Draft, StageSpec, Tombstone, parse_stage
from unit.composition.generators import texts, types

GOLDEN = "980de483c8940ece66165badd67c41a7f82aa286d1b170da5c12b149049e8ce3"

PRICED: dict[str, Any] = {
    "id": "a1e80fd06b5ee8c04a1bbd1ba9ea9b4fd7a2b0a8a2bfb0f5b56e6ea2f8f3f9a1",
    "signature": {
        "input": {"kind": "Text"},
        "output": {"kind": "Number"},
        "effects": {"effects": [{"effect": "Cost", "cents": 5}, {"effect": "Llm", "model": "m"}]},
        "implementation_hash": "abc123",
    },
    "capabilities": ["Network", "Llm"],
    "cost": {"time_ms_p50": 200, "tokens_est": 500, "memory_mb": 10},
    "description": "Costs five cents.",
    "examples": [{"input": "42", "output": 42}],
    "lifecycle": "Active",
    "name": "priced",
}


def spec(**changes: Any) -> StageSpec:
    """The stage of the golden vector, with changes."""
    whole: dict[str, Any] = {
        "name": "test",
        "input": TEXT,
        "output": NUMBER,
        "effects": EffectSet([PURE]),
        "implementation_hash": "abc123",
    }
    return StageSpec(**{**whole, **changes})


def stored(**changes: Any) -> dict[str, Any]:
    """A stored stage whose ids are right, then changed."""
    return {**spec().to_json(), **changes}


def test_the_golden_vector() -> None:
    """A stage's id is the one the format gives it."""
    assert spec().stage_id == GOLDEN


def test_the_signature_id_leaves_out_the_implementation() -> None:
    """Two implementations of one signature share the signature_id and nothing else."""
    one, other = spec(), spec(implementation_hash="def456")
    assert one.signature_id == other.signature_id
    assert one.stage_id != other.stage_id


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"input": ANY},
        {"output": BOOL},
        {"effects": EffectSet([PURE, FALLIBLE])},
        {"effects": EffectSet([PURE, CostEffect(Money("0.05"))])},
    ],
)
def test_what_a_stage_is_to_its_users_is_its_signature(changes: dict[str, Any]) -> None:
    """A change of name, types, effects or price changes both ids."""
    assert spec(**changes).signature_id != spec().signature_id
    assert spec(**changes).stage_id != spec().stage_id


def test_what_is_said_about_a_stage_is_not_its_identity() -> None:
    """Description, lifecycle, tags and aliases do not change the ids."""
    told = spec(description="d", lifecycle=Draft(), tags=("t",), aliases=("a",), kind="python")
    assert told.stage_id == GOLDEN


def test_one_price_has_one_identity() -> None:
    """Five cents and 0.05 USD are the same price, and the same stage."""
    cents = {"effects": [{"effect": "Cost", "cents": 5}]}
    usd = {"effects": [{"effect": "Cost", "usd": "0.05"}]}
    ids: set[str] = set()
    for effects in (cents, usd):
        form = stored(id=spec(effects=EffectSet([CostEffect(Money("0.05"))])).stage_id)
        del form["signature_id"]
        form["signature"] = {**form["signature"], "effects": effects}
        ids.add(parse_stage(form).stage_id)
    assert len(ids) == 1


@given(texts, types, types, st.lists(st.sampled_from([PURE, FALLIBLE, NETWORK, Llm("m")])), texts)
def test_a_printed_stage_reads_back_the_same(
    name: str, input_: NType, output: NType, effects: list[Any], implementation: str
) -> None:
    """The full form of any stage reads as that stage, its ids confirmed."""
    made = StageSpec(
        name=name,
        input=input_,
        output=output,
        effects=EffectSet(effects),
        implementation_hash=implementation,
        lifecycle=Deprecated("0" * 64),
        tags=("t",),
    )
    assert parse_stage(json.dumps(made.to_json())) == made


def test_a_full_stage_carries_its_price() -> None:
    """The full form is read with its price, capabilities and estimates being no part of it."""
    form = {**PRICED, "id": spec(name="priced", effects=_priced()).stage_id}
    read = parse_stage(form)
    assert read.effects.cost == Money("0.05")
    assert (read.name, read.input, read.output) == ("priced", TEXT, NUMBER)


def _priced() -> EffectSet:
    return EffectSet([CostEffect(Money("0.05")), Llm("m")])


def test_a_stored_price_that_was_changed_is_refused() -> None:
    """Editing 5 cents to 0 without a new id is noticed, and the refusal names the true id."""
    form = {**PRICED, "id": spec(name="priced", effects=_priced()).stage_id}
    cheap = json.loads(json.dumps(form).replace('"cents": 5', '"cents": 0'))
    with pytest.raises(InvalidStage) as caught:
        parse_stage(cheap)
    assert caught.value.place == "/id"
    free = EffectSet([CostEffect(Money()), Llm("m")])
    assert spec(name="priced", effects=free).stage_id in caught.value.detail


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"id": "0" * 64}, "/id"),
        ({"name": "other"}, "/id"),
        ({"signature_id": "0" * 64}, "/signature_id"),
        ({"canonical_id": "0" * 64}, "/canonical_id"),
        ({"id": None}, "/id"),
        ({"lifecycle": "Retired"}, "/lifecycle"),
        ({"lifecycle": {"Deprecated": {}}}, "/lifecycle/Deprecated"),
        ({"lifecycle": 3}, "/lifecycle"),
        ({"tags": "t"}, "/tags"),
        ({"aliases": [1]}, "/aliases"),
        ({"description": 1}, "/description"),
        ({"signature": []}, "/signature"),
        ({"signature": {}}, "/signature"),
    ],
)
def test_a_full_stage_that_is_wrong_is_refused_at_its_place(
    changes: dict[str, Any], place: str
) -> None:
    """Stored ids that do not agree with the content, and wrong shapes, are refused."""
    with pytest.raises(InvalidStage) as caught:
        parse_stage(stored(**changes))
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("raw", "lifecycle"),
    [
        ("Draft", Draft()),
        ("Tombstone", Tombstone()),
        ({"Deprecated": {"successor_id": "abc"}}, Deprecated("abc")),
    ],
)
def test_the_lifecycle_is_read(raw: Any, lifecycle: object) -> None:
    """A stage is a draft, active, deprecated with a successor, or buried."""
    assert parse_stage(stored(lifecycle=raw)).lifecycle == lifecycle


def test_an_authors_short_form() -> None:
    """A stage may be written by hand: short types, effects by name or with a price."""
    read = parse_stage(
        json.dumps(
            {
                "name": "summarise",
                "description": "One paragraph.",
                "input": {"Record": [["text", "Text"]]},
                "output": {"List": "Text"},
                "effects": ["Fallible", {"effect": "Cost", "usd": "0.0005"}],
                "implementation": "def execute(value): ...",
                "aliases": ["shorten"],
            }
        )
    )
    assert (read.input, read.output) == (record(text=TEXT), ListOf(TEXT))
    assert read.effects == EffectSet([FALLIBLE, CostEffect(Money("0.0005"))])
    assert read.aliases == ("shorten",)
    assert len(read.implementation_hash) == 64


@pytest.mark.parametrize("effects", [{}, {"effects": None}, {"effects": []}])
def test_a_short_form_that_declares_no_effects_is_unknown(effects: dict[str, Any]) -> None:
    """Nothing declared means `Unknown`, which has no price; it never means `Pure`."""
    read = parse_stage({"name": "a", "input": "Any", "output": "Any", **effects})
    assert read.effects == EffectSet([UNKNOWN])


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"effects": ["Cost"]}, "/effects/0"),
        ({"effects": ["Pure", "Netwrok"]}, "/effects/1"),
        ({"effects": ["Pure", 3]}, "/effects/1"),
        ({"effects": [{"effect": "Cost", "usd": 0.1}]}, "/effects/0/usd"),
        ({"effects": "Pure"}, "/effects"),
        ({"input": "Txt"}, "/input/kind"),
        ({"output": None}, "/output"),
        ({"name": ""}, "/name"),
        ({"name": 1}, "/name"),
        ({"implementation": 5}, "/implementation"),
        ({"implementation": {"language": "python"}}, "/implementation"),
    ],
)
def test_a_short_form_that_is_wrong_is_refused_at_its_place(
    changes: dict[str, Any], place: str
) -> None:
    """No effect of a short form is dropped in silence, and no type guessed."""
    with pytest.raises(InvalidStage) as caught:
        parse_stage({"name": "a", "input": "Any", "output": "Any", "effects": ["Pure"], **changes})
    assert caught.value.place == place


@pytest.mark.parametrize("text", ["", "[]", "null", '{"name": "a", "name": "b"}', b"\xff", "{}"])
def test_what_is_no_stage_is_refused(text: str | bytes) -> None:
    """A definition is read as strictly as a composition."""
    with pytest.raises(InvalidStage):
        parse_stage(text)
