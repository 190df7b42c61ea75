"""How a resource is written as JSON: its members named once, their types those of its class.

`JsonForm(Task)` has every field of `Task`; other forms name what they have. From the types follow
the values and the JSON schema: an amount is a decimal string, an instant RFC 3339 in UTC, an
instant of 0 null, a priority its name, a nested resource its own form.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from operator import attrgetter
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import Meta, Struct

from earmark.budget.limit import Limit
from earmark.clock import Instant, InstantOrZero, iso
from earmark.money import Money

T = TypeVar("T")

#: Turns a value into JSON's types; None: it is of them already.
Encoder = Callable[[Any], Any] | None

_USD: Any = Annotated[str, Meta(description="US dollars, exact.", examples=["0.045864"])]
_MOMENT: Any = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Computed(Struct, frozen=True):
    """A member that a function makes of the value; the function's annotation is its type."""

    name: str
    function: Callable[[Any], Any]
    type: Any = None
    """Of a function without an annotation."""


class Extra(Struct, frozen=True):
    """A member that whoever encodes the value adds to it, by its name."""

    name: str
    type: Any


Member = str | Computed | Extra


class JsonForm(Generic[T]):
    """The JSON form of a class of values."""

    _of_class: ClassVar[dict[type, "JsonForm[Any]"]] = {}
    """The form of each class inside others: the first that was made of it."""

    def __init__(
        self,
        of: type[T],
        *members: Member,
        name: str = "",
        about: str = "",
    ) -> None:
        """Write values of the class *of*.

        Args:
            of: A struct or a dataclass.
            members: What it has, in order; an attribute by its name. All fields unless given.
            name: In the schema; the class's unless given.
            about: What it is, for the schema; the first line of the class's docstring unless given.
        """
        self.of = of
        self.name = name or of.__name__
        self.members: tuple[Member, ...] = members or fields_of(of)
        self._about = about or about_of(of)
        self._tag = tag_of(of)
        self._of_class.setdefault(of, self)

    def plus(self, name: str, about: str, *members: Member) -> "JsonForm[T]":
        """Return a form of the same values with further *members*."""
        return JsonForm(self.of, *self.members, *members, name=name, about=about)

    def encode(self, value: T, **extras: object) -> dict[str, Any]:
        """Return *value* as a JSON object; *extras* are its `Extra` members."""
        form: dict[str, Any] = {"kind": self._tag} if self._tag else {}
        for name, get, encode in self._plan:
            found = extras[name] if get is None else get(value)
            form[name] = found if encode is None else encode(found)
        return form

    @cached_property
    def json_type(self) -> Any:  # noqa: ANN401 - a type made at run time
        """The struct that `msgspec` makes the schema of."""
        fields = [(_name_of(each), _codec(self._type_of(each))[0]) for each in self.members]
        return json_struct(self.name, fields, self._about, tag=self._tag)

    @cached_property
    def page_type(self) -> Any:  # noqa: ANN401 - a type made at run time
        """A page of a list of them."""
        about = "A part of a list; `next` is the `cursor` of the page after it, null at the end."
        fields = [("items", list[self.json_type]), ("next", str | None)]
        return json_struct(f"{self.name}Page", fields, about)

    @classmethod
    def of_class(cls, kind: type) -> "JsonForm[Any]":
        """Return the form of a class inside others: the one that was declared, else all fields."""
        return cls._of_class.get(kind) or JsonForm(kind)

    @cached_property
    def _plan(self) -> list[tuple[str, Callable[[Any], Any] | None, Encoder]]:
        return [
            (_name_of(each), _getter(each), _codec(self._type_of(each))[1]) for each in self.members
        ]

    def _type_of(self, member: Member) -> Any:  # noqa: ANN401 - a type of any kind
        match member:
            case Extra():
                return member.type
            case Computed():
                if member.type is not None:
                    return member.type
                return get_type_hints(member.function, include_extras=True)["return"]
            case str():
                found = getattr(self.of, member, None)
                hints = found.fget if isinstance(found, property) else self.of
                name = "return" if isinstance(found, property) else member
                return get_type_hints(hints, include_extras=True)[name]


def declare_form(of: type[Any], *members: Member, about: str = "") -> None:
    """Declare how values of the class *of* are written inside others: see `JsonForm`."""
    JsonForm(of, *members, about=about)


def schemas_of(types: Iterable[Any]) -> dict[str, Any]:
    """Return the JSON schemas of *types* and of their parts by name, as OpenAPI has them."""
    _, found = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {name: _with_types(each) for name, each in found.items()}


