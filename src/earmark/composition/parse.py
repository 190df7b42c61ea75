"""Reading compositions in the Noether JSON form, from text that nobody vouches for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from earmark.composition.ast import MAX_NESTING, Composition
from earmark.composition.document import Fields, invalid, is_object, load, shown
from earmark.composition.effects import parse_cost
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
    fold,
)
from earmark.composition.types import parse_type


def parse_composition(text: str | bytes) -> Composition:
    """Return the composition that *text* describes; keys nobody knows are ignored.

    Raises:
        InvalidComposition: With the place as a JSON pointer. At most 16 MiB are read and at most
            128 nodes may nest; a key twice in one object, NaN, integers of more than 53 bits and
            text that is not UTF-8 are refused, as is whatever a `Composition` refuses.
    """
    form = Fields.of(load(text), "", "a composition")
    description, version = form.text("description"), form.text("version")
    root = parse_node(form.need("root"), form.at("root"))
    return Composition(description=description, version=version, root=root)


def parse_node(raw: object, pointer: str = "/root") -> Node:
    """Return the node that a JSON value describes; *pointer* locates it.

    Raises:
        InvalidComposition: A value of the wrong shape; what the values may be is for `Composition`.
    """
    return fold(_Raw(raw, pointer, 1), _open)


@dataclass(frozen=True, slots=True)
class _Raw:
    """A JSON value that should be a node, where it stands and how deep."""

    value: Any
    pointer: str
    depth: int


_PartialNode = tuple[Sequence[_Raw], Callable[[Sequence[Node]], Node]]


@dataclass(frozen=True, slots=True)
class _GraphReader:
    """One operator's members, and its children still to be read."""

    form: Fields
    depth: int

    def child(self, name: str) -> _Raw:
        return _Raw(self.form.need(name), self.form.at(name), self.depth)

    def listed(self, name: str) -> list[_Raw]:
        return [_Raw(item, pointer, self.depth) for pointer, item in self.form.array(name)]

    def named(self, name: str) -> tuple[list[str], list[_Raw]]:
        inner = self.form.object(name)
        names = sorted(inner.members)
        return names, [_Raw(inner.members[key], inner.at(key), self.depth) for key in names]


def _open(raw: _Raw) -> _PartialNode:
    if raw.depth > MAX_NESTING:
        raise invalid(raw.pointer, f"nests deeper than {MAX_NESTING} nodes")
    form = Fields.of(raw.value, raw.pointer, "a node")
    op = form.text("op")
    if op not in _OPERATORS:
        raise invalid(
            form.at("op"), f"{shown(op)} is no operator: it is one of {', '.join(_OPERATORS)}"
        )
    return _OPERATORS[op](_GraphReader(form, raw.depth + 1))


def _stage(reader: _GraphReader) -> _PartialNode:
    form = reader.form
    config = form.members.get("config")
    if config is not None and not is_object(config):
        raise invalid(form.at("config"), f"'config' is an object, not {shown(config)}")
    node = Stage(form.text("id"), pinning=_pinning(form), config=config)
    return (), lambda _: node


def _pinning(form: Fields) -> Pinning:
    pinning = form.text("pinning", "signature")
    if pinning == "signature" or pinning == "both":  # noqa: PLR1714 - narrows the type
        return pinning
    raise invalid(form.at("pinning"), f"{shown(pinning)} is neither 'signature' nor 'both'")


def _remote(reader: _GraphReader) -> _PartialNode:
    form = reader.form
    cost = form.members.get("cost")
    node = RemoteStage(
        form.text("url"),
        input=parse_type(form.need("input"), form.at("input")),
        output=parse_type(form.need("output"), form.at("output")),
        cost=None if cost is None else parse_cost(form.object("cost")),
    )
    return (), lambda _: node


def _const(reader: _GraphReader) -> _PartialNode:
    node = Const(reader.form.need("value"))
    return (), lambda _: node


def _sequential(reader: _GraphReader) -> _PartialNode:
    return reader.listed("stages"), lambda kids: Sequential(tuple(kids))


def _parallel(reader: _GraphReader) -> _PartialNode:
    names, branches = reader.named("branches")
    return branches, lambda kids: Parallel(dict(zip(names, kids, strict=True)))


def _branch(reader: _GraphReader) -> _PartialNode:
    parts = [reader.child(name) for name in ("predicate", "if_true", "if_false")]
    return parts, lambda kids: Branch(predicate=kids[0], if_true=kids[1], if_false=kids[2])


def _fanout(reader: _GraphReader) -> _PartialNode:
    parts = [reader.child("source"), *reader.listed("targets")]
    return parts, lambda kids: Fanout(kids[0], tuple(kids[1:]))


def _merge(reader: _GraphReader) -> _PartialNode:
    parts = [*reader.listed("sources"), reader.child("target")]
    return parts, lambda kids: Merge(tuple(kids[:-1]), kids[-1])


def _retry(reader: _GraphReader) -> _PartialNode:
    form = reader.form
    attempts = form.whole_number("max_attempts")
    delay = None if form.members.get("delay_ms") is None else form.whole_number("delay_ms")
    build = partial(_make_retry, attempts, delay)
    return [reader.child("stage")], build


def _make_retry(attempts: int, delay: int | None, kids: Sequence[Node]) -> Node:
    return Retry(kids[0], attempts, delay_ms=delay)


def _let(reader: _GraphReader) -> _PartialNode:
    names, bindings = reader.named("bindings")
    parts = [*bindings, reader.child("body")]
    return parts, lambda kids: Let(dict(zip(names, kids[:-1], strict=True)), kids[-1])


_OPERATORS: dict[str, Callable[[_GraphReader], _PartialNode]] = {
    "Stage": _stage,
    "RemoteStage": _remote,
    "Const": _const,
    "Sequential": _sequential,
    "Parallel": _parallel,
    "Branch": _branch,
    "Fanout": _fanout,
    "Merge": _merge,
    "Retry": _retry,
    "Let": _let,
}
