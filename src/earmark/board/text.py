"""Text and JSON as the board keeps them: what every store can write and every page can show."""

import json
from collections.abc import Mapping
from typing import Any, Final

from earmark.errors import InvalidTask

#: The longest error or note that is kept; what a provider says may be a page of HTML.
LONGEST_NOTE: Final = 10_000
_CUT: Final = " …"
_SHOWN: Final = 60


def clean(text: str, most: int = LONGEST_NOTE) -> str:
    """Return *text* without what no database keeps (NUL, half characters), cut to *most*."""
    whole = text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole if len(whole) <= most else whole[: most - len(_CUT)] + _CUT


def to_json(value: object, kind: str) -> str:
    """Return *value* as JSON text.

    Raises:
        InvalidTask: It has a NaN or an infinity, or something that JSON cannot say.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        want = f"only what JSON can say ({error})"
        raise InvalidTask(text=shown(repr(value)), want=want, kind=kind) from None
    # Escapes keep NUL out of it; half characters come from replies that were cut.
    return clean(text, len(text))


def from_json(text: str) -> Any:  # noqa: ANN401 - JSON of any kind
    """Return what `to_json` wrote."""
    return json.loads(text)


def as_kept(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *result* as reading it again will give it; raises `InvalidTask` if it is not JSON."""
    return from_json(to_json(result, "result"))


def is_text(text: str) -> bool:
    """Return whether every store can keep *text* as it is."""
    return clean(text, len(text)) == text


def shown(text: str) -> str:
    """Return the beginning of *text* for an error, however long it is."""
    return clean(text, _SHOWN)
