"""The ten operators of a composition, and how to walk them without recursion.

A node is an immutable value. Its *path* is the labels from the root to it joined: `/stages/0`,
`/branches/left`; the root's path is empty. Walks are loops, never recursion, so that neither the
depth of a graph nor that of its caller's stack matters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, assert_never

from earmark.composition.pointer import escape
from earmark.composition.types import NType
from earmark.money import Money

#: How a reference is resolved: the newest active stage of that signature, or exactly that stage.
Pinning = Literal["signature", "both"]


@dataclass(frozen=True, slots=True)
class Stage:
    """Run one stage of the library; the only node whose work is done here."""

    id: str
    pinning: Pinning = field(default="signature", kw_only=True)
    config: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """Fields laid over the input, in place of the ones it has."""


@dataclass(frozen=True, slots=True)
class RemoteStage:
    """Call another host with the input; its types and its cost are what the graph declares."""

    url: str
    input: NType = field(kw_only=True)
    output: NType = field(kw_only=True)
    cost: Money | None = field(default=None, kw_only=True)
    """The most one call can cost; our addition: `{"usd": "0.05"}` or `{"cents": 5}`."""


@dataclass(frozen=True, slots=True)
class Const:
    """Give *value*, whatever the input is."""

    value: Any


@dataclass(frozen=True, slots=True)
class Sequential:
    """Feed each stage's output to the next."""

    stages: "tuple[Node, ...]"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))


@dataclass(frozen=True, slots=True)
class Parallel:
    """Run every branch on `input[name]`, or on the whole input where it has no such field."""

    branches: "Mapping[str, Node]"

    def __post_init__(self) -> None:
        object.__setattr__(self, "branches", _sorted(self.branches))


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Run one of two arms on the input, as the predicate says of it."""

    predicate: "Node"
    if_true: "Node"
    if_false: "Node"


@dataclass(frozen=True, slots=True)
class Fanout:
    """Run every target on the source's output; gives the list of their outputs."""

    source: "Node"
    targets: "tuple[Node, ...]"

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))


@dataclass(frozen=True, slots=True)
class Merge:
    """Run source *i* on `input["source_i"]`; feed the record of their outputs to the target."""

    sources: "tuple[Node, ...]"
    target: "Node"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))


@dataclass(frozen=True, slots=True)
class Retry:
    """Run the stage until it succeeds, at most *max_attempts* times."""

    stage: "Node"
    max_attempts: int
    delay_ms: int | None = field(default=None, kw_only=True)
    """Milliseconds between two attempts."""


@dataclass(frozen=True, slots=True)
class Let:
    """Run the bindings on the input, then the body on the input overlaid with their outputs."""

    bindings: "Mapping[str, Node]"
    body: "Node"

    def __post_init__(self) -> None:
        object.__setattr__(self, "bindings", _sorted(self.bindings))


Node = Stage | RemoteStage | Const | Sequential | Parallel | Branch | Fanout | Merge | Retry | Let

S = TypeVar("S")
T = TypeVar("T")


def children(node: Node) -> tuple[tuple[str, Node], ...]:  # noqa: PLR0911 - one case an operator
    """Return the node's children in document order, each with its label (a JSON pointer's part)."""
    match node:
        case Stage() | RemoteStage() | Const():
            return ()
        case Sequential(stages):
            return tuple((f"/stages/{i}", child) for i, child in enumerate(stages))
        case Parallel(branches):
            return tuple((f"/branches/{escape(name)}", child) for name, child in branches.items())
        case Branch():
            return (
                ("/predicate", node.predicate),
                ("/if_true", node.if_true),
                ("/if_false", node.if_false),
            )
        case Fanout(source, targets):
            many = tuple((f"/targets/{i}", child) for i, child in enumerate(targets))
            return (("/source", source), *many)
        case Merge(sources, target):
            many = tuple((f"/sources/{i}", child) for i, child in enumerate(sources))
            return (*many, ("/target", target))
        case Retry(stage):
            return (("/stage", stage),)
        case Let(bindings, body):
            many = tuple((f"/bindings/{escape(name)}", child) for name, child in bindings.items())
            return (*many, ("/body", body))
        case _:
            assert_never(node)


def with_children(  # noqa: PLR0911 - one case an operator
    node: Node, kids: Sequence[Node]
) -> Node:
    """Return the node with other children, given in the order of `children`."""
    match node:
        case Stage() | RemoteStage() | Const():
            return node
        case Sequential():
            return Sequential(tuple(kids))
        case Parallel(branches):
            return Parallel(dict(zip(branches, kids, strict=True)))
        case Branch():
            return Branch(predicate=kids[0], if_true=kids[1], if_false=kids[2])
        case Fanout():
            return Fanout(kids[0], tuple(kids[1:]))
        case Merge():
            return Merge(tuple(kids[:-1]), kids[-1])
        case Retry():
            return Retry(kids[0], node.max_attempts, delay_ms=node.delay_ms)
        case Let(bindings):
            return Let(dict(zip(bindings, kids[:-1], strict=True)), kids[-1])
        case _:
            assert_never(node)


def fold(root: S, expand: Callable[[S], tuple[Sequence[S], Callable[[Sequence[T]], T]]]) -> T:
    """Return what a tree amounts to: *expand* gives an item's children and how to combine them.

    Items are expanded from the root down in document order, and combined from the leaves up in the
    reverse of it. A loop: time and memory are linear in the items, and depth costs no stack.
    """
    opened: list[tuple[int, Callable[[Sequence[T]], T]]] = []
    waiting = [root]
    while waiting:
        kids, combine = expand(waiting.pop())
        opened.append((len(kids), combine))
        if kids:
            waiting.extend(reversed(kids))
    done: list[T] = []
    for count, combine in reversed(opened):
        if not count:
            done.append(combine(()))
            continue
        parts = done[len(done) - count :][::-1]
        del done[len(done) - count :]
        done.append(combine(parts))
    return done[0]


def _sorted(named: "Mapping[str, Node]") -> "dict[str, Node]":
    # The format keeps names in the order of their code points, which is that of Python's strings.
    return {name: named[name] for name in sorted(named)}
