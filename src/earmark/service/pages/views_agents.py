"""Heartbeats as the pages show them: alive or not, what they do, and why they do not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from earmark.quilt.quilt import Patch
from earmark.service.pages.formatting import moment
from earmark.workspace.agent_state import AgentState
from earmark.workspace.agents import AgentRow
from earmark.workspace.kill_switch import is_enabled, kill_switch_name

#: A heartbeat is late when its next cycle was due so long ago, besides one more interval.
_PATIENCE_NS: Final = 5_000_000_000
_NANOS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One heartbeat, and what follows from its last report."""

    agent: AgentRow
    state: str
    """`idle`, `dispatching`, `paused` …; `stopped` and `dead` where nobody holds the name."""
    mark: str
    """The chip's class: how worrying that is."""
    reason: str
    next_at: int
    """0 where it is not going to beat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """The kill switch of one agent."""

    name: str
    off: bool
    """Whether it keeps the agent from dispatching."""
    patches: tuple[str, ...]
    """What says so, or the contrary: type, author and version of each patch of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsView:
    """The page of agents."""

    agents: tuple[tuple[Beat, Switch], ...]

    @property
    def summary(self) -> str:
        """What each does, as one sentence."""
        facts = [f"{beat.agent.name} {beat.state}" for beat, _ in self.agents]
        return ", ".join(facts) or "No heartbeat ever ran"


_MARKS: Final = {
    "idle": "ok",
    "dispatching": "running",
    "at_cap": "wanted",
    "paused": "paused",
    "killed": "failed",
    "quiet": "pending",
    "error": "failed",
    "stopped": "cancelled",
    "dead": "failed",
}
_WORDS: Final = {"at_cap": "at the cap", "killed": "switched off", "quiet": "quiet hours"}


def beats(rows: Iterable[AgentRow], now: int) -> tuple[Beat, ...]:
    """Return every heartbeat, by name."""
    return tuple(beat(row, now) for row in rows)


def beat(agent: AgentRow, now: int) -> Beat:
    """Return one heartbeat as it stands at *now*."""
    known = _state(agent, now)
    return Beat(
        agent=agent,
        state=_WORDS.get(known, known),
        mark=_MARKS.get(known, "pending"),
        reason=_reason(agent, known, now),
        next_at=agent.state.next_cycle_at if agent.held_at(now) else 0,
    )


def agents_view(
    rows: Iterable[AgentRow], patches: Mapping[str, Sequence[Patch]], now: int
) -> AgentsView:
    """Return the page; *patches*: those by which each agent may be stopped, by its name."""
    return AgentsView(
        agents=tuple((beat(row, now), _switch(row.name, patches[row.name])) for row in rows)
    )


def _switch(agent: str, patches: Sequence[Patch]) -> Switch:
    name = kill_switch_name(agent)
    return Switch(
        name=name,
        off=any(not is_enabled(patch.data, name) for patch in patches),
        patches=tuple(f"{p.type} by {p.author}, version {p.version}" for p in patches),
    )


def _state(row: AgentRow, now: int) -> str:
    if row.held_at(now):
        return row.state.state or "idle"
    return "dead" if row.holder else "stopped"


def _reason(row: AgentRow, known: str, now: int) -> str:
    if known == "dead":
        return f"its lease ran out {_ago(row.lease_until, now)}: no heartbeat renews it"
    if _late(row.state, now) and known != "stopped":
        return f"its next cycle was due {_ago(row.state.next_cycle_at, now)}"
    return row.state.reason


def _late(state: AgentState, now: int) -> bool:
    due = state.next_cycle_at
    return bool(due) and now > due + _PATIENCE_NS + round(state.interval_s * _NANOS)


def _ago(instant: int, now: int) -> str:
    found = moment(instant, now)
    return found.age if found else "long ago"
