"""What values are as JSON: amounts are decimal strings, instants RFC 3339, counts numbers."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast

#: Deeper than this nobody reads, and few programs can: what a program printed may nest so.
DEEPEST: Final = 200
TOO_DEEP: Final = "… nested too deep to be shown"

#: A text, in which nothing is looked for, or a number that Python writes with a negative exponent.
_SMALL: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d(?:\.\d+)?e-(?:0\d|1[0-2])\b')
_AS_IT_IS: Final = frozenset({int, bool, float, type(None)})


def told(value: Any) -> Any:  # noqa: ANN401 - a value of any kind, into JSON
    """Return *value* as an answer in UTF-8 can say it: `plain`, and whole characters only."""
    return plain(value, whole=True)


def plain(value: Any, *, left: int = DEEPEST, whole: bool = False) -> Any:  # noqa: ANN401
    """Return *value* as JSON can say it; what it cannot say becomes its text.

    What nests deeper than *left* levels is told as `TOO_DEEP`; *whole* mends text that is no UTF-8.
    """
    kind = value.__class__
    # A page is made of thousands of these; the patterns below look at each in eight ways.
    if kind is str:
        return value if not whole or value.isascii() else _whole(value)
    if kind in _AS_IT_IS:
        return value
    if not left:
        return TOO_DEEP
    left -= 1
    if kind is dict:
        return {str(key): plain(each, left=left, whole=whole) for key, each in value.items()}
    if kind is list:
        return [plain(each, left=left, whole=whole) for each in value]
    return _other(value, left, whole=whole)


def decimals(text: str) -> str:
    """Return JSON *text* with small numbers as people write amounts: `0.000082`, not `8.2e-05`."""
    return _SMALL.sub(_written_out, text) if "e-" in text else text


def _written_out(found: re.Match[str]) -> str:
    said = found[0]
    return said if said.startswith('"') else f"{Decimal(said):f}"


def _other(value: Any, left: int, *, whole: bool) -> Any:  # noqa: ANN401
    match value:
        case Mapping():
            found = dict(cast("Mapping[Any, Any]", value))
        case list() | tuple() | set() | frozenset():
            found = list(cast("list[Any]", value))
        case _ if hasattr(value, "to_json"):
            found = value.to_json()
        case _ if is_dataclass(value) and not isinstance(value, type):
            found = {each.name: getattr(value, each.name) for each in fields(value)}
        case _:
            scalar = _scalar(value)
            return _whole(scalar) if whole and isinstance(scalar, str) else scalar
    return plain(found, left=left + 1, whole=whole)


def _whole(text: str) -> str:
    """Return *text* without half characters, which a shell may give and no UTF-8 can say."""
    return text.encode("utf-8", "replace").decode()


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
