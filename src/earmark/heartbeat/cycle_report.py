"""What one cycle of a heartbeat did."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct, structs

from earmark.clock import iso
from earmark.workspace.agent_state import HeartbeatState

_LONGEST_ERROR: Final = 1000
#: Ends of a dispatch that somebody should hear of.
_TROUBLE: Final = frozenset({"failed", "retried", "unknown", "lost"})


class Dispatched(Struct, frozen=True, kw_only=True):
    """What became of one task that was given away."""

    task_id: str
    title: str
    outcome: Literal["completed", "failed", "retried", "unknown", "parked", "lost"]
    cost_usd: str = ""
    """As the result says it; empty where there is none."""
    detail: str = ""


class CycleReport(Struct, frozen=True, kw_only=True):
    """One cycle, from the controls to the patch."""

    number: int
    state: HeartbeatState
    reason: str = ""
    resets_at: int = 0
    recovered: tuple[str, ...] = ()
    """Tasks whose heartbeat died, and what became of them."""
    dispatched: tuple[Dispatched, ...] = ()
    graded: int = 0
    nudged: int = 0
    """Nudges raised by this cycle."""
    persisted: str = ""
    """The patch that was written; empty if it was not its turn."""
    errors: tuple[str, ...] = ()
    duration_ms: int = 0

    def to_json(self) -> Mapping[str, Any]:
        """Return it with the instant as RFC 3339 text."""
        facts = structs.asdict(self)
        return {
            **facts,
            "resets_at": iso(self.resets_at) if self.resets_at else None,
            "dispatched": [structs.asdict(each) for each in self.dispatched],
        }

    def line(self) -> str:
        """Return it as one line for people."""
        done = [f"{each.outcome} {each.title}" for each in self.dispatched]
        parts = [self.reason, *self.recovered, *done, *self.errors]
        details = "; ".join(part for part in parts if part)
        return f"cycle {self.number}: {self.state}" + (f": {details}" if details else "")

    def trouble(self) -> str:
        """Return what went wrong, as health says it; empty if nothing did."""
        failed = [each.detail for each in self.dispatched if each.outcome in _TROUBLE]
        count = f"{len(failed)} of {len(self.dispatched)} dispatches did not succeed: "
        parts = [*self.errors, *([count + "; ".join(dict.fromkeys(failed))] if failed else [])]
        return "; ".join(parts)[:_LONGEST_ERROR]
