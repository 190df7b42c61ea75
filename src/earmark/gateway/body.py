"""A request's body: decoded once to be bounded, and changed in its bytes where it must be. Pure.

Every byte stays as the client wrote it, but for the members that are set: numbers keep their form,
members their order, texts their escapes.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn, cast

import msgspec

from earmark.gateway.denied import Denied

_KEY: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_SPACES: Final = b" \t\n\r"
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decoded(data: bytes) -> dict[str, Any]:
    """Return the JSON object that *data* is.

    Raises:
        Denied: It is none; or one of its objects names a member twice, as nobody knows which of the
            two its provider reads; or an escape is half of a surrogate pair, which is no character;
            or a number is longer, or the nesting deeper, than Python reads.
    """
    try:
        found = json.loads(
            data.decode("utf-8"), object_pairs_hook=_members_once, parse_constant=_no_constant
        )
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise Denied(400, "invalid_json", "the body is no JSON in UTF-8") from None
    except ValueError:  # what it raises for digits alone
        words = (
            f"a whole number in the body has more than {sys.get_int_max_str_digits()} digits,"
            " which is not read: send a shorter one, or a text"
        )
        raise Denied(400, "number_too_long", words) from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(found, dict):
        raise Denied(400, "invalid_json", "the body is no JSON object")
    if _SURROGATE.search(data):
        _check_surrogates(cast("object", found))
    return cast("dict[str, Any]", found)


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Denied(400, "repeated_member", "an object of the body names a member twice")
    return found


def _check_surrogates(value: object) -> None:
    """Refuse what UTF-8 cannot hold: nothing that reads a part of it could write it again."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise _too_deep() from None
    except UnicodeEncodeError:
        words = (
            "a text of the body is cut within a character: a \\u escape is half of a surrogate"
            " pair; send both halves, or neither"
        )
        raise Denied(400, "invalid_json", words) from None


def _too_deep() -> Denied:
    words = "the body nests lists and objects deeper than is read: nest them less deeply"
    return Denied(400, "nested_too_deep", words)


def _no_constant(name: str) -> NoReturn:
    # What Python reads and JSON has not.
    words = f"the body is no JSON: {name} is no number there; send a number, or null"
    raise Denied(400, "invalid_json", words)


def spliced(data: bytes, before: Mapping[str, Any], after: Mapping[str, Any]) -> bytes:
    """Return *data*, which says *before*, changed where *after* differs.

    Args:
        data: A JSON object that names no member twice.
        before: What it says.
        after: What it shall say: members set to other values, or added; objects likewise. None of
            the object's own members is left out.
    """
    changed = {
        name: value
        for name, value in after.items()
        if name not in before or not _same(value, before[name])
    }
    if not changed:
        return data
    made: list[bytes] = []
    end, is_empty = 0, True
    for name, start, stop in _spans(data):
        is_empty = False
        if name in changed:
            value, known = changed.pop(name), before[name]
            made.append(data[end:start])
            if (
                isinstance(value, Mapping)
                and isinstance(known, Mapping)
                and cast("Mapping[str, Any]", known).keys() <= value.keys()
            ):
                made.append(
                    spliced(
                        data[start:stop],
                        cast("Mapping[str, Any]", known),
                        cast("Mapping[str, Any]", value),
                    )
                )
            else:
                made.append(_encoded(cast("object", value)))
            end = stop
    close = data.rindex(b"}")
    rest = data[end:close]
    last = rest.rstrip(_SPACES)  # what is added stands right behind the last member
    made.append(last)
    for name, value in changed.items():
        made.append(b"" if is_empty else b",")
        made.append(_encoded(name) + b":" + _encoded(value))
        is_empty = False
    made.append(rest[len(last) :] + data[close:])
    return b"".join(made)


def _same(value: object, known: object) -> bool:
    """Return whether both are written alike; `1` is no `true`, and compares as if it were."""
    if value is known:
        return True
    if not isinstance(value, Mapping) or not isinstance(known, Mapping):
        return type(cast("object", value)) is type(known) and value == known
    members = cast("Mapping[str, object]", value)
    others = cast("Mapping[str, object]", known)
    return members.keys() == others.keys() and all(
        _same(members[name], others[name]) for name in members
    )


def _spans(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield each member of the object *data*: its name, and where its value begins and ends."""
    at = _after_space(data, 0) + 1
    for name, raw in _MEMBERS.decode(data).items():
        at = _after_space(data, at)
        if data[at : at + 1] == b",":
            at = _after_space(data, at + 1)
        key = _KEY.match(data, at)
        assert key is not None, "a member begins with its name"
        at = _after_space(data, key.end())
        start = _after_space(data, at + 1)
        at = start + memoryview(raw).nbytes
        yield name, start, at


def _after_space(data: bytes, at: int) -> int:
    found = _SPACE.match(data, at)
    return at if found is None else found.end()


def _encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
