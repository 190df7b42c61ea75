"""What happened since somebody last looked: at the board, the nudges, the agents, runs, books.

A look costs about a millisecond, however much was ever written, and one look serves all listeners.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi.sse import format_sse_event

from earmark.nudges.nudges import NudgeProgress
from earmark.workspace.kill_switch import kill_switch_name
from earmark.workspace.resource_json import event_json, nudge_event_json
from earmark.workspace.workspace import Workspace

#: How many of the latest nudges and runs are watched: those that the first pages show.
LATEST: Final = 50


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened, as it is told."""

    kind: str
    """`task`, `nudge`, `outbox`, `agent`, `run`, `ledger`; `reset`: look at everything again."""
    data: dict[str, Any]
    number: int = 0
    """Of the board's event, for `task`: with it a stream goes on after a break."""
    said: bytes = field(default=b"", compare=False)
    """The same as a server-sent event."""

    @classmethod
    def of(cls, kind: str, data: dict[str, Any], number: int = 0) -> "Happening":
        """Return it, written once for all streams."""
        text = json.dumps(data, allow_nan=False)
        said = format_sse_event(data_str=text, event=kind, id=str(number) if number else None)
        return cls(kind, data, number, said)


#: Up to where each part was looked at; empty before the first look, which finds nothing.
Marks = Mapping[str, Any]
Found = tuple[Any, list[Happening]]


def look(workspace: Workspace, marks: Marks) -> tuple[Marks, list[Happening]]:
    """Return the marks of this look, and what happened since *marks*; all of it, or an error."""
    looked = {name: part(workspace, marks.get(name)) for name, part in _PARTS.items()}
    found = [happening for _, part in looked.values() for happening in part]
    return {name: mark for name, (mark, _) in looked.items()}, found


def _tasks(workspace: Workspace, before: int | None) -> Found:
    if before is None:
        return workspace.board.last_event(), []
    events = workspace.board.events(before)
    last = events[-1].number if events else before
    return last, [Happening.of("task", event_json(each), each.number) for each in events]


def _nudges(workspace: Workspace, before: int | None) -> Found:
    if before is None:
        return workspace.nudges.last_number(), []
    raised = workspace.nudges.find(after=before)
    last = raised[-1].number if raised else before
    return last, [Happening.of("nudge", nudge_event_json(each)) for each in raised]


def _outbox(workspace: Workspace, before: Mapping[str, list[NudgeProgress]] | None) -> Found:
    stands = workspace.nudges.progress(LATEST)
    # One that was raised since is told of as such.
    known = {id_: stands[id_] for id_ in stands.keys() & (before or {}).keys()}
    return stands, _changed("outbox", "id", before, known)


def _agents(workspace: Workspace, before: Mapping[str, Any] | None) -> Found:
    stands = {
        each.name: (each.updated_at, _switch(workspace, each.name))
        for each in workspace.agents.all()
    }
    return stands, _changed("agent", "name", before, stands)


def _switch(workspace: Workspace, agent: str) -> list[tuple[str, int]]:
    return [(each.type, each.version) for each in workspace.quilt.named(kill_switch_name(agent))]


def _runs(workspace: Workspace, before: Mapping[str, Any] | None) -> Found:
    stands = workspace.journal.progress(LATEST)
    return stands, _changed("run", "run_id", before, stands)


def _ledger(workspace: Workspace, before: Mapping[str, int] | None) -> Found:
    heads = dict(workspace.ledger.store.heads())
    if before is None or before == heads:
        return heads, []
    trees = [name for name, head in heads.items() if before.get(name) != head]
    # Where one order holds for all trees, nobody says which one it was.
    return heads, [Happening.of("ledger", {"trees": None if trees == [""] else trees})]


def _changed(
    kind: str, name: str, before: Mapping[str, Any] | None, stands: Mapping[str, Any]
) -> list[Happening]:
    """Return a happening for each that stands otherwise than *before*; none at the first look."""
    if before is None:
        return []
    moved: Iterable[str] = (each for each, how in stands.items() if before.get(each) != how)
    return [Happening.of(kind, {name: each}) for each in moved]


_PARTS: Final[Mapping[str, Callable[[Workspace, Any], Found]]] = {
    "task": _tasks,
    "nudge": _nudges,
    "outbox": _outbox,
    "agent": _agents,
    "run": _runs,
    "ledger": _ledger,
}
