"""Bodies of requests that are read into a struct of the domain, by the types of its fields."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypedDict, TypeVar

import msgspec
from fastapi.exceptions import RequestValidationError
from msgspec import Struct
from starlette.requests import Request

from earmark.service.answers import SCHEMAS
from earmark.service.json_body import is_json
from earmark.workspace.json_request import request_form

T = TypeVar("T", bound=Struct)

#: What msgspec says of a fault ends with where it is; a value that was sent may be a secret.
_WHERE: Final = re.compile(r" - at `\$\.?(.*)`$")
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
            raise _fault(str(error)) from None

    return read


def _fault(message: str) -> RequestValidationError:
    where = _WHERE.search(message)
    path = where[1].replace("[...]", ".*").split(".") if where and where[1] else []
    detail = _VALUE.sub("", _WHERE.sub("", message))
    return RequestValidationError([{"loc": ("body", *path), "msg": detail}])
