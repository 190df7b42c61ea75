"""The canonical form of a graph, and the identity it gives."""

import hashlib

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
)
from earmark.composition.canonical import canonicalise, composition_id
from earmark.composition.types import ANY, TEXT
from earmark.money import Money
from unit.composition.generators import compositions, nodes

A, B, C = Stage("a"), Stage("b"), Stage("c")


def identity(text: str) -> str:
    """The id whose canonical bytes are these."""
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("root", "text"),
    [
        (A, '{"id":"a","op":"Stage"}'),
        (Stage("a", pinning="both"), '{"id":"a","op":"Stage","pinning":"both"}'),
        (Stage("a", config={}), '{"config":{},"id":"a","op":"Stage"}'),
        (
            Stage("a", config={"z": 1.0, "é": 1e21, "a": [0.1, -0.0, 100]}),
            '{"config":{"a":[0.1,0,100],"z":1,"é":1e+21},"id":"a","op":"Stage"}',
        ),
        (Const(None), '{"op":"Const","value":null}'),
        (Const("\u2028\x00\n/"), '{"op":"Const","value":"\u2028\\u0000\\n/"}'),
        (
            Retry(A, 2),
            '{"delay_ms":null,"max_attempts":2,"op":"Retry","stage":{"id":"a","op":"Stage"}}',
        ),
        (
            Parallel({"b": A, "B": Const(1)}),
            '{"branches":{"B":{"op":"Const","value":1},"b":{"id":"a","op":"Stage"}},"op":"Parallel"}',
        ),
        (
            RemoteStage("http://h", input=ANY, output=TEXT),
            '{"input":{"kind":"Any"},"op":"RemoteStage","output":{"kind":"Text"},"url":"http://h"}',
        ),
    ],
)
def test_the_id_is_the_hash_of_the_canonical_bytes(root: Node, text: str) -> None:
    """The id is the SHA-256 of the root alone in RFC 8785 form, defaults left out."""
    assert Composition(description="any", version="any", root=root).id == identity(text)


def test_the_identity_of_a_known_graph_does_not_change() -> None:
    """A stored id means the same graph in every version."""
    graph = Sequential((A, Retry(B, 3, delay_ms=500)))
    expected = "6f104aaea271e7ea405c219b1e6dd671abf3326da25f679326a7589abbd491d1"
    assert composition_id(graph) == expected


def test_a_price_on_a_remote_stage_is_part_of_the_identity() -> None:
    """Graphs that may spend differently are different; without a price nothing is added."""
    free = RemoteStage("http://h", input=ANY, output=ANY)
    dear = RemoteStage("http://h", input=ANY, output=ANY, cost=Money("0.05"))
    assert composition_id(free) != composition_id(dear)
    assert composition_id(dear) == identity(
        '{"cost":{"cents":5},"input":{"kind":"Any"},"op":"RemoteStage",'
        '"output":{"kind":"Any"},"url":"http://h"}'
    )


