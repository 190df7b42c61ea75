"""Types as an author writes them: `"Text"`, `{"List": "Text"}`, `{"Record": [["a", "Text"]]}`.

The format's own form, `{"kind": …}`, is read too, also inside a shorthand.
"""

from typing import Any

from earmark.composition.document import MAX_VALUE_DEPTH, invalid, is_array, is_object, shown
from earmark.composition.types import NType, parse_type

_FORMS = (
    'a name such as "Text", {"List": T}, {"Stream": T}, {"Map": [K, V]},'
    ' {"Record": [["field", T]]}, {"Union": [T, …]} or {"kind": …}'
)


def parse_author_type(raw: object, pointer: str = "") -> NType:
    """Return the type that an author's shorthand describes.

    Raises:
        InvalidComposition: Not a type, or nested deeper than 64; *pointer* is where *raw* stands.
    """
    return parse_type(_expand(raw, pointer, 0), pointer)


def _expand(raw: object, pointer: str, depth: int) -> dict[str, Any]:
    if depth > MAX_VALUE_DEPTH:
        raise invalid(pointer, f"a type nests deeper than {MAX_VALUE_DEPTH}")
    if isinstance(raw, str):
        return {"kind": raw}
    if not is_object(raw) or ("kind" not in raw and len(raw) != 1):
        raise invalid(pointer, f"{shown(raw)} is no type: write {_FORMS}")
    if "kind" in raw:
        return dict(raw)
    kind, inner = next(iter(raw.items()))
    return {"kind": kind, "value": _expand_inner(kind, inner, f"{pointer}/{kind}", depth + 1)}


def _expand_inner(kind: str, inner: object, pointer: str, depth: int) -> Any:  # noqa: ANN401 - JSON
    match kind:
        case "List" | "Stream":
            return _expand(inner, pointer, depth)
        case "Union" if is_array(inner):
            return [_expand(part, f"{pointer}/{i}", depth) for i, part in enumerate(inner)]
        case "Map" if is_array(inner) and len(inner) == 2:  # noqa: PLR2004 - a pair
            key, value = inner
            return {"key": _expand(key, pointer, depth), "value": _expand(value, pointer, depth)}
        case "Record" if is_array(inner) or is_object(inner):
            pairs = inner.items() if is_object(inner) else inner
            return _expand_fields(list(pairs), pointer, depth)
        case _:
            raise invalid(pointer, f"this is no type: write {_FORMS}")


def _expand_fields(pairs: list[Any], pointer: str, depth: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for i, pair in enumerate(pairs):
        at = f"{pointer}/{i}"
        if not is_array(pair) or len(pair) != 2 or not isinstance(pair[0], str):  # noqa: PLR2004
            raise invalid(at, 'a field is a pair: ["name", type]')
        if pair[0] in fields:
            raise invalid(at, f"the field {shown(pair[0])} appears twice")
        fields[pair[0]] = _expand(pair[1], at, depth)
    return fields
