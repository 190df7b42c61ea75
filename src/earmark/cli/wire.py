"""What answers are as JSON: amounts are decimal strings, instants RFC 3339, counts numbers."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, cast


def plain(value: Any) -> Any:  # noqa: ANN401 - a value of any kind, into JSON
    """Return *value* as JSON can say it; what it cannot say becomes its text."""
    match value:
        case Mapping():
            found = cast("Mapping[Any, Any]", value)
            return {str(key): plain(each) for key, each in found.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in cast("list[Any]", value)]
        case _ if hasattr(value, "to_json"):
            return plain(value.to_json())
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
        case _:
            return _scalar(value)


def _scalar(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return str(value.value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return str(value)
