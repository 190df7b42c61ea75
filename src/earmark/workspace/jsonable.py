"""Values as JSON: amounts are decimal strings, instants RFC 3339, counts numbers."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast

#: Nested deeper, a value is cut off: few JSON parsers go further, and a program may print such.
DEEPEST: Final = 200
TOO_DEEP: Final = "… nested too deep to be shown"

#: A text, in which nothing is looked for, or a number that Python writes with a negative exponent.
_SMALL: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d(?:\.\d+)?e-(?:0\d|1[0-2])\b')
_AS_IT_IS: Final = frozenset({int, bool, float, type(None)})


def to_jsonable_utf8(value: Any) -> Any:  # noqa: ANN401 - a value of any kind, into JSON
    """Return `to_jsonable` of *value*, unpaired surrogates replaced so that UTF-8 can hold it."""
    return to_jsonable(value, utf8=True)


def to_jsonable(value: Any, *, levels: int = DEEPEST, utf8: bool = False) -> Any:  # noqa: ANN401
    """Return *value* in JSON's own types; an object of another type becomes its text.

    What nests deeper than *levels* becomes `TOO_DEEP`; *utf8* replaces unpaired surrogates.
    """
    kind = value.__class__
    # A page is made of thousands of these; the patterns below look at each in eight ways.
    if kind is str:
        return value if not utf8 or value.isascii() else _replace_surrogates(value)
    if kind in _AS_IT_IS:
        return value
    if not levels:
        return TOO_DEEP
    levels -= 1
    if kind is dict:
        return {
            _replace_surrogates(str(key)) if utf8 else str(key): to_jsonable(
                each, levels=levels, utf8=utf8
            )
            for key, each in value.items()
        }
    if kind is list:
        return [to_jsonable(each, levels=levels, utf8=utf8) for each in value]
    return _other(value, levels, utf8=utf8)


def expand_exponents(text: str) -> str:
    """Return JSON *text* with small numbers as people write amounts: `0.000082`, not `8.2e-05`."""
    return _SMALL.sub(_written_out, text) if "e-" in text else text


def _written_out(found: re.Match[str]) -> str:
    text = found[0]
    return text if text.startswith('"') else f"{Decimal(text):f}"


def _other(value: Any, levels: int, *, utf8: bool) -> Any:  # noqa: ANN401
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
            return _replace_surrogates(scalar) if utf8 and isinstance(scalar, str) else scalar
    return to_jsonable(found, levels=levels + 1, utf8=utf8)


def _replace_surrogates(text: str) -> str:
    """Return *text* without unpaired surrogates, which a shell may give and UTF-8 cannot hold."""
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
