"""Pages of lists: `?limit=&cursor=`; a cursor is opaque, and says after which item to go on."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar, cast

from fastapi import Query
from starlette.responses import JSONResponse

from earmark.service.problems import ProblemError
from earmark.workspace.jsonable import to_jsonable_utf8

T = TypeVar("T")

MOST: Final = 1000
USUAL: Final = 100
_LARGEST: Final = (1 << 63) - 1
_LONGEST: Final = 2000

LimitParam = Annotated[int, Query(ge=1, le=MOST, description="How many items at most.")]
Cursor = Annotated[
    str | None, Query(max_length=_LONGEST, description="The `next` of the page before.")
]


def page(
    found: Sequence[T], limit: int, form: Callable[[T], Any], mark: Callable[[T], Any]
) -> JSONResponse:
    """Return the page of *found*, of which one more was asked for than *limit*.

    Args:
        found: What was found, in order.
        limit: How many items at most.
        form: An item as JSON.
        mark: What the list goes on after, if the item is the page's last.
    """
    items = found[:limit]
    after = cursor_of(mark(items[-1])) if len(found) > limit else None
    return page_of([form(each) for each in items], after)


def page_of(forms: list[dict[str, Any]], after: str | None = None) -> JSONResponse:
    """Return a page of these; *after* is the cursor of the next one."""
    return JSONResponse({"items": to_jsonable_utf8(forms), "next": after})


def cursor_of(mark: Any) -> str:  # noqa: ANN401 - a number, a text or a list of them
    """Return what names *mark* to a caller."""
    return urlsafe_b64encode(json.dumps(mark).encode()).decode().rstrip("=")


def after_number(cursor: str | None) -> int:
    """Return the number that *cursor* names, 0 without one.

    Raises:
        Problem: 400: it is not one of this list.
    """
    if cursor is None:
        return 0
    mark = _mark(cursor)
    if type(mark) is not int or not 0 <= mark <= _LARGEST:
        raise strange_cursor()
    return mark


def after_texts(cursor: str | None, count: int) -> tuple[str, ...]:
    """Return the *count* texts that *cursor* names, empty ones without one.

    Raises:
        Problem: 400: it is not one of this list.
    """
    if cursor is None:
        return ("",) * count
    mark = _mark(cursor)
    texts = cast("list[object]", mark) if isinstance(mark, list) else [mark]
    if len(texts) != count or not all(_is_text(text) for text in texts):
        raise strange_cursor()
    return tuple(str(text) for text in texts)


def _mark(cursor: str) -> object:
    try:
        found: object = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, NotBase64, RecursionError):
        raise strange_cursor() from None
    return found


def _is_text(text: object) -> bool:
    # What no database keeps: half characters, and the end of a C string.
    return isinstance(text, str) and text.isprintable()


def strange_cursor() -> ProblemError:
    """Return the answer to a cursor that no list gave."""
    return ProblemError(400, "input_error", "the cursor is not one of this list: start without one")
