"""The tries of a task: a number and a key of its own for each, and one end."""

from collections.abc import Sequence
from dataclasses import replace as as_

from msgspec.structs import replace

from earmark.board import rows, trail
from earmark.board.moves import Complete, Fail, Lose, Start
from earmark.board.rules import check_open
from earmark.board.task import Attempt, Task
from earmark.board.turn import Beside, Turn, moved
from earmark.errors import KeyReused


def start_attempt(turn: Turn, wanted: Attempt, move: Start) -> Attempt:
    """Write the next attempt of a task, like *wanted*, and that the task runs."""
    task = rows.find_task(turn.rows, wanted.task_id)
    tries = trail.attempts_of(turn.rows, [task.id])[task.id]
    if turn.done():
        return tries[-1]
    made = replace(wanted, number=len(tries) + 1, started_at=turn.now)
    _check_new(made, tries)
    turn.move(task, move, actor=move.agent, note=f"attempt {made.number}: {move.model}")
    trail.add_attempt(turn.rows, made)
    return made


def end_attempt(
    turn: Turn,
    task_id: str,
    number: int,
    move: Complete | Fail | Lose,
    note: str,
    beside: Beside,
) -> Task:
    """Write that an attempt ended; *beside* writes how."""
    task = rows.find_task(turn.rows, task_id)
    # An attempt ends once: its end has a name of its own, which any later repeat finds.
    last = as_(turn, operation=f"end:{task.id}/{number}")
    done = last.done()
    if done and (done.move, done.actor) == (move.told, move.agent):
        return task
    check_open(task, number, trail.attempt_of(turn.rows, task.id, number))
    return moved(last, task, move, move.agent, note, beside)


def _check_new(made: Attempt, tries: Sequence[Attempt]) -> None:
    for each in tries:
        if made.key and made.key == each.key:
            first, now = str(each.number), str(made.number)
            raise KeyReused(key=made.key, field="attempt", first=first, now=now)
