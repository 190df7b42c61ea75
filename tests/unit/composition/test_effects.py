"""Effects: read, printed, ordered, and the price among them."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.composition.effects import (
    FALLIBLE,
    NETWORK,
    NON_DETERMINISTIC,
    PROCESS,
    PURE,
    UNKNOWN,
    CostEffect,
    Effect,
    EffectSet,
    FsRead,
    FsWrite,
    Llm,
    parse_author_effect,
    parse_effect,
    parse_effect_set,
)
from earmark.errors import InvalidComposition
from earmark.money import Money
from earmark.stages.stage import parse_stage
from unit.composition.generators import money, texts

simple = st.sampled_from([FALLIBLE, NETWORK, NON_DETERMINISTIC, PROCESS, PURE, UNKNOWN])
effects = st.one_of(
    simple, money.map(CostEffect), texts.map(FsRead), texts.map(FsWrite), texts.map(Llm)
)


@given(st.lists(effects))
def test_whatever_set_is_printed_reads_back_the_same(some: list[Effect]) -> None:
    """For any effects, the printed set reads as that set, in whatever order they were given."""
    made = EffectSet(some)
    assert parse_effect_set(made.to_json()) == made
    assert EffectSet(reversed(some)) == made


def test_effects_are_written_in_the_formats_order() -> None:
    """Prices first, then by name, so that identities agree with the format's."""
    shuffled = [UNKNOWN, PURE, PROCESS, NON_DETERMINISTIC, NETWORK, Llm("b"), Llm("a")]
    shuffled += [
        FsWrite("/w"),
        FsRead("/r"),
        FALLIBLE,
        CostEffect(Money("0.05")),
        CostEffect(Money("0.0005")),
    ]
    assert EffectSet(shuffled).to_json()["effects"] == [
        {"effect": "Cost", "usd": "0.0005"},
        {"effect": "Cost", "cents": 5},
        {"effect": "Fallible"},
        {"effect": "FsRead", "path": "/r"},
        {"effect": "FsWrite", "path": "/w"},
        {"effect": "Llm", "model": "a"},
        {"effect": "Llm", "model": "b"},
        {"effect": "Network"},
        {"effect": "NonDeterministic"},
        {"effect": "Process"},
        {"effect": "Pure"},
        {"effect": "Unknown"},
    ]


def test_paths_are_ordered_component_by_component() -> None:
    """As the format orders them: a path before what is in it, `..` before names."""
    ordered = ["", "/", "/..", "/a", "/a/b", "/a/b/c", "/a b", "/a-b", "/a.b", "/ab", "/é"]
    ordered += [".", "./a", "..", "a", "a/b", "a!"]
    made = EffectSet([*map(FsWrite, reversed(ordered)), *map(FsRead, reversed(ordered))])
    paths = [effect["path"] for effect in made.to_json()["effects"]]
    assert paths == ordered * 2


@pytest.mark.parametrize("same", ["/a//b", "/a/./b", "/a/b/", "//a/b", "/a/b/."])
def test_two_spellings_of_a_path_are_one_effect(same: str) -> None:
    """Only separators and dots differ: the set has it once, whichever comes first."""
    for paths in ([same, "/a/b"], ["/a/b", same]):
        (kept,) = EffectSet(map(FsRead, paths)).effects
        assert kept == FsRead(min(same, "/a/b"))
    assert len(EffectSet([FsRead(same), FsWrite(same)]).effects) == 2


def test_the_id_of_a_stage_with_several_paths_is_the_formats() -> None:
    """A stage whose paths stand in the format's order is not taken for a changed one."""
    effects = [{"effect": "FsRead", "path": path} for path in ("/a/b", "/a-b")]
    content: dict[str, object] = {
        "name": "s",
        "input": {"kind": "Text"},
        "output": {"kind": "Text"},
        "effects": {"effects": effects},
        "implementation_hash": "h",
    }
    identity = sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
    signature = {name: content[name] for name in content if name != "name"}
    parsed = parse_stage({"name": "s", "id": identity.hexdigest(), "signature": signature})
    assert parsed.stage_id == identity.hexdigest()


@pytest.mark.parametrize(
    ("listed", "cost"),
    [
        ([{"effect": "Pure"}], None),
        ([{"effect": "Cost", "cents": 5}], "0.05"),
        ([{"effect": "Cost", "cents": 5}, {"effect": "Cost", "cents": 3}], "0.08"),
        ([{"effect": "Cost", "cents": 5}, {"effect": "Cost", "usd": "0.0005"}], "0.0505"),
        ([{"effect": "Cost", "cents": 5}, {"effect": "Cost", "cents": 5}], "0.05"),
        ([{"effect": "Cost", "cents": 5}, {"effect": "Cost", "usd": "0.05"}], "0.05"),
        ([{"effect": "Cost", "cents": 0}], "0"),
    ],
)
def test_the_price_is_the_sum_of_the_cost_effects(
    listed: list[dict[str, object]], cost: str | None
) -> None:
    """5 and 3 cents are 8; equal ones are one effect of the set; no `Cost` is no price, not 0."""
    read = parse_effect_set({"effects": listed})
    assert read.cost == (None if cost is None else Money(cost))


def test_a_set_with_nothing_in_it_is_unknown_and_never_pure() -> None:
    """A stage that declares nothing may do anything."""
    assert EffectSet().names == {"unknown"}
    empty = parse_effect_set({"effects": []})
    assert empty.names == {"unknown"}
    assert not empty.is_pure
    assert empty.to_json() == {"effects": []}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "Pure",
        {},
        {"effect": "Prue"},
        {"effect": "pure"},
        {"effect": 1},
        {"effect": "Cost"},
        {"effect": "Cost", "cents": "5"},
        {"effect": "Cost", "cents": -5},
        {"effect": "Cost", "usd": 0.05},
        {"effect": "Llm"},
        {"effect": "FsRead"},
        {"effect": "FsWrite", "path": 3},
    ],
)
def test_an_effect_nobody_knows_is_refused(raw: object) -> None:
    """No effect is dropped in silence: a typo is refused, so is a price that is none."""
    with pytest.raises(InvalidComposition):
        parse_effect(raw, "/effects/0")


@pytest.mark.parametrize(
    ("raw", "effect"),
    [
        ("Pure", PURE),
        ("NonDeterministic", NON_DETERMINISTIC),
        ({"effect": "Cost", "usd": "0.0005"}, CostEffect(Money("0.0005"))),
        ({"effect": "Llm", "model": "m"}, Llm("m")),
    ],
)
def test_authors_may_name_an_effect_or_write_it_out(raw: object, effect: Effect) -> None:
    """An author's effect is a bare name or the format's object."""
    assert parse_author_effect(raw) == effect


@pytest.mark.parametrize("raw", ["Cost", "Llm", "FsRead", "FsWrite", "Prue", "", 3, None, []])
def test_a_name_that_says_too_little_is_refused(raw: object) -> None:
    """`"Cost"` without an amount is refused rather than read as free."""
    with pytest.raises(InvalidComposition):
        parse_author_effect(raw)
