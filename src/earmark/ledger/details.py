"""What is kept with a settlement beside its amounts: a small JSON object, in its entry.

Any names may be used; these are shown wherever a cost is: `model`, which answered; `request_id`,
the provider's own name of the request; `usage`, units by kind; `unknown`, the counters of the reply
whose price nobody knows, so that the cost is not fully known; and `note`, why it is not.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from earmark.errors import InvalidKey
from earmark.errors.inputs import shown

#: Characters of JSON.
LARGEST_DETAILS: Final = 4096
_OF_UNKNOWN_COSTS: Final = frozenset({"unknown", "note"})
_WANT: Final = "JSON values by name, such as {'request_id': 'req_1'}"
#: Characters of JSON of what a provider wrote, a name or a note, and of all names of counters
#: together. A letter beyond ASCII is 6 or 12 of them.
_LONGEST_NAME: Final = 200
_LONGEST_NAMES: Final = 1500


def details_text(details: Mapping[str, object] | None) -> str:
    """Return *details* as the text that a store keeps: ASCII, the same on each; empty for none.

    Raises:
        InvalidKey: They are no JSON object, more than 4,096 characters of JSON, or hold a NUL or
            half of a surrogate pair, which not every database takes.
    """
    if not details:
        return ""
    if not isinstance(details, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise _malformed(shown(details), _WANT)
    try:
        _check(details)
        text = json.dumps(dict(details), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise _malformed(shown(details), f"{_WANT}: {error}") from error
    if len(text) > LARGEST_DETAILS:
        want = f"at most {LARGEST_DETAILS} characters of JSON, not {len(text)}"
        raise _malformed(f"{text[:40]}…", want)
    return text


def read_details(text: str) -> dict[str, Any]:
    """Return the details that a store keeps as *text*."""
    return json.loads(text) if text else {}


def details_of_call(
    *,
    usage: Mapping[str, int] | None = None,
    model: str | None = None,
    request_id: str | None = None,
    unknown: Sequence[str] = (),
    note: str = "",
) -> dict[str, object]:
    """Return what a reply says of its call as details, cut so that a store takes them."""
    details: dict[str, object] = {}
    if model:
        details["model"] = _mended(model)
    if request_id:
        details["request_id"] = _mended(request_id)
    if usage:
        details["usage"] = dict(usage)
    if unknown:
        details["unknown"] = _within(_LONGEST_NAMES, map(_mended, unknown))
    if note:
        details["note"] = _mended(note)
    return details


def without_unknown(text: str) -> str:
    """Return the details *text* of a cost that was not fully known, once it is."""
    details = read_details(text)
    known = {name: each for name, each in details.items() if name not in _OF_UNKNOWN_COSTS}
    return text if known == details else details_text(known)


def unknown_counters(details: Mapping[str, Any]) -> list[str]:
    """Return the counters of *details* whose price nobody knows."""
    found: object = details.get("unknown")
    return [str(each) for each in cast("list[object]", found)] if isinstance(found, list) else []


def remarks(details: Mapping[str, Any]) -> list[str]:
    """Return what is worth knowing of a settlement beside its numbers, in short phrases."""
    unknown = unknown_counters(details)
    mark = f"cost not fully known: {', '.join(unknown)}" if unknown else ""
    note, model, request = (
        str(details.get(name) or "") for name in ("note", "model", "request_id")
    )
    request = f"request {request}" if request else ""
    return [part for part in (mark, note, model, request) if part]


def _malformed(text: str, want: str) -> InvalidKey:
    return InvalidKey(text=text, want=want, kind="set of details")


def _check(details: object) -> None:
    """Raise `ValueError` for a name that is no text, a NUL, or half of a surrogate pair."""
    if isinstance(details, str):
        details.encode()
        if "\0" in details:
            raise ValueError("a NUL is no text")
    elif isinstance(details, Mapping):
        for name, value in cast("Mapping[object, object]", details).items():
            if not isinstance(name, str):
                raise TypeError(f"the name {name!r} is no text")
            _check(name)
            _check(value)
    elif isinstance(details, list | tuple):
        for value in cast("Sequence[object]", details):
            _check(value)


def _mended(text: str) -> str:
    """Return *text* without what cannot be printed, cut where its JSON would be too long."""
    if text.isprintable() and len(json.dumps(text)) - 2 <= _LONGEST_NAME:
        return text
    kept, size = "", 0
    for each in text:
        letter = each if each.isprintable() else "?"
        size += len(json.dumps(letter)) - 2
        if size > _LONGEST_NAME:
            return f"{kept}…"
        kept += letter
    return kept


def _within(most: int, names: Iterable[str]) -> list[str]:
    """Return *names* as far as they are *most* characters of JSON, and how many more there are."""
    kept: list[str] = []
    size = left = 0
    for name in names:
        size += len(json.dumps(name)) + 1
        if size <= most:
            kept.append(name)
        else:
            left += 1
    return [*kept, f"and {left} more"] if left else kept
