"""The tries of a task: a number and a key of its own for each, and one end."""

from collections.abc import Sequence
from dataclasses import replace as as_

from msgspec.structs import replace

from earmark.board import rows, task_history
from earmark.board.moves import Complete, Fail, Lose, Start
from earmark.board.rules import check_open
from earmark.board.task import Attempt, Task
from earmark.board.transaction import BoardTransaction, WriteBeside, moved
from earmark.errors import KeyReused


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
    last = as_(transaction, operation=f"end:{task.id}/{number}")
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
