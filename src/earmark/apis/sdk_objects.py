"""Objects of SDKs in a request, read as the JSON that their SDK would send for them.

An agent's loop appends what it was answered: `messages.append(reply.choices[0].message)`.
"""

from collections.abc import Mapping
from typing import Any, Final

from earmark.errors import InvalidUsage
from earmark.pricing.json_values import items, mapping

_SCALARS: Final = (str, int, float, type(None))


def json_of_object(value: object) -> object:
    """Return the JSON of *value*, which is no object and no array of JSON.

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
    kept_back = getattr(value, "__api_exclude__", None)
    options: dict[str, Any] = {"mode": "json", "exclude_unset": True, "exclude": kept_back}
    sdk = type(value).__module__.partition(".")[0]
    if sdk != "openai":
        options["by_alias"] = True
    if sdk == "google":
        options["exclude_none"] = True
    return options


def no_json(body: object) -> InvalidUsage:
    """Return the refusal of *body*, which holds what is no JSON; names its first place."""
    place, kind = _first(body, "") or ("the request", type(body))
    if kind is type:
        how = "give the JSON schema of the class"
    else:
        how = "give .model_dump() of an SDK's object, or else plain JSON"
    return InvalidUsage(detail=f"{place} is {_named(kind)}, which is no JSON: {how}")


def _first(value: object, place: str) -> tuple[str, type] | None:
    """Return the place and the class of the first part of *value* that is no JSON."""
    if isinstance(value, type):
        return place, type
    listed = items(value)
    members = [(f"{place}.{name}".lstrip("."), each) for name, each in mapping(value).items()]
    members += [(f"{place}[{n}]", each) for n, each in enumerate(listed)]
    is_json = isinstance(value, (Mapping, list, tuple, *_SCALARS))
    if not is_json and not callable(getattr(value, "model_dump", None)):
        return place, type(value)
    return next((found for name, each in members if (found := _first(each, name))), None)


def _named(kind: type) -> str:
    return "a class" if kind is type else kind.__name__
