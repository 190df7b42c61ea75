"""One change of the board within one transaction: who did what to which task, written once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from earmark.board import rows, trail
from earmark.board.draft import LONGEST_NAME
from earmark.board.moves import Move
from earmark.board.rules import advance
from earmark.board.task import Event, Outcome, Task
from earmark.board.text import clean
from earmark.stores.tables import Rows

#: Of a line of the history; the whole error is on the task.
LONGEST_NOTE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Turn:
    """A transaction that may write to the board, alone among those that may."""

    rows: Rows
    now: int
    """The later of the clock and the last event."""
    operation: str
    """The name of what is done: found in the events, it was done already."""

    def done(self) -> Event | None:
        """Return what an earlier try of this same write left, if it was kept."""
        return trail.event_of(self.rows, self.operation)

    def move(
        self, task: Task, move: Move, *, actor: str, note: str = "", part: int | None = None
    ) -> Task:
        """Write *task* as it is after *move*, and the event; *part* numbers several of them."""
        after = advance(task, move, self.now)
        rows.save_task(self.rows, after)
        self.tell(after, move.told, actor=actor, note=note, part=part)
        return after

    def tell(
        self, task: Task, told: str, *, actor: str, note: str = "", part: int | None = None
    ) -> None:
        """Write an event about *task* as it now is."""
        trail.add_event(
            self.rows,
            task,
            self.now,
            actor=clean(actor, LONGEST_NAME),
            move=told,
            note=clean(note, LONGEST_NOTE),
            operation=self.operation if part is None else f"{self.operation}/{part}",
        )


#: What else is written in the transaction of a move: the task is as it was before.
Beside = Callable[[Turn, Task], None]


def nothing(_turn: Turn, _before: Task) -> None:
    """Write nothing else."""


def moved(turn: Turn, task: Task, move: Move, actor: str, note: str, beside: Beside) -> Task:
    """Write *task* as it is after *move*, the event, and what *beside* writes."""
    after = turn.move(task, move, actor=actor, note=note)
    beside(turn, task)
    return after


def ending(outcome: Outcome, tokens: tuple[int | None, int | None] = (None, None)) -> Beside:
    """Return what ends the open attempt of a task."""

    def end(turn: Turn, before: Task) -> None:
        trail.end_attempt(turn.rows, before.id, outcome, turn.now, tokens)

    return end


def unblock(turn: Turn, accepted: Task) -> None:
    """Let those that need *accepted* wait for one task less."""
    for part, each in enumerate(rows.waiting_for(turn.rows, accepted.id)):
        freed = replace(each, waiting=each.waiting - 1, version=each.version + 1)
        rows.save_task(turn.rows, freed)
        left = f", {freed.waiting} more to come" if freed.waiting else ""
        note = f"#{accepted.number} was accepted{left}"
        turn.tell(freed, "unblocked", actor="", note=note, part=part)
