"""Reading JSON that nobody vouches for: strictly, within bounds, and with the place of each fault.

Everything here raises `InvalidComposition` and nothing else, whatever the input is.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from earmark.composition.pointer import escape
from earmark.errors import InvalidComposition

#: The largest document that is read, in bytes; larger ones are refused before they are parsed.
MAX_BYTES: Final = 16 * 1024 * 1024
#: How deep a JSON value inside a node (a constant, a config, a type) may nest.
MAX_VALUE_DEPTH: Final = 64
#: The largest whole number JSON carries exactly (RFC 8785, section 3.2.2.3; RFC 7493, section 2.2).
MAX_INTEGER: Final = (1 << 53) - 1

_SHOWN_PLACE = 400
_SHOWN_TEXT = 60
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def invalid(pointer: str, detail: str) -> InvalidComposition:
    """Return the error to raise at a JSON pointer; a very long one is shown by its two ends."""
    if len(pointer) > _SHOWN_PLACE:
        pointer = f"{pointer[: _SHOWN_PLACE // 2]}…{pointer[-_SHOWN_PLACE // 2 :]}"
    return InvalidComposition(place=pointer, detail=detail)


def shown(value: object) -> str:
    """Return *value* as a message may show it: short, in JSON where it is JSON."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, str):
        cut = value if len(value) <= _SHOWN_TEXT else f"{value[:_SHOWN_TEXT]}…"
        return f"'{cut.encode('utf-8', 'backslashreplace').decode()}'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "a number of more than 53 bits"
    return str(value) if isinstance(value, int | float) else f"a {type(value).__name__}"


def load(text: str | bytes) -> Any:  # noqa: ANN401 - JSON is any value
    """Return the value of a JSON text.

    Raises:
        InvalidComposition: More than 16 MiB, not UTF-8, a byte order mark, not JSON, a key twice in
            one object, a number that is no finite double or an integer of more than 53 bits, half
            of a surrogate pair, or nested deeper than can be read.
    """
    decoded = _decode(text)
    hooks = _Hooks()
    try:
        value = json.loads(
            decoded,
            object_pairs_hook=hooks.members,
            parse_constant=hooks.constant,
            parse_int=hooks.integer,
            parse_float=hooks.real,
        )
    except json.JSONDecodeError as error:
        raise invalid(
            "", f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise invalid("", "nested too deep to be read") from None
    if hooks.hazards or _SURROGATE.search(decoded):
        _refuse_hazards(value)
    return value


def _decode(text: str | bytes) -> str:
    if not isinstance(text, str | bytes):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise invalid("", f"it is a {type(text).__name__}: give JSON text, or a Composition")
    raw = text if isinstance(text, bytes) else _encode(text)
    if len(raw) > MAX_BYTES:
        raise invalid("", f"{len(raw):,} bytes, at most {MAX_BYTES:,} are read")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise invalid("", "begins with a byte order mark: save it as UTF-8 without one")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise invalid(
            "", f"not UTF-8: byte {raw[error.start]:#04x} at offset {error.start:,}"
        ) from None


def _encode(text: str) -> bytes:
    if len(text) > MAX_BYTES:
        raise invalid("", f"more than {MAX_BYTES:,} characters")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise invalid("", f"half of a surrogate pair at character {error.start:,}") from None


@dataclass(frozen=True, slots=True)
class _Hazard:
    """Stands in the loaded value for what cannot be kept, until its place is known."""

    detail: str


class _Hooks:
    """What `json` calls while it reads; the decoder knows no places, so hazards are found later."""

    __slots__ = ("hazards",)

    def __init__(self) -> None:
        self.hazards = 0

    def members(self, pairs: list[tuple[str, Any]]) -> "dict[str, Any] | _Hazard":
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        seen: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))
        return self._hazard(f"the key {shown(duplicate)} appears twice")

    def constant(self, name: str) -> _Hazard:
        return self._hazard(f"{name} is not JSON")

    def integer(self, digits: str) -> "int | _Hazard":
        if len(digits) > len(str(MAX_INTEGER)) + 1 or abs(int(digits)) > MAX_INTEGER:
            return self._hazard(f"{shown(digits)} is an integer of more than 53 bits")
        return int(digits)

    def real(self, digits: str) -> "float | _Hazard":
        value = float(digits)
        return value if math.isfinite(value) else self._hazard(f"{shown(digits)} is too large")

    def _hazard(self, detail: str) -> _Hazard:
        self.hazards += 1
        return _Hazard(detail)


