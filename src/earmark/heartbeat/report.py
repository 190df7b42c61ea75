"""What a heartbeat says of itself: its state between cycles, and what one cycle did."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct, structs

from earmark.clock import iso

State = Literal[
    "idle", "dispatching", "at_cap", "paused", "killed", "quiet", "error", "stopped", ""
]


_LONGEST_ERROR: Final = 1000
#: Ends of a dispatch that somebody should hear of.
_TROUBLE: Final = frozenset({"failed", "retried", "unknown", "lost"})


class AgentState(Struct, frozen=True, kw_only=True):
    """All that health needs, written at the beginning and the end of each cycle.

    Instants are nanoseconds since the epoch, 0 where something has not happened yet.
    """

    agent: str = ""
    sibling: str = ""
    budget: str = ""
    """Who pays."""
    model: str = ""
    """For tasks that name none."""
    running: bool = False
    started_at: int = 0
    cycle_count: int = 0
    """Over all restarts."""
    last_heartbeat: int = 0
    """When the last cycle ended."""
    next_cycle_at: int = 0
    """When the next one begins; a cycle at the cap may begin sooner, when the window turns."""
    interval_s: float = 0
    state: State = ""
    reason: str = ""
    """Why it dispatches nothing, or less; empty where nothing is in the way."""
    resets_at: int = 0
    """When that ends by itself; 0 where nobody knows."""
    dispatched: int = 0
    """Tasks given to a model since it was started."""
    last_error: str = ""
    """What went wrong in the last cycle; empty if nothing did."""
    persist_every: int = 0
    persisted_cycle: int = 0
    """The cycle that last wrote the budget's patch."""
    last_persist_at: int = 0
    last_budget_date: str = ""
    """The day that the last patch describes, and its name."""
    patch_name: str = ""
    unclosed_since: int = 0
    """The start of the first day whose patch does not have its last numbers yet."""
    store_ok: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return it with instants as RFC 3339 text, null where they are 0."""
        facts = structs.asdict(self)
        return {
            name: _moment(value) if name in _INSTANTS else value for name, value in facts.items()
        }


_INSTANTS = frozenset(
    {
        "started_at",
        "last_heartbeat",
        "next_cycle_at",
        "resets_at",
        "last_persist_at",
        "unclosed_since",
    }
)


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
    state: State
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
            "resets_at": _moment(self.resets_at),
            "dispatched": [structs.asdict(each) for each in self.dispatched],
        }

    def line(self) -> str:
        """Return it as one line for people."""
        done = [f"{each.outcome} {each.title}" for each in self.dispatched]
        parts = [self.reason, *self.recovered, *done, *self.errors]
        said = "; ".join(part for part in parts if part)
        return f"cycle {self.number}: {self.state}" + (f": {said}" if said else "")

    def trouble(self) -> str:
        """Return what went wrong, as health says it; empty if nothing did."""
        failed = [each.detail for each in self.dispatched if each.outcome in _TROUBLE]
        count = f"{len(failed)} of {len(self.dispatched)} dispatches did not succeed: "
        parts = [*self.errors, *([count + "; ".join(dict.fromkeys(failed))] if failed else [])]
        return "; ".join(parts)[:_LONGEST_ERROR]


def _moment(instant: int) -> str | None:
    return iso(instant) if instant else None
