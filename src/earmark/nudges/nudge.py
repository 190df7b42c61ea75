"""What a nudge is, and how far it has come."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from earmark.clock import Instant, InstantOrZero, iso

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
