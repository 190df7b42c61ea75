"""One attempt of one stage: a line of a run's statement."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from earmark.money import Money
from earmark.pricing.price import Price
from earmark.pricing.usage import Usage
from earmark.stages.kinds.jsontext import Json

NOTHING = Money()


class LineOutcome(StrEnum):
    """How an attempt ended."""

    OK = "ok"
    FAILED = "failed"
    REFUSED = "refused"
    """It did not fit a budget, so it was not made."""
    CACHED = "cached"
    """A pure stage had this input before in the run; the output was taken from there, free."""
    CANCELLED = "cancelled"
    """A sibling failed, or the run was cancelled, while it was under way."""
    UNKNOWN = "unknown"
    """It has a reservation and no line: it is under way, or its run was cut off."""


class StatementLine(Struct, frozen=True, kw_only=True, gc=False):
    """What one attempt did and cost; durations are nanoseconds."""

    path: str
    """Where in the graph, as a JSON pointer below its root: `/stages/0/branches/left`."""
    stage: str
    """The stage's name, or its reference where it has none."""
    stage_id: str
    number: int = 0
    """Counted by the run itself from 1, in the order its attempts ended."""
    attempt: int
    """1-based attempt number at this place of the graph."""
    outcome: LineOutcome
    started_at: int
    """The instant the attempt began."""
    duration_ns: int = 0
    waited_ns: int = 0
    """How much of it was spent waiting for budget."""
    key: str = ""
    """The key of its reservation; empty where it made none."""
    state: str = ""
    """What became of the reservation: `settled`, `presumed`, `released` or `open`."""
    hold: Money = NOTHING
    settled: Money = NOTHING
    overrun: Money = NOTHING
    usage: Usage | None = None
    unknown: tuple[str, ...] = ()
    """The counters of its reply whose price nobody knows: its cost is not fully known."""
    model: str | None = None
    request_id: str | None = None
    """The provider's own name of the request."""
    price: Price | None = None
    clamped_to: int | None = None
    """The `max_tokens` it was lowered to, to fit a budget."""
    detail: str = ""
    """Why it failed or was refused."""
    note: str = ""

    @property
    def presumed(self) -> bool:
        """Whether nobody knows what it cost, so that its whole hold counts as spent."""
        return self.state == "presumed"

    @property
    def mark(self) -> str:
        """That its cost is not fully known, and by which counters; empty where it is."""
        return f"cost not fully known: {', '.join(self.unknown)}" if self.unknown else ""

    @property
    def held(self) -> Money:
        """What is still held for it, its outcome being unknown."""
        return self.hold if self.state == "open" else NOTHING

    @property
    def matters(self) -> bool:
        """Whether losing it would lose a fact: it touched the books, or it did not succeed."""
        return bool(self.key) or (self.outcome is not _OK and self.outcome is not _CACHED)

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON values; fields that say nothing are left out."""
        return {
            name: _WRITTEN.get(value.__class__, _as_is)(value)
            for name, value in zip(self.__struct_fields__, astuple(self), strict=True)
            # A number that is 0 says something; no other value does that is empty.
            if value or type(value) is int
        }

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> "StatementLine":
        """Read what `to_json` wrote."""
        known: dict[str, Any] = {"path": "", "stage": "", "stage_id": ""}
        known.update((name, form[name]) for name in cls.__struct_fields__ if name in form)
        return cls(**{name: _READ.get(name, _as_is)(value) for name, value in known.items()})


_OK, _CACHED = LineOutcome.OK, LineOutcome.CACHED


def _as_is(value: Json) -> Json:
    return value


_WRITTEN: dict[type, Any] = {
    Money: str,
    LineOutcome: str,
    Usage: Usage.to_json,
    Price: Price.to_json,
    tuple: list,
}
_READ: dict[str, Any] = {
    "outcome": LineOutcome,
    "hold": Money,
    "settled": Money,
    "overrun": Money,
    "usage": Usage.from_json,
    "unknown": tuple,
    "price": Price.from_json,
}