LAWS: list[tuple[Node, Node]] = [
    (Sequential((A,)), A),
    (Sequential((Sequential((A, B)), C)), Sequential((A, B, C))),
    (Sequential((A, Sequential((B, C)))), Sequential((A, B, C))),
    (Sequential((Sequential((Sequential((A,)),)),)), A),
    (Sequential((Sequential((A, Sequential((B, C)))), Sequential((A,)))), Sequential((A, B, C, A))),
    (Retry(A, 1, delay_ms=500), A),
    (Retry(A, 0), A),
    (Retry(Retry(A, 3, delay_ms=100), 4, delay_ms=100), Retry(A, 12, delay_ms=100)),
    (Retry(Retry(A, 3), 4), Retry(A, 12)),
    (Retry(Retry(Retry(A, 2), 3), 4), Retry(A, 24)),
    (Retry(Retry(Retry(A, 2), 1, delay_ms=9), 4), Retry(A, 8)),
    (Retry(Retry(A, 100_000), 100_000), Retry(A, (1 << 32) - 1)),
    (
        Retry(Retry(A, 3, delay_ms=100), 4, delay_ms=200),
        Retry(Retry(A, 3, delay_ms=100), 4, delay_ms=200),
    ),
    (Retry(Retry(A, 3, delay_ms=0), 4), Retry(Retry(A, 3, delay_ms=0), 4)),
    (Let({}, A), A),
    (Let({"x": Sequential((B,))}, A), Let({"x": B}, A)),
    (Sequential((Retry(A, 1), Let({}, Sequential((B, C))))), Sequential((A, B, C))),
    (Parallel({"x": Sequential((A,))}), Parallel({"x": A})),
    (
        Branch(predicate=Sequential((A,)), if_true=Retry(B, 1), if_false=Let({}, C)),
        Branch(predicate=A, if_true=B, if_false=C),
    ),
    (Fanout(Sequential((A,)), (Retry(B, 1), C)), Fanout(A, (B, C))),
    (Merge((Sequential((A,)), B), Let({}, C)), Merge((A, B), C)),
    (Sequential((A, Const(1))), Sequential((A, Const(1)))),
]


@pytest.mark.parametrize(("graph", "canonical"), LAWS)
def test_equivalent_graphs_have_one_form_and_one_identity(graph: Node, canonical: Node) -> None:
    """The format's laws: what means the same is the same, and nothing more is."""
    assert canonicalise(graph) == canonical
    assert composition_id(graph) == composition_id(canonical)


@given(nodes)
def test_the_canonical_form_is_its_own(node: Node) -> None:
    """Making the canonical form canonical changes nothing."""
    once = canonicalise(node)
    assert canonicalise(once) == once


@given(nodes, nodes, nodes)
def test_sequences_are_associative(a: Node, b: Node, c: Node) -> None:
    """However a sequence is grouped, it is one graph."""
    ids = {
        composition_id(Sequential((Sequential((a, b)), c))),
        composition_id(Sequential((a, Sequential((b, c))))),
        composition_id(Sequential((a, b, c))),
    }
    assert len(ids) == 1


@given(nodes, st.integers(2, 5), st.integers(2, 5), st.none() | st.integers(0, 3))
def test_nested_retries_with_one_delay_multiply(
    node: Node, inner: int, outer: int, delay: int | None
) -> None:
    """Retrying a retry with the same delay is one retry of the product."""
    nested = Retry(Retry(node, inner, delay_ms=delay), outer, delay_ms=delay)
    assert composition_id(nested) == composition_id(Retry(node, inner * outer, delay_ms=delay))


@given(nodes)
def test_wrappers_that_do_nothing_do_not_count(node: Node) -> None:
    """A sequence of one, one attempt and a binding of nothing leave the identity as it was."""
    wrapped = Sequential((Retry(Let({}, node), 1, delay_ms=3),))
    assert composition_id(wrapped) == composition_id(node)


@given(compositions, st.text(max_size=5))
def test_description_and_version_do_not_count(composition: Composition, text: str) -> None:
    """Only the root decides the identity."""
    other = Composition(description=text, version=text, root=composition.root)
    assert other.id == composition.id


def test_the_order_of_targets_and_of_arms_counts() -> None:
    """Graphs that run something else are something else."""
    different = [
        Fanout(A, (B, C)),
        Fanout(A, (C, B)),
        Merge((A, B), C),
        Merge((B, A), C),
        Branch(predicate=A, if_true=B, if_false=C),
        Branch(predicate=A, if_true=C, if_false=B),
        Sequential((A, B)),
        Sequential((B, A)),
        Retry(A, 2),
        Retry(A, 2, delay_ms=0),
        Stage("a", config={}),
        Stage("a", pinning="both"),
        A,
    ]
    assert len({composition_id(node) for node in different}) == len(different)
