"""JSON values and their text, in the strict form every stage kind speaks: no NaN, no infinities.

Text from a model, a program or a server may hold half of a surrogate pair, which no database and no
file in UTF-8 can keep: it is mended, a half becomes U+FFFD.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

from earmark.composition.document import MAX_INTEGER, shown
from earmark.composition.pointer import escape

#: What stages take and give: null, bool, number, text, list or dict of these. Of unknown content.
Json = Any

#: Python writes no longer integers as text (`sys.set_int_max_str_digits`): 4,300 digits.
_MOST_BITS: Final = 14_000

_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def read_json(text: str | bytes) -> Json:
    """Return the value of a JSON text; what is none is a `ValueError`, nested too deeply too."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(value: Json) -> str:
    """Return *value* as compact JSON text; what JSON cannot say is a `ValueError`."""
    try:
        return mended(_COMPACT.encode(value))
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def mended(text: str) -> str:
    """Return *text* with whole surrogate pairs joined and U+FFFD for each half of one."""
    if text.isascii():
        return str(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return str(text)


def validated_json(value: object) -> Json:
    """Return a copy of *value* that is JSON through and through and shares nothing with it.

    Tuples become lists; keys that are numbers, booleans or None become the text JSON has for them;
    halves of surrogate pairs are mended.

    Raises:
        ValueError: Something in it is not JSON; the message says where.
    """
    try:
        return _copied(value)
    except _UnusualError:
        pass  # walked again with places, which the usual value need not pay for
    except RecursionError:
        raise ValueError("nested too deeply") from None
    try:
        return _copy(value, "")
    except RecursionError:
        raise ValueError("nested too deeply") from None


class _UnusualError(Exception):
    """Something to be turned into JSON, or to be refused."""


def _copied(value: Any) -> Json:  # noqa: ANN401 - anything at all
    kind: object = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is dict:
        return {_usual(key): _copied(part) for key, part in value.items()}
    if kind is list:
        return [_copied(item) for item in value]
    if kind is str:
        return value if value.isascii() else mended(value)
    if value is None or kind is bool or (kind is int and -MAX_INTEGER <= value <= MAX_INTEGER):
        return value
    return value if kind is float and math.isfinite(value) else _unusual()


def _usual(key: str) -> str:
    return key if type(key) is str and key.isascii() else _unusual()


def _unusual() -> NoReturn:
    raise _UnusualError


def _copy(value: object, place: str) -> Json:
    match value:
        case None | bool():
            return value
        case str():
            return mended(value)
        case int():
            if value.bit_length() > _MOST_BITS:
                raise ValueError(f"{place or '/'}: an integer of more than 4,000 digits")
            return int(value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{place or '/'}: {value} is not JSON")
            return float(value)
        case dict():
            return _copy_members(cast("dict[object, object]", value), place)
        case list() | tuple():
            items = cast("list[object] | tuple[object, ...]", value)
            return [_copy(item, f"{place}/{i}") for i, item in enumerate(items)]
        case _:
            raise ValueError(f"{place or '/'}: {shown(value)} is not JSON")


def _copy_members(members: Mapping[object, object], place: str) -> dict[str, Json]:
    copied: dict[str, Json] = {}
    for key, value in members.items():
        name = mended(key) if isinstance(key, str) else _key(key, place)
        if name in copied:
            raise ValueError(f"{place or '/'}: the key {shown(name)} appears twice")
        copied[name] = _copy(value, f"{place}/{escape(name)}")
    return copied


def _key(key: object, place: str) -> str:
    if key is None or isinstance(key, bool | int | float):
        return str(write_json(_copy(key, place)))
    raise ValueError(f"{place or '/'}: {shown(key)} is no key of a JSON object")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
