"""The types of stages' inputs and outputs: structural, as the Noether composition format has them.

`{"kind": "Text"}`, `{"kind": "List", "value": …}`, `{"kind": "Record", "value": {"a": …}}`, ….
A union keeps the order it was written in, so that identities do too; `union()` makes a normal one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeGuard, assert_never, get_args

import rfc8785

from earmark.composition.document import (
    MAX_VALUE_DEPTH,
    Fields,
    check_value,
    invalid,
    is_array,
    shown,
)

PrimitiveKind = Literal["Any", "Bool", "Bytes", "Null", "Number", "Text", "VNode"]
_PRIMITIVE_KINDS: tuple[PrimitiveKind, ...] = get_args(PrimitiveKind)
#: In the order in which the format sorts the variants of a union.
_KINDS = (
    *("Any", "Bool", "Bytes", "List", "Map", "Null", "Number", "Record", "Stream", "Text"),
    *("Union", "VNode", "Var", "RecordWith", "Refined"),
)
_SHOWN = 200
_SHOWN_PARTS = 8


class _TypeText:
    """Types print as `Record{a: Text, b: List<Number>}`, cut where that grows long."""

    __slots__ = ()

    def __str__(self) -> str:
        text = _show(self)  # pyright: ignore[reportArgumentType] - every subclass is an NType
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@dataclass(frozen=True, slots=True)
class Primitive(_TypeText):
    """A type with no parts."""

    kind: PrimitiveKind


@dataclass(frozen=True, slots=True)
class ListOf(_TypeText):
    """An array."""

    item: "NType"


@dataclass(frozen=True, slots=True)
class StreamOf(_TypeText):
    """An array that arrives in pieces."""

    item: "NType"


@dataclass(frozen=True, slots=True)
class MapOf(_TypeText):
    """An object with any keys, all values of one type."""

    key: "NType"
    value: "NType"


@dataclass(frozen=True, slots=True)
class Record(_TypeText):
    """An object with at least these fields; one that may be null may be absent."""

    fields: "Mapping[str, NType]"


@dataclass(frozen=True, slots=True)
class RecordWith(_TypeText):
    """An object with these fields and others, which *rest* stands for."""

    fields: "Mapping[str, NType]"
    rest: str


@dataclass(frozen=True, slots=True)
class Union(_TypeText):
    """One of several types."""

    variants: "tuple[NType, ...]"


@dataclass(frozen=True, slots=True)
class Var(_TypeText):
    """A type nobody has named yet; fits everything."""

    name: str


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two bounds, both within."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of the listed JSON values."""

    options: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class NonEmpty:
    """A text, array or object with something in it."""


Refinement = Range | OneOf | NonEmpty


@dataclass(frozen=True, slots=True)
class Refined(_TypeText):
    """A type with a rule its values must obey."""

    base: "NType"
    refinement: Refinement


NType = Primitive | ListOf | StreamOf | MapOf | Record | RecordWith | Union | Var | Refined

ANY = Primitive("Any")
BOOL = Primitive("Bool")
BYTES = Primitive("Bytes")
NULL = Primitive("Null")
NUMBER = Primitive("Number")
TEXT = Primitive("Text")
VNODE = Primitive("VNode")


def parse_type(raw: object, pointer: str = "") -> NType:
    """Return the type that a JSON value in the format's form describes.

    Raises:
        InvalidComposition: Not a type, or nested deeper than 64; *pointer* is where *raw* stands.
    """
    return _parse(raw, pointer, 0)


def type_json(type_: NType) -> dict[str, Any]:
    """Return the type in the format's JSON form."""
    match type_:
        case Primitive(kind):
            return {"kind": kind}
        case ListOf(item):
            value: Any = type_json(item)
            kind = "List"
        case StreamOf(item):
            kind, value = "Stream", type_json(item)
        case MapOf():
            kind, value = "Map", {"key": type_json(type_.key), "value": type_json(type_.value)}
        case Record(fields):
            kind, value = "Record", _fields_json(fields)
        case RecordWith(fields, rest):
            kind, value = "RecordWith", {"fields": _fields_json(fields), "rest": rest}
        case Union(variants):
            kind, value = "Union", [type_json(variant) for variant in variants]
        case Var(name):
            kind, value = "Var", name
        case Refined(base, refinement):
            kind = "Refined"
            value = {"base": type_json(base), "refinement": _refinement_json(refinement)}
        case _:
            assert_never(type_)
    return {"kind": kind, "value": value}


def union(variants: Iterable[NType]) -> NType:
    """Return the normal union: flat, sorted, each variant once; of none Null, of one that one."""
    flat: dict[bytes, NType] = {}
    for variant in variants:
        for part in variant.variants if isinstance(variant, Union) else (variant,):
            flat[_sort_key(part)] = part
    ordered = [flat[key] for key in sorted(flat)]
    if len(ordered) == 1:
        return ordered[0]
    return Union(tuple(ordered)) if ordered else NULL


def record(**fields: NType) -> Record:
    """Return the record of these fields."""
    return Record(fields)


def is_nullable(type_: NType) -> bool:
    """Return whether null is a value of the type, so that a field of it may be absent."""
    match type_:
        case Primitive(kind):
            return kind in {"Any", "Null"}
        case Var():
            return True
        case Union(variants):
            return any(is_nullable(variant) for variant in variants)
        case _:
            return False