def _refuse_hazards(value: object) -> None:
    for pointer, part in walk(value):
        if isinstance(part, _Hazard):
            raise invalid(pointer, part.detail)
        if isinstance(part, str) and not is_unicode(part):
            raise invalid(pointer, "half of a surrogate pair is no text")


def walk(value: object, pointer: str = "") -> Iterator[tuple[str, object]]:
    """Yield every part of a JSON value with its place, in document order, keys among them."""
    waiting = [(pointer, value)]
    while waiting:
        pointer, part = waiting.pop()
        yield pointer, part
        if is_object(part):
            for key in part:
                yield pointer, key
            inner = [(f"{pointer}/{escape(key)}", part[key]) for key in part]
            waiting.extend(reversed(inner))
        elif is_array(part):
            inner = [(f"{pointer}/{i}", item) for i, item in enumerate(part)]
            waiting.extend(reversed(inner))


def check_value(value: object, pointer: str, *, deepest: int = MAX_VALUE_DEPTH) -> None:
    """Refuse what JSON cannot carry exactly, or what nests deeper than *deepest*."""
    waiting = [(pointer, value, 0)]
    while waiting:
        pointer, part, depth = waiting.pop()
        if depth > deepest:
            raise invalid(pointer, f"a value nests deeper than {deepest}")
        if is_object(part):
            for key, inner in part.items():
                if not isinstance(key, str) or not is_unicode(key):
                    raise invalid(pointer, f"{shown(key)} is no key")
                waiting.append((f"{pointer}/{escape(key)}", inner, depth + 1))
        elif is_array(part):
            waiting.extend((f"{pointer}/{i}", item, depth + 1) for i, item in enumerate(part))
        else:
            _check_scalar(part, pointer)


def _check_scalar(value: object, pointer: str) -> None:
    if isinstance(value, str):
        if not is_unicode(value):
            raise invalid(pointer, "half of a surrogate pair is no text")
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise invalid(pointer, "an integer of more than 53 bits")
    elif not isinstance(value, float):
        raise invalid(pointer, f"{shown(value)} is not JSON")
    elif not math.isfinite(value):
        raise invalid(pointer, f"{value} is not JSON")


def is_unicode(text: str) -> bool:
    """Return whether *text* can be written as UTF-8: it holds no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_object(value: object) -> "TypeGuard[Mapping[str, Any]]":
    """Return whether *value* is a JSON object."""
    return isinstance(value, Mapping)


def is_array(value: object) -> "TypeGuard[list[Any] | tuple[Any, ...]]":
    """Return whether *value* is a JSON array."""
    return isinstance(value, list | tuple)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Return whether *value* is a whole number, which `true` and `1.0` are not."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Fields:
    """The members of one JSON object, read by name; each reader refuses with the member's place."""

    members: Mapping[str, Any]
    pointer: str

    @classmethod
    def of(cls, value: object, pointer: str, noun: str) -> "Fields":
        """Return the members of *value*, which must be an object."""
        if not is_object(value):
            raise invalid(pointer, f"{noun} is an object, not {shown(value)}")
        return cls(value, pointer)

    def at(self, name: str) -> str:
        """Return the JSON pointer of the member."""
        return f"{self.pointer}/{escape(name)}"

    def need(self, name: str) -> Any:  # noqa: ANN401 - JSON is any value
        """Return a required member."""
        if name not in self.members:
            raise invalid(self.pointer, f"the field '{name}' is missing")
        return self.members[name]

    def text(self, name: str, default: str | None = None) -> str:
        """Return a member that is a string; required unless there is a default."""
        value = self.need(name) if default is None else self.members.get(name, default)
        if not isinstance(value, str):
            raise invalid(self.at(name), f"'{name}' is a string, not {shown(value)}")
        return value

    def whole_number(self, name: str) -> int:
        """Return a required member that is a whole number."""
        value = self.need(name)
        if not is_whole_number(value):
            raise invalid(self.at(name), f"'{name}' is a whole number, not {shown(value)}")
        return value

    def array(self, name: str) -> list[tuple[str, Any]]:
        """Return a required array's items, each with its place."""
        value = self.need(name)
        if not is_array(value):
            raise invalid(self.at(name), f"'{name}' is an array, not {shown(value)}")
        return [(f"{self.at(name)}/{i}", item) for i, item in enumerate(value)]

    def object(self, name: str) -> "Fields":
        """Return a required member that is an object."""
        return Fields.of(self.need(name), self.at(name), f"'{name}'")
