"""What a nudge is, how far it has come, and what can be told in one."""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from earmark.clock import Instant, InstantOrZero, iso
from earmark.composition.document import check_value
from earmark.errors import InvalidComposition, InvalidNudge
from earmark.quilt.quilt import LONGEST_NAME

LONGEST_TITLE: Final = 2000
LONGEST_WORD: Final = 255

DeliveryState = Literal["waiting", "delivered", "given_up"]


class Nudge(Struct, frozen=True, kw_only=True):
    """A message that asks a sibling to act; instants are nanoseconds since the epoch."""

    id: str
    """Follows from what it is about: the same for every process, delivery and restart."""
    number: int
    """In the order they were raised, from 1."""
    kind: str
    """`threshold`, `exhausted`, `paused`, `resumed`, `extended`, `overrun`, `unknown` …"""
    budget: str
    """The budget it is about; empty where it is about none."""
    recipient: str
    """A sibling."""
    title: str
    data: Mapping[str, Any]
    """A JSON object; amounts are decimal strings."""
    created_at: Instant
    acked_by: str = ""
    acked_at: InstantOrZero = 0
    """0 until somebody acknowledges it."""


class Delivery(Struct, frozen=True, kw_only=True):
    """How far a nudge has come on one channel."""

    nudge_id: str
    channel: str
    state: DeliveryState
    tries: int
    next_at: InstantOrZero
    """While it waits: not tried before this."""
    delivered_at: InstantOrZero
    """0 until it is delivered."""
    error: str
    """Why the last try failed."""


class NudgeDraft(Struct, frozen=True, kw_only=True):
    """A nudge that somebody wants to raise."""

    kind: str
    id: str
    budget: str = ""
    title: str
    data: Mapping[str, Any]
    recipient: str | None = None
    """None: the sibling that is nudged by default."""


def patch_data(nudge: Nudge) -> dict[str, Any]:
    """Return what the nudge's patch holds: its data, and what it is."""
    about = {
        "id": nudge.id,
        "kind": nudge.kind,
        "budget": nudge.budget,
        "recipient": nudge.recipient,
        "title": nudge.title,
        "created_at": iso(nudge.created_at),
    }
    return {**about, **nudge.data}


# What can be told ---------------------------------------------------------------------------------


def checked(draft: NudgeDraft) -> NudgeDraft:
    """Return *draft* as it can be kept and told; raises `InvalidNudge`."""
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