def _sort_key(type_: NType) -> bytes:
    # Kinds in the format's own order, then by content.
    form = type_json(type_)
    return bytes([_KINDS.index(form["kind"])]) + rfc8785.dumps(form)


def _fields_json(fields: Mapping[str, NType]) -> dict[str, Any]:
    return {name: type_json(fields[name]) for name in sorted(fields)}


def _refinement_json(refinement: Refinement) -> dict[str, Any]:
    match refinement:
        case Range(low, high):
            bounds = {"min": low, "max": high}
            return {"kind": "Range", **{k: v for k, v in bounds.items() if v is not None}}
        case OneOf(options):
            return {"kind": "OneOf", "options": list(options)}
        case NonEmpty():
            return {"kind": "NonEmpty"}
        case _:
            assert_never(refinement)


def _parse(raw: object, pointer: str, depth: int) -> NType:  # noqa: PLR0911 - one case a type
    if depth > MAX_VALUE_DEPTH:
        raise invalid(pointer, f"a type nests deeper than {MAX_VALUE_DEPTH}")
    form = Fields.of(raw, pointer, "a type")
    kind = form.text("kind")
    if _is_primitive(kind):
        return Primitive(kind)
    if kind not in _KINDS:
        raise invalid(
            form.at("kind"), f"{shown(kind)} is no type: it is one of {', '.join(_KINDS)}"
        )
    value, at = form.need("value"), form.at("value")
    match kind:
        case "List":
            return ListOf(_parse(value, at, depth + 1))
        case "Stream":
            return StreamOf(_parse(value, at, depth + 1))
        case "Record":
            return Record(_parse_fields(value, at, depth))
        case "Union":
            if not is_array(value):
                raise invalid(at, f"the variants of a union are an array, not {shown(value)}")
            parts = enumerate(value)
            return Union(tuple(_parse(part, f"{at}/{i}", depth + 1) for i, part in parts))
        case "Var":
            return Var(form.text("value"))
        case _:
            return _parse_compound(kind, form.object("value"), depth)


def _parse_compound(kind: str, value: Fields, depth: int) -> NType:
    match kind:
        case "Map":
            key = _parse(value.need("key"), value.at("key"), depth + 1)
            return MapOf(key, _parse(value.need("value"), value.at("value"), depth + 1))
        case "RecordWith":
            fields = _parse_fields(value.need("fields"), value.at("fields"), depth)
            return RecordWith(fields, value.text("rest"))
        case _:
            base = _parse(value.need("base"), value.at("base"), depth + 1)
            return Refined(base, _parse_refinement(value.object("refinement")))


def _parse_fields(raw: object, pointer: str, depth: int) -> dict[str, NType]:
    form = Fields.of(raw, pointer, "the fields of a record")
    names = sorted(form.members)
    return {name: _parse(form.members[name], form.at(name), depth + 1) for name in names}


def _parse_refinement(form: Fields) -> Refinement:
    match form.text("kind"):
        case "Range":
            return Range(_parse_bound(form, "min"), _parse_bound(form, "max"))
        case "OneOf":
            options = form.array("options")
            for pointer, option in options:
                check_value(option, pointer)
            return OneOf(tuple(option for _, option in options))
        case "NonEmpty":
            return NonEmpty()
        case kind:
            known = "Range, OneOf or NonEmpty"
            raise invalid(form.at("kind"), f"{shown(kind)} is no refinement: it is {known}")


def _parse_bound(form: Fields, name: str) -> float | None:
    value = form.members.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(form.at(name), f"'{name}' is a number, not {shown(value)}")
    check_value(value, form.at(name))
    return value


def _is_primitive(kind: str) -> TypeGuard[PrimitiveKind]:
    return kind in _PRIMITIVE_KINDS


def _show(type_: NType) -> str:  # noqa: PLR0911 - one case a type
    match type_:
        case Primitive(kind):
            return kind
        case ListOf(item):
            return f"List<{item}>"
        case StreamOf(item):
            return f"Stream<{item}>"
        case MapOf(key, value):
            return f"Map<{key}, {value}>"
        case Record(fields):
            return f"Record{{{_show_fields(fields)}}}"
        case RecordWith(fields, rest):
            return f"Record{{{_show_fields(fields)}, …{rest}}}"
        case Union(variants):
            return _join(" | ", variants)
        case Var(name):
            return name
        case Refined(base, refinement):
            return f"{base} ({_show_refinement(refinement)})"
        case _:
            assert_never(type_)


def _show_fields(fields: Mapping[str, NType]) -> str:
    return _join(
        ", ", [f"{name}: {type_}" for name, type_ in islice(fields.items(), _SHOWN_PARTS + 1)]
    )


def _join(separator: str, parts: Sequence[object]) -> str:
    # A few say enough: a hostile type has thousands.
    more = "…" if len(parts) > _SHOWN_PARTS else ""
    return separator.join(str(part) for part in parts[:_SHOWN_PARTS]) + more


def _show_refinement(refinement: Refinement) -> str:
    match refinement:
        case Range(low, high):
            return f"{'' if low is None else low}..{'' if high is None else high}"
        case OneOf(options):
            return "one of " + _join(
                ", ", [shown(option) for option in options[: _SHOWN_PARTS + 1]]
            )
        case NonEmpty():
            return "not empty"
        case _:
            assert_never(refinement)
