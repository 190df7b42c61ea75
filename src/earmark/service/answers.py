"""What routes answer: a resource or a page of a list in its JSON form, and what the schema says."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict, TypeVar

from msgspec import Struct
from starlette.responses import JSONResponse

from earmark.workspace.json_form import JsonForm
from earmark.workspace.jsonable import to_jsonable_utf8

T = TypeVar("T")


class Problem(Struct):
    """RFC 9457: what went wrong; a refusal's numbers are further members."""

    type: str
    title: str
    status: int
    code: str
    detail: str


PROBLEM: Final = {
    "description": "A problem document.",
    "content": {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
    },
}


class Check(Struct):
    """Whether the service can work; who may read also gets the numbers."""

    status: Literal["pass", "warn", "fail"]


#: The types of all that is answered and taken, by their names in the OpenAPI document.
SCHEMAS: Final[dict[str, Any]] = {each.__name__: each for each in (Problem, Check)}


class AnswerOptions(TypedDict):
    """What a route is told of its answer."""

    response_model: None
    status_code: int
    responses: dict[int | str, dict[str, Any]]


def answers(form: JsonForm[Any], status: int = 200, *, page: bool = False) -> AnswerOptions:
    """Return how a route is told that it answers with *form*, or with a page of a list of it."""
    kind = form.page_type if page else form.json_type
    SCHEMAS[kind.__name__] = kind
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    documented: dict[str, Any] = {"content": {"application/json": {"schema": schema}}}
    return {"response_model": None, "status_code": status, "responses": {status: documented}}


class SecretAnswer(JSONResponse):
    """An answer that holds a secret, which is in nothing that is stored of it for a repeat."""

    def __init__(self, content: Any, code: int, *, stored: Any) -> None:  # noqa: ANN401 - JSON
        super().__init__(to_jsonable_utf8(content), code)
        self.stored_body: Final = self.render(to_jsonable_utf8(stored))


def answer(
    form: JsonForm[T],
    value: T,
    *,
    code: int = 200,
    headers: Mapping[str, str] | None = None,
    **extras: object,
) -> JSONResponse:
    """Return the answer that is *value* in its *form*; *extras* are the form's `Extra` members."""
    body = to_jsonable_utf8(form.encode(value, **extras))
    return JSONResponse(body, code, headers)
