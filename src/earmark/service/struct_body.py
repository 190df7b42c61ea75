"""Bodies of requests that are read into a struct of the domain, by the types of its fields."""

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypedDict, TypeVar

import msgspec
from fastapi.exceptions import RequestValidationError
from msgspec import Struct
from msgspec.inspect import (
    ListType,
    LiteralType,
    Metadata,
    StructType,
    Type,
    UnionType,
    type_info,
)
from starlette.requests import Request

from earmark.service.answers import SCHEMAS
from earmark.service.json_body import is_json
from earmark.workspace.json_request import request_form

T = TypeVar("T", bound=Struct)

#: What msgspec says of a fault ends with where it is; a value that was sent may be a secret.
_WHERE: Final = re.compile(r" - at `\$\.?(.*)`$")
_INDEX: Final = re.compile(r"\[(\d+)\]")
_VALUE: Final = re.compile(r" '.*'", re.DOTALL)


class BodyOptions(TypedDict):
    """What a route is told of its body."""

    openapi_extra: dict[str, Any]


def takes(of: type[Struct]) -> BodyOptions:
    """Return how a route is told that its body is a struct *of* a class."""
    kind = request_form(of).json_type
    SCHEMAS[kind.__name__] = kind
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"openapi_extra": {"requestBody": body}}


def body_of(of: type[T]) -> Callable[[Request], Awaitable[T]]:
    """Return the dependency that reads the body as a struct *of* a class.

    It raises `RequestValidationError` where the body is not of that form.
    """

    async def read(request: Request) -> T:
        # Also where it is of another type: what arrives too slowly, or is too large, is told first.
        await request.body()
        try:
            found = await request.json() if is_json(request) else None
        except (ValueError, RecursionError):
            raise _fault("JSON decode error") from None
        try:
            return request_form(of).decode(found)
        except msgspec.ValidationError as error:
            raise _fault(str(error), request_form(of).json_type) from None

    return read


def _fault(message: str, kind: Any = None) -> RequestValidationError:  # noqa: ANN401 - a made type
    """Return what msgspec's *message* says of a body of the type *kind*, without the value."""
    where = _WHERE.search(message)
    pointer = where[1].replace("[...]", ".*") if where else ""
    path = _INDEX.sub(r".\1", pointer).removeprefix(".").split(".") if pointer else []
    detail = _VALUE.sub("", _WHERE.sub("", message))
    if kind is not None and (names := list(_names_at(type_info(kind), path))):
        detail = f"{detail}: give {', '.join(names[:-1])} or {names[-1]}"
    return RequestValidationError([{"loc": ("body", *path), "msg": detail}])


def _names_at(kind: Type, path: list[str]) -> Iterator[str]:
    """Yield the names that may be at *path* in a value of the type *kind*, if it takes names."""
    match kind, path:
        case Metadata(type=inner), _:
            yield from _names_at(inner, path)
        case UnionType(types=kinds), _:
            for each in kinds:
                yield from _names_at(each, path)
        case StructType(tag_field=member, tag=str(tag)), [name] if name == member:
            yield tag
        case StructType(fields=fields), [name, *rest]:
            for each in fields:
                if each.encode_name == name:
                    yield from _names_at(each.type, rest)
        case ListType(item_type=item), [_, *rest]:
            yield from _names_at(item, rest)
        case LiteralType(values=names), []:
            yield from map(str, names)
        case _:
            pass
