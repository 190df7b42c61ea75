"""Compositions read from JSON and printed as JSON."""

import json
from pathlib import Path

import pytest
from hypothesis import given

from earmark.composition.ast import (
    Branch,
    Composition,
    Const,
    Fanout,
    Let,
    Merge,
    Parallel,
    RemoteStage,
    Retry,
    Sequential,
    Stage,
    children,
)
from earmark.composition.parse import parse_composition
from earmark.composition.types import ANY, TEXT
from earmark.money import Money
from unit.composition.generators import compositions

OWN = Path(__file__).parent / "graphs"
USERS = Path(__file__).parents[3] / "../shared/data/graphs"

TEN_OPERATORS = Let(
    {
        "limit": Const({"words": 200, "ratio": 0.5, "tags": ["a", None, True]}),
        "text": Stage("fetch"),
    },
    Sequential(
        (
            Parallel(
                {
                    "left": Stage("summarise", config={"max_words": 50}),
                    "right": Retry(Stage("criticise"), 3, delay_ms=500),
                }
            ),
            Branch(
                predicate=Stage("agree", pinning="both"),
                if_true=Fanout(Stage("outline"), (Stage("draft"), Stage("title"))),
                if_false=Merge(
                    (
                        Stage("argue_for"),
                        RemoteStage(
                            "https://example.org/stage/argue-against",
                            input=ANY,
                            output=TEXT,
                            cost=Money("0.0005"),
                        ),
                    ),
                    Stage("weigh"),
                ),
            ),
        )
    ),
)


def test_all_ten_operators_are_read() -> None:
    """A graph with every operator of the format becomes the nodes it describes."""
    read = parse_composition((OWN / "ten_operators.json").read_bytes())
    assert read == Composition(
        description="Every operator of the format once", version="0.1.0", root=TEN_OPERATORS
    )


@pytest.mark.parametrize("path", sorted(OWN.glob("*.json")), ids=lambda path: path.stem)
def test_a_printed_graph_has_the_identity_it_was_read_with(path: Path) -> None:
    """Printing a graph and reading it again keeps its id and its content."""
    first = parse_composition(path.read_bytes())
    again = parse_composition(first.to_json())
    assert (again.id, again) == (first.id, first)


def test_users_graphs_keep_their_identity() -> None:
    """Every graph of the users' corpus reads, prints and reads again to the same id."""
    if not USERS.is_dir():
        pytest.skip(f"no corpus of users' graphs at {USERS}")
    paths = sorted(USERS.glob("*.json"))
    assert paths
    for path in paths:
        first = parse_composition(path.read_bytes())
        assert parse_composition(first.to_json()).id == first.id, path.name


@given(compositions)
def test_whatever_is_printed_reads_back_the_same(composition: Composition) -> None:
    """For any composition, printing and reading gives an equal one with the same id."""
    again = parse_composition(composition.to_json())
    assert again == composition
    assert again.id == composition.id


@given(compositions)
def test_bytes_and_text_read_the_same(composition: Composition) -> None:
    """A composition may be given as text or as UTF-8 bytes."""
    text = composition.to_json()
    assert parse_composition(text.encode()) == parse_composition(text)


def test_notes_and_ui_are_ignored_and_do_not_count() -> None:
    """Keys nobody knows, at any level, change neither the nodes nor the id."""
    plain = {"description": "d", "version": "1", "root": {"op": "Stage", "id": "a"}}
    noted = {
        **plain,
        "ui": {"atoms": {"x": 1}},
        "root": {"op": "Stage", "id": "a", "_comment": "…", "_note": [1], "backoff": 3},
    }
    one, other = parse_composition(json.dumps(plain)), parse_composition(json.dumps(noted))
    assert one == other
    assert one.id == other.id


def test_fields_that_say_nothing_may_be_left_out_or_null() -> None:
    """No pinning, config and delay are the same as the default pinning and null."""
    short = {"op": "Retry", "stage": {"op": "Stage", "id": "a"}, "max_attempts": 2}
    stage = {"op": "Stage", "id": "a", "pinning": "signature", "config": None}
    whole = {"op": "Retry", "stage": stage, "max_attempts": 2, "delay_ms": None}
    ids = {
        parse_composition(json.dumps({"description": "", "version": "", "root": root})).id
        for root in (short, whole)
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ({"cents": 5}, "0.05"),
        ({"usd": "0.05"}, "0.05"),
        ({"usd": "0.0005"}, "0.0005"),
        ({"cents": 0}, "0"),
    ],
)
def test_a_remote_stage_may_declare_its_cost(cost: dict[str, object], expected: str) -> None:
    """A remote stage's cost is read from whole cents or from a decimal string of dollars."""
    any_ = {"kind": "Any"}
    root = {"op": "RemoteStage", "url": "http://h", "input": any_, "output": any_, "cost": cost}
    read = parse_composition(json.dumps({"description": "", "version": "", "root": root}))
    assert isinstance(read.root, RemoteStage)
    assert read.root.cost == Money(expected)


def test_the_labels_of_children_make_json_pointers() -> None:
    """A node's path is the pointer of its place under the root, names escaped."""
    tree = Parallel({"a/b": Let({"x~y": Const(1)}, Sequential((Stage("s"),)))})
    [(first, let)] = children(tree)
    labels = [label for label, _ in children(let)]
    assert first == "/branches/a~1b"
    assert labels == ["/bindings/x~0y", "/body"]
    assert [label for label, _ in children(children(let)[1][1])] == ["/stages/0"]
