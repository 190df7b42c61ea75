"""Boards to test: on every store, beside books of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from earmark.board.board import Board
from earmark.board.task import Attempt, Quality, Task, TaskDraft, TaskStatus
from earmark.clock import Clock
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Rows, Tables

T = TypeVar("T")

SECOND: Final = 10**9
#: Of a lease, unless a test says another.
LEASE: Final = 60 * SECOND
AGENT: Final = "Cloud Lu"
MODEL: Final = "local/tiny"


@contextmanager
def open_board(url: str, clock: Clock) -> Iterator[Board]:
    """Open the board beside the books at *url*, which are made if there are none."""
    with open_ledger(url, clock=clock) as ledger:
        tables = open_tables(ledger.store)
        try:
            yield Board(tables, clock)
        finally:
            tables.close()


class Repeating:
    """Tables whose every write is done twice, as after an answer that was lost on its way."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @property
    def name(self) -> str:
        """The name of the store."""
        return self._tables.name

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Do *work*, commit it, and do it again: what the second try answers is the answer."""
        self._tables.write(lock, work)
        return self._tables.write(lock, work)

    def read(self, work: Callable[[Rows], T]) -> T:
        """Do *work*."""
        return self._tables.read(work)

    def close(self) -> None:
        """Let go of them."""
        self._tables.close()


def add(board: Board, title: str = "a task", **fields: Any) -> Task:
    """Put a task on the board."""
    return board.add(TaskDraft(title=title, **fields), actor="ann")


def claimed(board: Board, **fields: Any) -> Task:
    """Put a task on the board and claim it; the only one that can be."""
    made = add(board, **fields)
    (found,) = board.claim(AGENT, 100, lease_ns=LEASE)
    assert found.id == made.id
    return found


def start(board: Board, task: Task, key: str = "") -> Attempt:
    """Give a claimed task to a model."""
    return board.start(task, model=MODEL, key=key, budget="c8")


def running(board: Board, **fields: Any) -> Task:
    """Put a task on the board, claim and start it."""
    task = claimed(board, **fields)
    start(board, task)
    return board.get(task.id)


def completed(board: Board, **fields: Any) -> Task:
    """Put a task on the board and complete it."""
    return board.complete(running(board, **fields).id, 1, AGENT, {"status": "success"})


def quality(overall: int = 90) -> Quality:
    """Return what somebody says of a result."""
    return Quality(overall=overall, passed=overall >= 70, graded_by="ann", graded_at=1)


#: From nothing to each state, by the moves that lead there.
_WAYS: Final[dict[TaskStatus, Callable[[Board], Task]]] = {
    TaskStatus.PENDING: add,
    TaskStatus.CLAIMED: claimed,
    TaskStatus.RUNNING: running,
    TaskStatus.COMPLETED: completed,
    TaskStatus.FAILED: lambda board: board.fail(running(board).id, 1, AGENT, "no"),
    TaskStatus.UNKNOWN: lambda board: board.unknown(running(board).id, 1, AGENT, "cut off"),
    TaskStatus.GRADED: lambda board: board.grade(completed(board).id, quality(), actor="ann"),
    TaskStatus.ACCEPTED: lambda board: board.decide(completed(board).id, "accept", actor="ann"),
    TaskStatus.REJECTED: lambda board: board.decide(completed(board).id, "reject", actor="ann"),
    TaskStatus.CANCELLED: lambda board: board.decide(add(board).id, "cancel", actor="ann"),
}


def in_state(board: Board, status: TaskStatus) -> Task:
    """Bring a new task into a state; it must be the only one that can be claimed."""
    return _WAYS[status](board)