def _with_types(schema: Any) -> Any:  # noqa: ANN401 - a piece of a schema
    """Return *schema* with the type of each list of texts, which readers of schemas ask for."""
    if isinstance(schema, list):
        return [_with_types(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = {name: _with_types(each) for name, each in cast("dict[str, Any]", schema).items()}
    match found.get("enum"):
        case [str(tag)]:
            return {"const": tag}
        case [str(), *_]:
            return {"type": "string", **found}
        case _:
            return found


def json_struct(name: str, fields: Iterable[Any], about: str, *, tag: str | None = None) -> Any:  # noqa: ANN401 - a type made at run time
    """Return a struct of JSON's types, for `msgspec` to check or to describe; *about* it."""
    return msgspec.defstruct(
        name,
        fields,
        kw_only=True,
        forbid_unknown_fields=True,
        tag_field="kind" if tag else None,
        tag=tag,
        namespace={"__doc__": about},
    )


def about_of(of: type[Any]) -> str:
    """Return the first line of a class's docstring."""
    return (of.__doc__ or "").partition("\n")[0]


def tag_of(of: type[Any]) -> str | None:
    """Return by what a struct is told from the others of its union; None for other classes."""
    tag = of.__struct_config__.tag if issubclass(of, Struct) else None
    return None if tag is None else str(tag)


def fields_of(of: type[Any], *, without: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of the fields of a struct or a dataclass."""
    found = of.__struct_fields__ if issubclass(of, Struct) else get_type_hints(of)
    return tuple(name for name in found if name not in without)


# Members ------------------------------------------------------------------------------------------


def _name_of(member: Member) -> str:
    return member if isinstance(member, str) else member.name


def _getter(member: Member) -> Callable[[Any], Any] | None:
    match member:
        case Extra():
            return None
        case Computed():
            return member.function
        case str():
            return attrgetter(member)


# Types --------------------------------------------------------------------------------------------


def _codec(kind: Any) -> tuple[Any, Encoder]:  # noqa: ANN401 - a type of any kind
    """Return the JSON type of the values of a type, and what encodes them."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if origin is Annotated:
        of_inner, encode = _codec(arguments[0])
        return Annotated[(of_inner, *arguments[1:])], encode
    if origin in {Union, UnionType}:
        return _union([each for each in arguments if each is not NoneType], kind)
    if origin in {tuple, list, Sequence}:
        return _list(arguments[0])
    if origin in {dict, Mapping}:
        return _mapping(*arguments)
    return _class(kind) if isinstance(kind, type) else (kind, None)


def _class(kind: Any) -> tuple[Any, Encoder]:  # noqa: ANN401 - a class of any kind
    if issubclass(kind, IntEnum):
        return Literal[tuple(each.name for each in kind)], lambda value: value.name
    if issubclass(kind, Struct) or hasattr(kind, "__dataclass_fields__"):
        form = JsonForm.of_class(kind)
        return form.json_type, form.encode
    return kind, None


def _union(kinds: list[Any], whole: Any) -> tuple[Any, Encoder]:  # noqa: ANN401 - types of any kind
    codecs = {each: _codec(each) for each in kinds}
    json_type: Any = Union[tuple(each for each, _ in codecs.values())]  # noqa: UP007 - made at run time
    encoders = {kind: encode for kind, (_, encode) in codecs.items() if encode is not None}
    if NoneType in get_args(whole):
        json_type = json_type | None
    if not encoders:
        return json_type, None

    def encode(value: Any) -> Any:  # noqa: ANN401 - a value of one of the types
        one = encoders.get(type(value))
        return value if one is None else one(value)

    # A type that is no class, such as a list of something, is the only one beside null.
    (only, *others) = encoders.items()
    if others or isinstance(only[0], type):
        return json_type, encode
    return json_type, lambda value: None if value is None else only[1](value)


def _list(kind: Any) -> tuple[Any, Encoder]:  # noqa: ANN401 - a type of any kind
    json_type, encode = _codec(kind)
    if encode is None:
        return list[json_type], list
    return list[json_type], lambda values: [encode(each) for each in values]


def _mapping(key: Any, kind: Any) -> tuple[Any, Encoder]:  # noqa: ANN401 - types of any kind
    json_type, encode = _codec(kind)
    if encode is None:
        return dict[key, json_type], None
    return dict[key, json_type], lambda found: {name: encode(x) for name, x in found.items()}


def _moment_or_null(instant: int) -> str | None:
    return iso(instant) if instant else None


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_SCALARS: Final[Mapping[Any, tuple[Any, Encoder]]] = {
    Money: (_USD, str),
    Limit: (str, str),
    datetime: (_MOMENT, _rfc3339),
    Instant: (_MOMENT, iso),
    InstantOrZero: (_MOMENT | None, _moment_or_null),
}
