"""One change of the board within one transaction: who did what to which task, written once."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from earmark.board import rows, task_history
from earmark.board.draft import LONGEST_NAME
from earmark.board.moves import Complete, Fail, Lose, Move, Start
from earmark.board.rules import advance, check_open
from earmark.board.task import Attempt, AttemptOutcome, Task, TaskDecision
from earmark.board.text import clean
from earmark.errors import KeyReused
from earmark.stores.tables import Rows

#: Of a line of the history; the whole error is on the task.
LONGEST_NOTE: Final = 1_000


@dataclass(frozen=True, slots=True)
class BoardTransaction:
    """A transaction that may write to the board, alone among those that may."""

    rows: Rows
    now: int
    """The later of the clock and the last event."""
    operation: str
    """The name of what is done: found in the events, it was done already."""

    def done(self) -> TaskDecision | None:
        """Return what an earlier try of this same write left, if it was kept."""
        return task_history.event_of(self.rows, self.operation)

    def move(
        self, task: Task, move: Move, *, actor: str, note: str = "", part: int | None = None
    ) -> Task:
        """Write *task* as it is after *move*, and the event; *part* numbers several of them."""
        after = advance(task, move, self.now)
        rows.save_task(self.rows, after)
        self.record_event(after, move.event_name, actor=actor, note=note, part=part)
        return after

    def record_event(
        self, task: Task, event_name: str, *, actor: str, note: str = "", part: int | None = None
    ) -> None:
        """Write an event about *task* as it now is."""
        task_history.add_event(
            self.rows,
            task,
            self.now,
            actor=clean(actor, LONGEST_NAME),
            move=event_name,
            note=clean(note, LONGEST_NOTE),
            operation=self.operation if part is None else f"{self.operation}/{part}",
        )


#: What else is written in the transaction of a move: the task is as it was before.
WriteBeside = Callable[[BoardTransaction, Task], None]


def nothing(_turn: BoardTransaction, _before: Task) -> None:
    """Write nothing else."""


def moved(
    transaction: BoardTransaction,
    task: Task,
    move: Move,
    actor: str,
    note: str,
    beside: WriteBeside,
) -> Task:
    """Write *task* as it is after *move*, the event, and what *beside* writes."""
    after = transaction.move(task, move, actor=actor, note=note)
    beside(transaction, task)
    return after


def ending(
    outcome: AttemptOutcome, tokens: tuple[int | None, int | None] = (None, None)
) -> WriteBeside:
    """Return what ends the open attempt of a task."""

    def end(transaction: BoardTransaction, before: Task) -> None:
        task_history.end_attempt(transaction.rows, before.id, outcome, transaction.now, tokens)

    return end


def unblock(transaction: BoardTransaction, accepted: Task) -> None:
    """Let those that need *accepted* wait for one task less."""
    for part, each in enumerate(rows.waiting_for(transaction.rows, accepted.id)):
        freed = replace(each, waiting=each.waiting - 1, version=each.version + 1)
        rows.save_task(transaction.rows, freed)
        left = f", {freed.waiting} more to come" if freed.waiting else ""
        note = f"#{accepted.number} was accepted{left}"
        transaction.record_event(freed, "unblocked", actor="", note=note, part=part)


# Attempts -----------------------------------------------------------------------------------------


def start_attempt(transaction: BoardTransaction, wanted: Attempt, move: Start) -> Attempt:
    """Write the next attempt of a task, like *wanted*, and that the task runs."""
    task = rows.find_task(transaction.rows, wanted.task_id)
    attempts = task_history.attempts_of(transaction.rows, [task.id])[task.id]
    if transaction.done():
        return attempts[-1]
    made = replace(wanted, number=len(attempts) + 1, started_at=transaction.now)
    _check_new(made, attempts)
    transaction.move(task, move, actor=move.agent, note=f"attempt {made.number}: {move.model}")
    task_history.add_attempt(transaction.rows, made)
    return made


def end_attempt(
    transaction: BoardTransaction,
    task_id: str,
    number: int,
    move: Complete | Fail | Lose,
    note: str,
    beside: WriteBeside,
) -> Task:
    """Write that an attempt ended; *beside* writes how."""
    task = rows.find_task(transaction.rows, task_id)
    # An attempt ends once: its end has a name of its own, which any later repeat finds.
    last = dataclasses.replace(transaction, operation=f"end:{task.id}/{number}")
    done = last.done()
    if done and (done.move, done.actor) == (move.event_name, move.agent):
        return task
    check_open(task, number, task_history.attempt_of(transaction.rows, task.id, number))
    return moved(last, task, move, move.agent, note, beside)


def _check_new(made: Attempt, attempts: Sequence[Attempt]) -> None:
    for each in attempts:
        if made.key and made.key == each.key:
            first, now = str(each.number), str(made.number)
            raise KeyReused(key=made.key, field="attempt", first=first, now=now)
