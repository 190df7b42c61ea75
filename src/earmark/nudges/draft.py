"""A nudge that is to be raised: what it has to be, so that it can be kept and sent."""

import json
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from earmark.composition.document import check_value
from earmark.errors import InvalidComposition, InvalidNudge
from earmark.quilt.quilt import LONGEST_NAME

LONGEST_TITLE: Final = 2000
LONGEST_WORD: Final = 255


class NudgeDraft(Struct, frozen=True, kw_only=True):
    """A nudge that somebody wants to raise."""

    kind: str
    id: str
    budget: str = ""
    title: str
    data: Mapping[str, Any]
    recipient: str | None = None
    """None: the sibling that is nudged by default."""


def checked(draft: NudgeDraft) -> NudgeDraft:
    """Return *draft* as it can be kept and sent; raises `InvalidNudge`."""
    check_words("id", draft.id, LONGEST_NAME)
    check_words("kind", draft.kind, LONGEST_WORD)
    title = _one_line(draft.title)
    check_words("title", title, LONGEST_TITLE)
    if draft.recipient is not None:
        check_words("recipient", draft.recipient, LONGEST_WORD)
    try:
        check_value(draft.data, "")
    except InvalidComposition as error:
        raise InvalidNudge(text=error.place, want=f"JSON: {error.detail}", kind="data") from None
    return replace(draft, title=title)


def _one_line(title: str) -> str:
    # Reasons that people gave become part of it; a nudge is not lost for the sake of a tab.
    words = "".join(each if each.isprintable() else " " for each in title).split()
    return " ".join(words)[:LONGEST_TITLE]


def check_words(what: str, words: str, longest: int) -> None:
    """Refuse what is no short printable text as `InvalidNudge`; *what* names it."""
    if not isinstance(words, str) or not 0 < len(words) <= longest or not words.isprintable():
        want = f"1 to {longest} printable characters"
        raise InvalidNudge(text=str(words)[:40], want=want, kind=f"{what} of a nudge")


def text_of(data: Mapping[str, Any]) -> str:
    """Return a nudge's data as it is kept."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
