"""A composition: a graph of stages with a description, checked to be well formed when it is made.

The nodes themselves are in `nodes`; they are named here too, as the package's face.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from earmark.composition.canonical import composition_id, node_json
from earmark.composition.document import (
    MAX_VALUE_DEPTH,
    check_value,
    invalid,
    is_whole_number,
    shown,
)
from earmark.composition.nodes import (
    Branch,
    Const,
    Fanout,
    Let,
    Merge,
    Node,
    Parallel,
    Pinning,
    RemoteStage,
    Retry,
    Sequential,
    Stage,
    children,
    fold,
)
from earmark.composition.types import type_json
from earmark.money import LARGEST_NANOS

__all__ = [
    "MAX_ATTEMPTS",
    "MAX_NESTING",
    "Branch",
    "Composition",
    "Const",
    "Fanout",
    "Let",
    "Merge",
    "Node",
    "Parallel",
    "Pinning",
    "RemoteStage",
    "Retry",
    "Sequential",
    "Stage",
    "children",
    "fold",
]


#: How many nodes deep a composition may nest.
MAX_NESTING: Final = 128
#: The most attempts one `Retry` may ask for.
MAX_ATTEMPTS: Final = 1000
#: The longest delay between two attempts: a day, in milliseconds.
MAX_DELAY_MS: Final = 86_400_000
#: The longest reference to a stage: an id has 64 digits, a name should be shorter.
MAX_REFERENCE: Final = 256

_PLACE = "/root"


@dataclass(frozen=True, slots=True)
class Composition:
    """A well formed graph of stages; immutable, with an identity of its own.

    Raises:
        InvalidComposition: Nested deeper than 128 nodes, an operator with nothing in it, attempts
            or delays out of range, or a value JSON cannot carry. The place is a JSON pointer into
            the document that `to_json` would print.
    """

    description: str = field(kw_only=True)
    version: str = field(default="0.1.0", kw_only=True)
    root: Node = field(kw_only=True)
    _id: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_value(self.description, "/description")
        check_value(self.version, "/version")
        _inspect(self.root)

    @property
    def id(self) -> str:
        """The composition_id: the SHA-256 of the canonical root, which alone decides it."""
        if not self._id:
            object.__setattr__(self, "_id", composition_id(self.root))
        return self._id

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the document as JSON, on one line if *indent* is `None`; it keeps its id."""
        form = {"description": self.description, "version": self.version}
        document = {**form, "root": node_json(self.root)}
        return json.dumps(document, indent=indent, ensure_ascii=False)


def _inspect(root: Node) -> None:
    waiting = [(_PLACE, root, 1)]
    while waiting:
        pointer, node, depth = waiting.pop()
        if depth > MAX_NESTING:
            raise invalid(pointer, f"nests deeper than {MAX_NESTING} nodes")
        _inspect_node(node, pointer)
        kids = children(node)
        waiting.extend((pointer + label, child, depth + 1) for label, child in reversed(kids))


def _inspect_node(node: Node, pointer: str) -> None:  # noqa: C901 - one case an operator
    match node:
        case Stage():
            _inspect_stage(node, pointer)
        case RemoteStage():
            _inspect_remote(node, pointer)
        case Const(value):
            check_value(value, f"{pointer}/value")
        case Sequential(stages):
            _inspect_many(stages, pointer, "stages")
        case Parallel(branches):
            _inspect_many(branches, pointer, "branches")
            check_value(list(branches), f"{pointer}/branches")
        case Fanout(_, targets):
            _inspect_many(targets, pointer, "targets")
        case Merge(sources):
            _inspect_many(sources, pointer, "sources")
        case Retry():
            _inspect_retry(node, pointer)
        case Let(bindings):
            check_value(list(bindings), f"{pointer}/bindings")
        case Branch():
            pass


def _inspect_stage(node: Stage, pointer: str) -> None:
    check_value(node.id, f"{pointer}/id")
    if not 0 < len(node.id) <= MAX_REFERENCE:
        raise invalid(f"{pointer}/id", f"a stage's id or name has 1 to {MAX_REFERENCE} characters")
    if node.pinning not in {"signature", "both"}:
        raise invalid(
            f"{pointer}/pinning", f"{shown(node.pinning)} is neither 'signature' nor 'both'"
        )
    check_value(node.config, f"{pointer}/config")


def _inspect_remote(node: RemoteStage, pointer: str) -> None:
    check_value(node.url, f"{pointer}/url")
    if not node.url.startswith(("http://", "https://")):
        raise invalid(f"{pointer}/url", "a remote stage is called by http:// or https://")
    if node.cost is not None and not 0 <= node.cost.in_nanos <= LARGEST_NANOS:
        raise invalid(f"{pointer}/cost", f"{node.cost} USD is no price")
    # A type's JSON has up to three levels for each of its own.
    check_value(type_json(node.input), f"{pointer}/input", deepest=4 * MAX_VALUE_DEPTH)
    check_value(type_json(node.output), f"{pointer}/output", deepest=4 * MAX_VALUE_DEPTH)


def _inspect_many(many: Sequence[Node] | Mapping[str, Node], pointer: str, name: str) -> None:
    if not many:
        raise invalid(f"{pointer}/{name}", f"'{name}' is empty: it needs at least one node")


def _inspect_retry(node: Retry, pointer: str) -> None:
    if not is_whole_number(node.max_attempts) or not 1 <= node.max_attempts <= MAX_ATTEMPTS:
        attempts = shown(node.max_attempts)
        raise invalid(
            f"{pointer}/max_attempts", f"{attempts} attempts: it takes 1 to {MAX_ATTEMPTS:,}"
        )
    delay = node.delay_ms
    if delay is not None and (not is_whole_number(delay) or not 0 <= delay <= MAX_DELAY_MS):
        raise invalid(f"{pointer}/delay_ms", f"{shown(delay)} ms: it takes 0 to {MAX_DELAY_MS:,}")
