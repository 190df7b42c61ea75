"""Objects of SDKs in a request, read as the JSON that their SDK would send for them.

An agent's loop appends what it was answered: `messages.append(reply.choices[0].message)`.
"""

from collections.abc import Mapping
from typing import Any, Final

from earmark.errors import InvalidUsage
from earmark.pricing.json_values import items, mapping

_SCALARS: Final = (str, int, float, type(None))


def sdk_object_to_json(value: object) -> object:
    """Return the JSON value of an SDK's object, or a scalar itself.

    Raises:
        TypeError: It is none, and no pydantic model.
        InvalidUsage: The model cannot be written as JSON.
    """
    dump = getattr(value, "model_dump", None)
    if isinstance(value, _SCALARS):
        return value
    if not callable(dump) or isinstance(value, type):
        raise TypeError
    try:
        return dump(**_options(value))
    except Exception as error:
        # Its type only: the text may hold a prompt.
        kind = type(error).__name__
        detail = f"{type(value).__name__} cannot be written as JSON ({kind}): give plain JSON"
        raise InvalidUsage(detail=detail) from error


def _options(value: object) -> dict[str, Any]:
    """Return how the SDK of *value* writes it.

    Sources: `_transform_recursive` of openai 3.57, `openapi_model_dump` of anthropic 2.14, and
    google-genai 3.6, whose models name each field by a camel case alias; 2026-11.
    """
    excluded = getattr(value, "__api_exclude__", None)
    options: dict[str, Any] = {"mode": "json", "exclude_unset": True, "exclude": excluded}
    sdk = type(value).__module__.partition(".")[0]
    if sdk != "openai":
        options["by_alias"] = True
    if sdk == "google":
        options["exclude_none"] = True
    return options


def not_json_error(body: object) -> InvalidUsage:
    """Return the refusal of *body*, which is not JSON; names the path of its first such value."""
    path, kind = _first_non_json(body, "") or ("the request", type(body))
    if kind is type:
        advice = "give the JSON schema of the class"
    else:
        advice = "give .model_dump() of an SDK's object, or else plain JSON"
    return InvalidUsage(detail=f"{path} is {_type_name(kind)}, which is no JSON: {advice}")


def _first_non_json(value: object, path: str) -> tuple[str, type] | None:
    """Return the path and the class of the first part of *value* that is not JSON."""
    if isinstance(value, type):
        return path, type
    listed = items(value)
    members = [(f"{path}.{name}".lstrip("."), each) for name, each in mapping(value).items()]
    members += [(f"{path}[{n}]", each) for n, each in enumerate(listed)]
    is_json = isinstance(value, (Mapping, list, tuple, *_SCALARS))
    if not is_json and not callable(getattr(value, "model_dump", None)):
        return path, type(value)
    return next((found for name, each in members if (found := _first_non_json(each, name))), None)


def _type_name(kind: type) -> str:
    return "a class" if kind is type else kind.__name__
