"""How values flow through the operators, in types: what a node takes, gives and hands to its parts.

The rules are the runner's: `Parallel` routes `input[name]` where there is such a field, `Merge`
routes `input["source_i"]`, both arms of a `Branch` get its input, a `Let` overlays its bindings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from earmark.composition.catalogue import Signature
from earmark.composition.nodes import (
    Branch,
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
from earmark.composition.subtype import accepts_objects, fits_all, meet, validate
from earmark.composition.types import (
    ANY,
    NULL,
    ListOf,
    MapOf,
    NType,
    Primitive,
    Record,
    RecordWith,
    Refined,
    StreamOf,
    Union,
    Var,
    is_nullable,
    union,
)

#: Inferred types nest at most so deep, and unions have at most so many variants; beyond, `Any`.
MAX_DEPTH = 32
MAX_VARIANTS = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """What a node takes and gives; an input of None is one that no value can be."""

    input: NType | None
    output: NType
    depth: int = 0
    """How deep the output's type was built here."""


@dataclass(frozen=True, slots=True)
class StageInput:
    """What a stage still takes from its input once its config is laid over it."""

    type: NType
    problems: tuple[str, ...] = ()


def shape_of(  # noqa: C901, PLR0911 - one case an operator
    node: Node, signature: Signature | None, kids: Sequence[Shape]
) -> Shape:
    """Return a node's shape from those of its children, in the order of `nodes.children`."""
    inputs = [kid.input or ANY for kid in kids]
    match node:
        case Stage():
            if signature is None:
                return Shape(ANY, ANY)
            return Shape(stage_input(signature.input, node.config).type, signature.output)
        case RemoteStage():
            return Shape(node.input, node.output)
        case Const():
            return Shape(ANY, ANY)
        case Sequential():
            return Shape(inputs[0], kids[-1].output, kids[-1].depth)
        case Parallel(branches):
            output = Record({name: kid.output for name, kid in zip(branches, kids, strict=True)})
            return _built(_branches_input(list(branches), inputs), output, kids)
        case Branch():
            output = _joined([kids[1].output, kids[2].output])
            return Shape(_meet_all(inputs), output, max(kids[1].depth, kids[2].depth))
        case Fanout():
            output = ListOf(_joined([kid.output for kid in kids[1:]]))
            return _built(inputs[0], output, kids[1:])
        case Merge(sources):
            names = [f"source_{i}" for i in range(len(sources))]
            routed = _sources_input(names, inputs[:-1])
            return Shape(routed, kids[-1].output, kids[-1].depth)
        case Retry():
            return kids[0]
        case Let(bindings):
            rest = _unbound(inputs[-1], bindings)
            return Shape(_meet_all([*inputs[:-1], rest]), kids[-1].output, kids[-1].depth)
        case _:
            assert_never(node)


def child_inputs(  # noqa: PLR0911 - one case an operator
    node: Node, input_type: NType, outputs: Sequence[NType]
) -> list[NType]:
    """Return what each child is given, from what the children give, in the order of `children`."""
    match node:
        case Stage() | RemoteStage() | Const():
            return []
        case Sequential():
            return [input_type, *outputs[:-1]]
        case Parallel(branches):
            return [_routed(input_type, name, input_type) for name in branches]
        case Branch():
            return [input_type, input_type, input_type]
        case Fanout(_, targets):
            return [input_type, *[outputs[0]] * len(targets)]
        case Merge(sources):
            names = [f"source_{i}" for i in range(len(sources))]
            fed = Record(dict(zip(names, outputs, strict=False)))
            return [*(_routed(input_type, name, NULL) for name in names), fed]
        case Retry():
            return [input_type]
        case Let(bindings):
            bound = dict(zip(bindings, outputs, strict=False))
            return [*[input_type] * len(bound), _overlaid(input_type, bound)]
        case _:
            assert_never(node)


