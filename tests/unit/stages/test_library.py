"""The stage library: how references find the one stage they mean."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.composition.catalogue import Quote
from earmark.composition.effects import PURE, EffectSet
from earmark.composition.types import TEXT
from earmark.errors import InvalidStage, NotFound
from earmark.money import Money
from earmark.stages.library import LEAST_DIGITS, Declared, StageLibrary
from earmark.stages.stage import (
    Active,
    Deprecated,
    Draft,
    Lifecycle,
    StageSpec,
    Tombstone,
)


def stage(
    name: str, version: str = "1", lifecycle: Lifecycle | None = None, **more: Any
) -> Declared:
    """A pure stage; versions of one name are implementations of one signature."""
    return Declared(
        StageSpec(
            name=name,
            effects=EffectSet([PURE]),
            implementation_hash=version,
            lifecycle=lifecycle or Active(),
            **more,
        )
    )


def id_of(declared: Declared) -> str:
    """A stage's id."""
    return declared.spec.stage_id


def hint(library: StageLibrary[Declared], reference: str, **options: Any) -> str:
    """Why a reference finds nothing."""
    with pytest.raises(NotFound) as caught:
        library.resolve(reference, **options)
    assert caught.value.kind == "stage"
    assert caught.value.name == reference
    return caught.value.hint


MANY = [stage(f"stage {i}") for i in range(300)]
LIBRARY = StageLibrary(MANY)


@pytest.mark.parametrize("one", MANY[:20])
def test_a_stage_is_found_by_id_prefix_and_name(one: Declared) -> None:
    """A whole id, enough of its beginning, the signature's id and the name mean the stage."""
    spec = one.spec
    for reference in (spec.stage_id, spec.stage_id[:16], spec.signature_id, spec.name):
        assert LIBRARY.resolve(reference).stage is one
        assert LIBRARY.resolve(reference, pinning="both").stage is one


@given(st.sampled_from(MANY), st.integers(1, 64))
def test_a_prefix_means_a_stage_only_if_it_is_the_only_one(one: Declared, length: int) -> None:
    """However long a prefix is, it is that stage or it is refused."""
    prefix = id_of(one)[:length]
    if length < LEAST_DIGITS:
        assert "its first 8 digits or more" in hint(LIBRARY, prefix)
    else:
        assert LIBRARY.resolve(prefix).stage is one


def test_an_ambiguous_prefix_names_its_candidates() -> None:
    """A refusal of several tells their ids and names, and how many there are."""
    # Found by a search for two stages whose ids begin with the same eight digits.
    one, other = stage("s35174"), stage("s54363")
    prefix = id_of(one)[:LEAST_DIGITS]
    told = hint(StageLibrary([one, other]), prefix)
    assert "it may mean any of 2" in told
    for each in (one, other):
        assert f"{id_of(each)[:12]} ({each.spec.name})" in told
    assert StageLibrary([one, other]).resolve(id_of(one)[:12]).stage is one


def test_an_unknown_name_is_told_with_near_misses() -> None:
    """A typo gets the names it may have meant."""
    library = StageLibrary([stage("summarise"), stage("translate")])
    assert hint(library, "summarize") == "is it 'summarise'?"
    assert "name of one of 2 stages" in hint(library, "xyzzy")
    assert hint(StageLibrary[Declared](), "a") == "the library is empty"


def test_an_alias_is_a_name() -> None:
    """A stage is found by its other names too."""
    one = stage("text_length", aliases=("strlen",))
    assert StageLibrary([one]).resolve("strlen").stage is one


def test_a_name_of_two_different_stages_is_refused() -> None:
    """Two active stages of one name and different types are not chosen between."""
    library = StageLibrary([stage("clean"), stage("clean", input=TEXT)])
    assert "it may mean any of 2" in hint(library, "clean")


def test_an_active_stage_is_preferred_to_others_of_its_name() -> None:
    """Of several stages of one name, the one in use is meant."""
    old = stage("clean", lifecycle=Tombstone(), input=TEXT)
    new = stage("clean")
    assert (
        StageLibrary([old, new, stage("clean", lifecycle=Draft(), output=TEXT)])
        .resolve("clean")
        .stage
        is new
    )


@pytest.mark.parametrize("digits", [1, 6, 12])
def test_a_name_wins_over_the_beginning_of_an_id(digits: int) -> None:
    """A stage that is called like the beginning of another's id is meant by its name."""
    one = stage("one")
    named_like_it = stage(id_of(one)[:digits])
    library = StageLibrary([one, named_like_it])
    assert library.resolve(id_of(one)[:digits]).stage is named_like_it


@pytest.mark.parametrize("name", ["a", "b", "d", "add", "bad", "decade", "deadbeef"])
def test_a_name_of_hex_digits_is_a_name(name: str) -> None:
    """However many stages there are, and whatever their ids begin with."""
    one = stage(name)
    assert StageLibrary([*MANY, one]).resolve(name).stage is one


def test_a_new_implementation_replaces_the_old_one() -> None:
    """Pinned to the signature one gets the newest; pinned to both, exactly the old one."""
    old, new = stage("s", "1"), stage("s", "2")
    library = StageLibrary([old, new])
    assert library.lifecycle(id_of(old)) == Deprecated(id_of(new))
    for reference in ("s", id_of(old), old.spec.signature_id, id_of(old)[:20]):
        assert library.resolve(reference).stage is new
    exact = library.resolve(id_of(old), pinning="both")
    assert exact.stage is old
    assert "is deprecated: its successor is " + id_of(new)[:12] in exact.notes[0]


