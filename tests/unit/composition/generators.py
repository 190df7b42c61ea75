"""Hypothesis generators of compositions, types and JSON values; nothing here asserts."""

from hypothesis import strategies as st

from earmark.composition import types as t
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
from earmark.money import LARGEST_NANOS, Money

LARGEST = (1 << 53) - 1

texts = st.text(max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-LARGEST, LARGEST)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
money = st.integers(0, LARGEST_NANOS).map(Money.nanos)

plain_types = st.sampled_from([t.ANY, t.BOOL, t.BYTES, t.NULL, t.NUMBER, t.TEXT, t.VNODE])
bounds = st.none() | st.integers(-100, 100) | st.floats(-1e6, 1e6)
refinements = (
    st.builds(t.Range, bounds, bounds)
    | st.builds(t.OneOf, st.lists(values, max_size=3).map(tuple))
    | st.just(t.NonEmpty())
)


def _bigger_types(inner: st.SearchStrategy[t.NType]) -> st.SearchStrategy[t.NType]:
    fields = st.dictionaries(texts, inner, max_size=3)
    return st.one_of(
        inner.map(t.ListOf),
        inner.map(t.StreamOf),
        st.builds(t.MapOf, inner, inner),
        fields.map(t.Record),
        st.builds(t.RecordWith, fields, texts),
        st.lists(inner, max_size=3).map(tuple).map(t.Union),
        st.builds(t.Refined, inner, refinements),
    )


types = st.recursive(plain_types | texts.map(t.Var), _bigger_types, max_leaves=5)

references = st.text(min_size=1, max_size=8)
configs = st.none() | st.dictionaries(texts, values, max_size=3)
stages = st.builds(
    Stage, references, pinning=st.sampled_from(["signature", "both"]), config=configs
)
remotes = st.builds(
    RemoteStage,
    texts.map(lambda tail: f"https://example.org/{tail}"),
    input=types,
    output=types,
    cost=st.none() | money,
)


def many(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[tuple[Node, ...]]:
    """One to three nodes."""
    return st.lists(inner, min_size=1, max_size=3).map(tuple)


def named(inner: st.SearchStrategy[Node], least: int) -> st.SearchStrategy[dict[str, Node]]:
    """A few nodes by name."""
    return st.dictionaries(texts, inner, min_size=least, max_size=3)


def bigger(
    inner: st.SearchStrategy[Node], predicates: st.SearchStrategy[Node] | None = None
) -> st.SearchStrategy[Node]:
    """A node of one of the seven operators that have parts; any node is a predicate by default."""
    delays = st.none() | st.integers(0, 2)
    return st.one_of(
        many(inner).map(Sequential),
        named(inner, 1).map(Parallel),
        st.builds(
            Branch,
            predicate=inner if predicates is None else predicates,
            if_true=inner,
            if_false=inner,
        ),
        st.builds(Fanout, inner, many(inner)),
        st.builds(Merge, many(inner), inner),
        st.builds(Retry, inner, st.integers(1, 4), delay_ms=delays),
        st.builds(Let, named(inner, 0), inner),
    )


nodes: st.SearchStrategy[Node] = st.recursive(
    stages | remotes | values.map(Const), bigger, max_leaves=12
)
compositions = st.builds(Composition, description=texts, version=texts, root=nodes)
