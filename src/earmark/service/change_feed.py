"""What changed since the last poll: of the board, the nudges, the agents, the runs, the books.

A poll costs about a millisecond, however much was ever written, and one serves all listeners.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi.sse import format_sse_event

from earmark.nudges.nudges import NudgeProgress
from earmark.workspace.kill_switch import kill_switch_name
from earmark.workspace.resources.agents import NUDGE_EVENT
from earmark.workspace.resources.board import TASK_DECISION
from earmark.workspace.workspace import Workspace

#: How many of the latest nudges and runs are watched: those that the first pages show.
LATEST: Final = 50


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed, as listeners get it."""

    kind: str
    """`task`, `nudge`, `outbox`, `agent`, `run`, `ledger`; `reset`: read everything again."""
    data: dict[str, Any]
    number: int = 0
    """Of the board's event, for `task`: with it a stream goes on after a break."""
    encoded: bytes = field(default=b"", compare=False)
    """The same as a server-sent event."""

    @classmethod
    def of(cls, kind: str, data: dict[str, Any], number: int = 0) -> "Change":
        """Return it, written once for all streams."""
        text = json.dumps(data, allow_nan=False)
        encoded = format_sse_event(data_str=text, event=kind, id=str(number) if number else None)
        return cls(kind, data, number, encoded)


#: Up to where each part was read; empty before the first poll, which finds nothing.
Positions = Mapping[str, Any]
PartChanges = tuple[Any, list[Change]]


def changes_since(workspace: Workspace, positions: Positions) -> tuple[Positions, list[Change]]:
    """Return the positions after this poll and all changes since *positions*, or raise."""
    polled = {name: part(workspace, positions.get(name)) for name, part in _PARTS.items()}
    found = [change for _, part in polled.values() for change in part]
    return {name: position for name, (position, _) in polled.items()}, found


def _tasks(workspace: Workspace, before: int | None) -> PartChanges:
    if before is None:
        return workspace.board.last_event(), []
    events = workspace.board.events(before)
    last = events[-1].number if events else before
    return last, [Change.of("task", TASK_DECISION.encode(each), each.number) for each in events]


def _nudges(workspace: Workspace, before: int | None) -> PartChanges:
    if before is None:
        return workspace.nudges.last_number(), []
    raised = workspace.nudges.find(after=before)
    last = raised[-1].number if raised else before
    return last, [Change.of("nudge", NUDGE_EVENT.encode(each)) for each in raised]


def _outbox(workspace: Workspace, before: Mapping[str, list[NudgeProgress]] | None) -> PartChanges:
    states = workspace.nudges.progress(LATEST)
    # A new one is a change of its own.
    known = {id_: states[id_] for id_ in states.keys() & (before or {}).keys()}
    return states, _changed("outbox", "id", before, known)


def _agents(workspace: Workspace, before: Mapping[str, Any] | None) -> PartChanges:
    states = {
        each.name: (each.updated_at, _switch(workspace, each.name))
        for each in workspace.agents.all()
    }
    return states, _changed("agent", "name", before, states)


def _switch(workspace: Workspace, agent: str) -> list[tuple[str, int]]:
    return [(each.type, each.version) for each in workspace.quilt.named(kill_switch_name(agent))]


def _runs(workspace: Workspace, before: Mapping[str, Any] | None) -> PartChanges:
    states = workspace.journal.progress(LATEST)
    return states, _changed("run", "run_id", before, states)


def _ledger(workspace: Workspace, before: Mapping[str, int] | None) -> PartChanges:
    heads = dict(workspace.ledger.store.heads())
    if before is None or before == heads:
        return heads, []
    trees = [name for name, head in heads.items() if before.get(name) != head]
    # Where one order holds for all trees, nobody says which one it was.
    return heads, [Change.of("ledger", {"trees": None if trees == [""] else trees})]


def _changed(
    kind: str, name: str, before: Mapping[str, Any] | None, states: Mapping[str, Any]
) -> list[Change]:
    """Return a change for each whose state differs from *before*; none at the first poll."""
    if before is None:
        return []
    moved: Iterable[str] = (each for each, how in states.items() if before.get(each) != how)
    return [Change.of(kind, {name: each}) for each in moved]


_PARTS: Final[Mapping[str, Callable[[Workspace, Any], PartChanges]]] = {
    "task": _tasks,
    "nudge": _nudges,
    "outbox": _outbox,
    "agent": _agents,
    "run": _runs,
    "ledger": _ledger,
}
