"""What a heartbeat says of itself between cycles; anybody may read it."""

from typing import Any, Literal

from msgspec import Struct, structs

from earmark.clock import iso

HeartbeatState = Literal[
    "idle", "dispatching", "at_cap", "paused", "killed", "quiet", "error", "stopped", ""
]


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
    state: HeartbeatState = ""
    reason: str = ""
    """Why it dispatches nothing, or less; empty where nothing is in the way."""
    resets_at: int = 0
    """When that ends by itself; 0 where that is unknown."""
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


def _moment(instant: int) -> str | None:
    return iso(instant) if instant else None