def test_a_replaced_stage_is_noted() -> None:
    """A reference that was moved on says so, for a warning in the plan."""
    old, new = stage("s", "1"), stage("s", "2")
    library = StageLibrary([old, new])
    assert library.get("s").notes == ()
    [note] = library.get(id_of(old)).notes
    assert note.endswith(f"is deprecated: {id_of(new)[:12]} runs instead")


def chain(length: int, last: Lifecycle) -> tuple[StageLibrary[Declared], list[Declared]]:
    """Stages of different names, each the successor of the one before."""
    stages = [stage(f"n{i}", lifecycle=Active()) for i in range(length + 1)]
    library = StageLibrary(stages)
    for one, successor in pairwise(stages):
        library.set_lifecycle(id_of(one), Deprecated(id_of(successor)))
    if not isinstance(last, Active):
        library.set_lifecycle(id_of(stages[-1]), last)
    return library, stages


@pytest.mark.parametrize("hops", [1, 2, 10])
def test_successors_are_followed(hops: int) -> None:
    """A deprecated stage's successor runs, also over several hops."""
    library, stages = chain(hops, Active())
    assert library.resolve("n0").stage is stages[-1]


def test_more_than_ten_successors_are_not_followed() -> None:
    """The eleventh hop is refused."""
    library, _ = chain(11, Active())
    assert "more than 10 successors" in hint(library, "n0")


def test_successors_in_a_circle_are_refused() -> None:
    """A deprecated stage that leads back to itself is refused, with the way it goes."""
    library, stages = chain(2, Deprecated(id_of(stage("n0"))))
    told = hint(library, "n1")
    assert "in a circle" in told
    assert [id_of(one)[:12] in told for one in stages] == [True, True, True]
    itself = stage("x")
    library = StageLibrary([itself])
    library.set_lifecycle(id_of(itself), Deprecated(id_of(itself)))
    assert "in a circle" in hint(library, "x")


def test_a_successor_that_is_not_here_is_refused() -> None:
    """A chain that leaves the library ends in a refusal."""
    library, _ = chain(1, Deprecated("f" * 64))
    assert "its successor is not here" in hint(library, "n0")


@pytest.mark.parametrize("pinning", ["signature", "both"])
@pytest.mark.parametrize(
    ("lifecycle", "why"), [(Draft(), "it is a draft"), (Tombstone(), "it is buried")]
)
def test_drafts_and_buried_stages_do_not_run(lifecycle: Lifecycle, why: str, pinning: Any) -> None:
    """A stage that is not for use is not found, however it is pinned."""
    one = stage("s", lifecycle=lifecycle)
    for reference in ("s", id_of(one)):
        assert why in hint(StageLibrary([one]), reference, pinning=pinning)


def test_a_stage_moves_through_its_life_one_way() -> None:
    """Draft to active, active to deprecated or buried; no other way."""
    one = stage("s", lifecycle=Draft())
    library = StageLibrary([one])
    with pytest.raises(InvalidStage, match="does not go from Draft to Tombstone"):
        library.set_lifecycle(id_of(one), Tombstone())
    library.set_lifecycle(id_of(one), Active())
    library.set_lifecycle(id_of(one), Tombstone())
    with pytest.raises(InvalidStage, match="does not go from Tombstone to Active"):
        library.set_lifecycle(id_of(one), Active())
    with pytest.raises(NotFound):
        library.set_lifecycle("0" * 64, Active())


def test_activating_a_draft_replaces_the_active_one() -> None:
    """There is never more than one active stage of a signature."""
    old, draft = stage("s", "1"), stage("s", "2", lifecycle=Draft())
    library = StageLibrary([old, draft])
    assert library.resolve("s").stage is old
    library.set_lifecycle(id_of(draft), Active())
    assert library.resolve("s").stage is draft
    assert library.lifecycle(id_of(old)) == Deprecated(id_of(draft))


def test_putting_the_same_stage_again_changes_nothing() -> None:
    """A stage is in the library once."""
    library = StageLibrary([stage("s"), stage("s")])
    assert len(library) == 1
    assert [one.spec.name for one in library] == ["s"]


def test_a_quote_may_depend_on_the_config() -> None:
    """What a stage costs is asked with the config of the node that names it."""

    def quoting(one: Declared, config: Any) -> Quote:
        assert one.spec.name == "s"
        return Quote(Money(), Money((config or {}).get("usd", "0.01")))

    library = StageLibrary([stage("s")], quoting=quoting)
    quotes = [library.get("s").quote, library.get("s", config={"usd": "2"}).quote]
    assert quotes == [Quote(Money(), Money("0.01")), Quote(Money(), Money(2))]


@given(st.text(max_size=70) | st.text("0123456789abcdefg", max_size=70))
def test_any_reference_is_found_or_refused_in_one_sentence(reference: str) -> None:
    """No reference, however odd, does anything but find a stage or raise `NotFound`."""
    try:
        LIBRARY.resolve(reference)
    except NotFound as error:
        assert "\n" not in str(error).replace(reference, "")  # noqa: PT017 - either is fine


def test_ten_thousand_stages_are_looked_up_at_once() -> None:
    """A large library answers by prefix without going through it."""
    many = [stage(f"s{i}") for i in range(10_000)]
    library = StageLibrary(many)
    for one in many:
        assert library.resolve(id_of(one)[:32]).stage is one