def stage_input(declared: NType, config: Mapping[str, Any] | None) -> StageInput:
    """Return what is left to give to a stage whose config supplies some of its fields.

    Where at most one required field is left, any value will do: one that is no object is given to
    the stage as that field.
    """
    if config is None:
        return StageInput(declared)
    if not accepts_objects(declared):
        return StageInput(ANY, (f"has a config, but takes {declared}, which has no fields",))
    if not isinstance(declared, Record | RecordWith):
        return StageInput(ANY)
    problems = [
        f"its config is wrong: {problem}"
        for name, value in config.items()
        if name in declared.fields
        for problem in validate(value, declared.fields[name], f"/{name}")
    ]
    left = {name: type_ for name, type_ in declared.fields.items() if name not in config}
    required = [name for name, type_ in left.items() if not is_nullable(type_)]
    return StageInput(Record(left) if len(required) > 1 else ANY, tuple(problems))


def _built(input_: NType | None, output: NType, kids: Sequence[Shape]) -> Shape:
    depth = 1 + max(kid.depth for kid in kids)
    return Shape(input_, output, depth) if depth <= MAX_DEPTH else Shape(input_, ANY)


def _joined(types: Sequence[NType]) -> NType:
    if any(fits_all(type_) for type_ in types):
        return ANY
    joined = union(types)
    too_wide = isinstance(joined, Union) and len(joined.variants) > MAX_VARIANTS
    return ANY if too_wide else joined


def _meet_all(types: Sequence[NType]) -> NType | None:
    shared: NType | None = ANY
    for type_ in types:
        shared = None if shared is None else meet(shared, type_)
    return shared


def _branches_input(names: Sequence[str], inputs: Sequence[NType]) -> NType:
    """What fits branches that each take their own field of the input, or all of it without one.

    A branch that takes objects may find its field in one or take it whole, so nothing can be asked
    of an object there; one that takes none needs its field in it.
    """
    needed = {n: t for n, t in zip(names, inputs, strict=True) if not accepts_objects(t)}
    return _fields_or_whole(Record(needed), inputs)


def _sources_input(names: Sequence[str], inputs: Sequence[NType]) -> NType:
    """What fits sources that each take their own field of an object, or all of what is none."""
    return _fields_or_whole(Record(dict(zip(names, inputs, strict=True))), inputs)


def _fields_or_whole(fields: Record, inputs: Sequence[NType]) -> NType:
    """These fields, or a value that is no object and fits every part as a whole."""
    parts = [_no_object(type_) for type_ in inputs]
    known = [part for part in parts if part is not None]
    whole = _meet_all(known) if len(known) == len(parts) else None
    return fields if whole is None else _joined([fields, whole])


def _no_object(type_: NType) -> NType | None:
    """The type without its objects, None where nothing is left; `Any` asks for nothing anyway."""
    if fits_all(type_) or not accepts_objects(type_):
        return type_
    variants = type_.variants if isinstance(type_, Union) else ()
    left = [variant for variant in variants if not accepts_objects(variant)]
    return union(left) if left else None


def _unbound(body: NType, bindings: Mapping[str, Node]) -> NType:
    if not isinstance(body, Record | RecordWith):
        return ANY
    fields = {
        name: type_
        for name, type_ in body.fields.items()
        if name not in bindings and not is_nullable(type_)
    }
    return Record(fields) if fields else ANY


def _routed(  # noqa: PLR0911 - one case a type
    input_type: NType, name: str, absent: NType
) -> NType:
    """What a part named *name* gets of an input; *absent* is what an object without it gives."""
    match input_type:
        case Record(fields):
            return fields.get(name, absent)
        case RecordWith(fields):
            return fields.get(name, ANY)
        case Union(variants):
            return _joined(
                [_routed(v, name, v if absent is input_type else absent) for v in variants]
            )
        case Refined(base):
            return _routed(base, name, absent)
        case MapOf() | Var():
            return ANY
        case Primitive(kind):
            return ANY if kind in {"Any", "VNode"} else input_type
        case ListOf() | StreamOf():
            return input_type
        case _:
            assert_never(input_type)


def _overlaid(input_type: NType, bound: Mapping[str, NType]) -> NType:
    """What a `Let` gives its body: the fields of its input, if any, under its bindings."""
    match input_type:
        case Record(fields):
            return Record({**fields, **bound})
        case RecordWith(fields, rest):
            return RecordWith({**fields, **bound}, rest)
        case Refined(base):
            return _overlaid(base, bound)
        case _:
            return RecordWith(bound, "") if accepts_objects(input_type) else Record(bound)
