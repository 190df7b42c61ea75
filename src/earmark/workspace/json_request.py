"""What a request brings as JSON, read into the struct that the domain takes.

`RequestForm(TaskDraft)` reads every field of a `TaskDraft`; one with a default may be left out. The
JSON is checked for its members and their types, as the struct's are annotated: an instant is RFC
3339, a priority its name. What values may be is the domain's to check, and for the schema to say:
`Meta(extra_json_schema=…)`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import IntEnum
from functools import cache, cached_property
from types import UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import FieldInfo, fields

from earmark.clock import InstantOrZero, from_datetime
from earmark.workspace.json_form import about_of, json_struct, tag_of

T = TypeVar("T", bound=Struct)

#: Turns what was read of JSON into the value of a field; None: it is that value already.
Decoder = Callable[[Any], Any] | None

_MOMENT: Any = Annotated[datetime, Meta(tz=True)]
_MOMENT_OR_NULL: Any = _MOMENT | None


class RequestForm(Generic[T]):
    """How requests write a class of structs."""

    def __init__(self, of: type[T]) -> None:
        self.of = of

    @cached_property
    def json_type(self) -> Any:  # noqa: ANN401 - a type made at run time
        """The struct that JSON is checked by, and that the schema is made of."""
        name = self.of.__name__
        return json_struct(
            name if name.endswith("Draft") else f"{name}Draft",
            [_json_field(each) for each in fields(self.of)],
            about_of(self.of),
            tag=tag_of(self.of),
        )

    def decode(self, found: object) -> T:
        """Return the value of *found*, which is JSON.

        Raises:
            msgspec.ValidationError: It is not of this form.
            InvalidDuration: It has a moment that no store can count.
        """
        return self.of_json(msgspec.convert(found, self.json_type))

    def of_json(self, read: Any) -> T:  # noqa: ANN401 - of the type made at run time
        """Return the value of what was checked by `json_type`."""
        values = {name: getattr(read, name) for name in self.of.__struct_fields__}
        decoders = self._decoders
        return self.of(
            **{
                name: decoders[name](value) if name in decoders else value
                for name, value in values.items()
                if value is not UNSET
            }
        )

    @cached_property
    def _decoders(self) -> Mapping[str, Callable[[Any], Any]]:
        found = {each.name: _codec(each.type)[1] for each in fields(self.of)}
        return {name: decode for name, decode in found.items() if decode is not None}


@cache
def request_form(of: type[T]) -> RequestForm[T]:
    """Return the form of a class of structs in requests."""
    return RequestForm(of)


def _json_field(field: FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    json_type, _ = _codec(field.type)
    if field.required:
        return field.name, json_type
    default = field.default.name if isinstance(field.default, IntEnum) else field.default
    if default and isinstance(default, str | int):
        json_type = Annotated[json_type, Meta(extra_json_schema={"default": default})]
    return field.name, json_type | UnsetType, UNSET


def _codec(kind: Any) -> tuple[Any, Decoder]:  # noqa: ANN401 - a type of any kind
    """Return the type of the JSON of a field's type, and what decodes it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind == InstantOrZero:
        return _MOMENT_OR_NULL, _instant_or_zero
    if origin is Annotated:
        json_type, decode = _codec(arguments[0])
        return Annotated[(json_type, *arguments[1:])], decode
    if origin in {Union, UnionType}:
        return _union(arguments)
    if origin is tuple:
        json_type, decode = _codec(arguments[0])
        if decode is None:
            return list[json_type], tuple
        return list[json_type], lambda values: tuple(decode(each) for each in values)
    return _class(kind) if isinstance(kind, type) else (kind, None)


def _class(kind: Any) -> tuple[Any, Decoder]:  # noqa: ANN401 - a class of any kind
    if issubclass(kind, IntEnum):
        return Literal[tuple(each.name for each in kind)], kind.__getitem__
    if issubclass(kind, Struct):
        form = request_form(kind)
        return form.json_type, form.of_json
    return kind, None


def _union(kinds: tuple[Any, ...]) -> tuple[Any, Decoder]:
    codecs: list[tuple[Any, Decoder]] = [_codec(each) for each in kinds]
    json_type: Any = Union[tuple(each for each, _ in codecs)]  # noqa: UP007 - made at run time
    decoders: dict[Any, Callable[[Any], Any]] = {
        each: decode for each, decode in codecs if decode is not None
    }
    if not decoders:
        return json_type, None
    return json_type, lambda value: decoders[type(value)](value)


def _instant_or_zero(moment: datetime | None) -> int:
    return 0 if moment is None else from_datetime(moment)
