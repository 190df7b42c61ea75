"""Which values and types fit a type: subtyping, what two types share, and checking a value.

`Any` and `Var` fit in both directions, so a graph of stages nobody typed always fits.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, assert_never

from earmark.composition.document import is_array, is_object, shown
from earmark.composition.pointer import escape
from earmark.composition.types import (
    ANY,
    ListOf,
    MapOf,
    NonEmpty,
    NType,
    OneOf,
    Primitive,
    Range,
    Record,
    RecordWith,
    Refined,
    Refinement,
    StreamOf,
    Union,
    Var,
    is_nullable,
    union,
)

#: How many problems of one value are told.
MAX_PROBLEMS = 20


def is_subtype(sub: NType, sup: NType) -> bool:
    """Return whether every value of *sub* may stand where *sup* is wanted."""
    return mismatch(sub, sup) is None


def mismatch(sub: NType, sup: NType) -> str | None:
    """Return why a value of *sub* may not stand where *sup* is wanted; None where it may."""
    if fits_all(sub) or fits_all(sup) or sub == sup:
        return None
    if isinstance(sub, Union):
        return next((reason for part in sub.variants if (reason := mismatch(part, sup))), None)
    if isinstance(sup, Union):
        return _no_variant(sub, sup)
    if isinstance(sup, Refined):
        return _not_refined(sub, sup)
    if isinstance(sub, Refined):
        return mismatch(sub.base, sup)
    return _part_mismatch(sub, sup)


def fits_all(type_: NType) -> bool:
    """Return whether the type is `Any` or a variable, which fit in both directions."""
    return type_ is ANY or type_ == ANY or isinstance(type_, Var)


def accepts_objects(type_: NType) -> bool:
    """Return whether a JSON object may be a value of the type."""
    match type_:
        case Record() | RecordWith() | MapOf() | Var():
            return True
        case Primitive(kind):
            return kind in {"Any", "VNode"}
        case Union(variants):
            return any(accepts_objects(variant) for variant in variants)
        case Refined(base):
            return accepts_objects(base)
        case ListOf() | StreamOf():
            return False
        case _:
            assert_never(type_)


def meet(left: NType, right: NType) -> NType | None:
    """Return a type whose values fit both; None where no value does."""
    if fits_all(left):
        return right
    if fits_all(right):
        return left
    if isinstance(left, Union):
        parts = [meet(variant, right) for variant in left.variants]
        shared = [part for part in parts if part is not None and part != Union(())]
        return union(shared) if shared else None
    if isinstance(right, Union):
        return meet(right, left)
    return _meet_parts(left, right)


def validate(value: object, type_: NType, pointer: str = "") -> list[str]:
    """Return the problems of a JSON value as a value of the type, each with its place; [] for none.

    At most twenty are told.
    """
    problems: list[str] = []
    for problem in _problems(value, type_, pointer):
        problems.append(problem)
        if len(problems) == MAX_PROBLEMS:
            break
    return problems


def _no_variant(sub: NType, sup: Union) -> str | None:
    if any(mismatch(sub, variant) is None for variant in sup.variants):
        return None
    if isinstance(sub, Refined) and mismatch(sub.base, sup) is None:
        return None
    return f"{sub} is none of {sup}"


def _not_refined(sub: NType, sup: Refined) -> str | None:
    # What a rule implies is not reasoned about: only the same rule is known to hold.
    if isinstance(sub, Refined) and sub.refinement == sup.refinement:
        return mismatch(sub.base, sup.base)
    return f"{sub} is not known to be {sup}"


def _part_mismatch(sub: NType, sup: NType) -> str | None:
    match sub, sup:
        case (ListOf(left), ListOf(right)) | (StreamOf(left), StreamOf(right)):
            return _inside("items", mismatch(left, right))
        case MapOf(), MapOf():
            keys = _inside("keys", mismatch(sub.key, sup.key))
            return keys or _inside("values", mismatch(sub.value, sup.value))
        case ((Record() | RecordWith()), (Record() | RecordWith())):
            return _field_mismatch(sub, sup)
        case _:
            return f"{sub} is no {sup}"


def _field_mismatch(sub: Record | RecordWith, sup: Record | RecordWith) -> str | None:
    for name, want in sup.fields.items():
        have = sub.fields.get(name)
        if have is not None:
            if reason := mismatch(have, want):
                return _inside(f"field {shown(name)}", reason)
        # An open record may have the field among its others.
        elif isinstance(sub, Record) and not is_nullable(want):
            return f"the field {shown(name)} is missing"
    return None


def _inside(location: str, reason: str | None) -> str | None:
    return None if reason is None else f"{location}: {reason}"


def _meet_parts(left: NType, right: NType) -> NType | None:
    match left, right:
        case ListOf(a), ListOf(b):
            part = meet(a, b)
            return None if part is None else ListOf(part)
        case ((Record() | RecordWith()), (Record() | RecordWith())):
            return _meet_fields(left.fields, right.fields)
        case _ if is_subtype(left, right):
            return left
        case _ if is_subtype(right, left):
            return right
        case _:
            return None


def _meet_fields(left: Mapping[str, NType], right: Mapping[str, NType]) -> NType | None:
    fields = dict(left)
    for name, type_ in right.items():
        shared = meet(fields[name], type_) if name in fields else type_
        if shared is None:
            return None
        fields[name] = shared
    return Record(fields)


def _problems(  # noqa: C901 - one case a type
    value: object, type_: NType, pointer: str
) -> Iterator[str]:
    match type_:
        case Primitive():
            if not _PLAIN[type_.kind](value):
                yield _at(pointer, f"{shown(value)} is no {type_}")
        case ListOf(item) | StreamOf(item):
            yield from _item_problems(value, type_, item, pointer)
        case MapOf():
            yield from _map_problems(value, type_, pointer)
        case Record(fields) | RecordWith(fields):
            yield from _field_problems(value, type_, fields, pointer)
        case Union(variants):
            if not any(next(_problems(value, part, pointer), None) is None for part in variants):
                yield _at(pointer, f"{shown(value)} is none of {type_}")
        case Refined(base, refinement):
            base_problems = list(_problems(value, base, pointer))
            yield from base_problems
            if not base_problems and not _obeys(value, refinement):
                yield _at(pointer, f"{shown(value)} is no {type_}")
        case Var():
            return
        case _:
            assert_never(type_)


def _item_problems(value: object, type_: NType, item: NType, pointer: str) -> Iterator[str]:
    if not is_array(value):
        yield _at(pointer, f"{shown(value)} is no {type_}")
        return
    for i, part in enumerate(value):
        yield from _problems(part, item, f"{pointer}/{i}")


def _map_problems(value: object, type_: MapOf, pointer: str) -> Iterator[str]:
    if not is_object(value):
        yield _at(pointer, f"{shown(value)} is no {type_}")
        return
    for key, part in value.items():
        yield from _problems(key, type_.key, pointer)
        yield from _problems(part, type_.value, f"{pointer}/{escape(key)}")


def _field_problems(
    value: object, type_: NType, fields: Mapping[str, NType], pointer: str
) -> Iterator[str]:
    if not is_object(value):
        yield _at(pointer, f"{shown(value)} is no {type_}")
        return
    for name, want in fields.items():
        if name in value:
            yield from _problems(value[name], want, f"{pointer}/{escape(name)}")
        elif not is_nullable(want):
            yield _at(pointer, f"the field {shown(name)} is missing")


def _obeys(value: object, refinement: Refinement) -> bool:
    match refinement:
        case Range(low, high):
            if isinstance(value, bool) or not isinstance(value, int | float):
                return False
            return (low is None or value >= low) and (high is None or value <= high)
        case OneOf(options):
            return any(same_json(value, option) for option in options)
        case NonEmpty():
            return (isinstance(value, str) or is_array(value) or is_object(value)) and bool(value)
        case _:
            assert_never(refinement)


def same_json(left: object, right: object) -> bool:
    """Return whether two JSON values are equal; `true` is not 1, as it is in Python."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if is_object(left) and is_object(right):
        return left.keys() == right.keys() and all(same_json(left[k], right[k]) for k in left)
    if is_array(left) and is_array(right):
        return len(left) == len(right) and all(map(same_json, left, right))
    return left == right


def _at(pointer: str, problem: str) -> str:
    return f"{pointer or '/'}: {problem}"


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


_PLAIN: dict[str, Callable[[Any], bool]] = {
    "Any": lambda _: True,
    "Bool": lambda value: isinstance(value, bool),
    "Bytes": lambda value: isinstance(value, str | bytes),
    "Null": lambda value: value is None,
    "Number": _is_number,
    "Text": lambda value: isinstance(value, str),
    "VNode": lambda _: True,  # what a virtual DOM node looks like is its browser's affair
}
