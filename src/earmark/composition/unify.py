"""Type variables: what they stand for where a stage is given an input of a known type.

`<T> → List<T>` given `Number` gives `List<Number>`. A variable that the input says nothing of stays
one, and fits everything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from earmark.composition.subtype import fits_all, is_subtype
from earmark.composition.types import (
    ANY,
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
    union,
)

#: A bound type has at most so many parts; one that would have more is `Any`. Types that a chain of
#: stages doubles each time would grow without end.
MAX_PARTS = 1000
#: And nests at most so deep.
MAX_DEPTH = 32


@dataclass(slots=True)
class Bindings:
    """What the variables of one stage stand for at one place in a composition."""

    types: dict[str, NType] = field(default_factory=dict[str, NType])
    rests: dict[str, Record | RecordWith] = field(default_factory=dict[str, Record | RecordWith])
    """The other fields of an open record, by the name of its rest."""
    problems: list[str] = field(default_factory=list[str])

    def bind(self, declared: NType, actual: NType) -> None:
        """Learn what the variables in *declared* stand for where a value of *actual* comes in."""
        if isinstance(declared, Var):
            self._bind_name(declared.name, actual)
        elif isinstance(declared, Union):
            self._bind_variant(declared, actual)
        elif isinstance(declared, Refined):
            self.bind(declared.base, actual.base if isinstance(actual, Refined) else actual)
        elif isinstance(actual, Refined):
            self.bind(declared, actual.base)
        else:
            self._bind_parts(declared, actual)

    def _bind_parts(self, declared: NType, actual: NType) -> None:
        match declared, actual:
            case (ListOf(one), ListOf(other)) | (StreamOf(one), StreamOf(other)):
                self.bind(one, other)
            case MapOf(), MapOf():
                self.bind(declared.key, actual.key)
                self.bind(declared.value, actual.value)
            case ((Record() | RecordWith()), (Record() | RecordWith())):
                for name, type_ in declared.fields.items():
                    if name in actual.fields:
                        self.bind(type_, actual.fields[name])
                if isinstance(declared, RecordWith):
                    others = {n: t for n, t in actual.fields.items() if n not in declared.fields}
                    rest = actual.rest if isinstance(actual, RecordWith) else None
                    self.rests[declared.rest] = (
                        Record(others) if rest is None else RecordWith(others, rest)
                    )
            case _:
                return

    def _bind_name(self, name: str, actual: NType) -> None:
        if fits_all(actual):
            return
        known = self.types.get(name)
        if known is None or is_subtype(known, actual):
            self.types[name] = actual
        elif not is_subtype(actual, known):
            self.problems.append(f"{name} cannot be both {known} and {actual}")

    def _bind_variant(self, declared: Union, actual: NType) -> None:
        """Bind the one variant with variables to what of *actual* fits none of the others."""
        open_ = [variant for variant in declared.variants if has_variables(variant)]
        closed = [variant for variant in declared.variants if not has_variables(variant)]
        parts = actual.variants if isinstance(actual, Union) else (actual,)
        left = [part for part in parts if not any(is_subtype(part, each) for each in closed)]
        if len(open_) == 1 and left:
            self.bind(open_[0], union(left))

    def apply(self, type_: NType) -> NType:
        """Return *type_* with every bound variable replaced; `Any` where that grows too large."""
        bound = self._apply(type_)
        return bound if _is_small(bound) else ANY

    def _apply(self, type_: NType) -> NType:  # noqa: PLR0911 - one case a type
        match type_:
            case Primitive():
                return type_
            case Var(name):
                return self.types.get(name, type_)
            case ListOf(item):
                return ListOf(self._apply(item))
            case StreamOf(item):
                return StreamOf(self._apply(item))
            case MapOf(key, value):
                return MapOf(self._apply(key), self._apply(value))
            case Record(fields):
                return Record(self._applied(fields))
            case RecordWith(fields, rest):
                return self._closed(self._applied(fields), rest)
            case Union(variants):
                return union(self._apply(variant) for variant in variants)
            case Refined(base, refinement):
                return Refined(self._apply(base), refinement)

    def _applied(self, fields: Mapping[str, NType]) -> dict[str, NType]:
        return {name: self._apply(type_) for name, type_ in fields.items()}

    def _closed(self, fields: dict[str, NType], rest: str) -> NType:
        others = self.rests.get(rest)
        if others is None:
            return RecordWith(fields, rest)
        together = {**others.fields, **fields}
        return (
            RecordWith(together, others.rest)
            if isinstance(others, RecordWith)
            else Record(together)
        )


def has_variables(type_: NType) -> bool:
    """Return whether a variable, or the rest of an open record, stands anywhere in the type."""
    if isinstance(type_, Primitive):
        return False
    return isinstance(type_, Var | RecordWith) or any(map(has_variables, _parts(type_)))


def _parts(type_: NType) -> Iterator[NType]:
    match type_:
        case ListOf(item) | StreamOf(item):
            yield item
        case MapOf(key, value):
            yield from (key, value)
        case Record(fields) | RecordWith(fields):
            yield from fields.values()
        case Union(variants):
            yield from variants
        case Refined(base):
            yield base
        case Primitive() | Var():
            return


def _is_small(type_: NType) -> bool:
    """Return whether the type has few enough parts, looking at no more of them than that."""
    seen, level = 0, [type_]
    for _ in range(MAX_DEPTH):
        seen += len(level)
        if seen > MAX_PARTS:
            return False
        level = [part for each in level for part in _parts(each)]
        if not level:
            return True
    return False
