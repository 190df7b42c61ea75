"""JSON from outside, whose shape nobody promises: read what is there, take the rest as absent."""

from typing import Any, cast


def mapping(value: object) -> dict[str, Any]:
    """Return *value* if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def mappings(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects of *value*, if it is an array of them; what is none becomes empty."""
    return [mapping(item) for item in cast("list[Any]", value)] if isinstance(value, list) else []


def text(value: object) -> str | None:
    """Return *value* if it is a string, else `None`."""
    return value if isinstance(value, str) else None


def position(value: object, otherwise: int) -> int:
    """Return *value* if it is a whole number, such as an index in an array, else *otherwise*."""
    return value if isinstance(value, int) else otherwise
