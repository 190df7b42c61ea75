"""Several processes on one board: every task once, and what a killed one had comes back."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from earmark.board.board import Board
from earmark.board.listing import TaskFilter
from earmark.board.task import Priority, TaskStatus
from earmark.clock import SystemClock, to_datetime
from earmark.testing import ManualClock
from support.board_books import AGENT, LEASE, add, open_board
from support.board_workers import PROGRAMS
from support.ledger_books import DURABLE, STORES
from support.ledger_workers import go, kill, result, start_all

TASKS = 160
#: Seconds of a lease that only a killed process leaves behind.
SHORT_S = 240


@pytest.fixture(params=DURABLE)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the board is that several processes work on."""
    return STORES[request.param](tmp_path)


@pytest.fixture
def filled(shared: str) -> Iterator[Board]:
    """A board of a few hundred tasks of every priority."""
    with open_board(shared, SystemClock()) as board:
        for number in range(TASKS):
            add(board, f"{number}", priority=Priority(number % 4))
        yield board


def test_every_task_is_claimed_once(shared: str, filled: Board) -> None:
    """Four processes that claim as fast as they can share the tasks out, each in its order."""
    workers = start_all(*[("claim_all", shared, f"Lu {n}") for n in range(4)], file=PROGRAMS)
    go(*workers)
    for worker in workers:
        # Each has claimed something before any of them goes on.
        assert worker.stdout is not None
        assert worker.stdout.readline() == "claimed\n"
    go(*workers)
    shares = [result(worker) for worker in workers]
    every = {task.id: task for task in filled.find(TaskFilter(most=1000))}
    assert sorted(each for share in shares for each in share) == sorted(every)
    assert all(shares)
    for number, share in enumerate(shares):
        ranks = [(every[each].priority, every[each].number) for each in share]
        assert ranks == sorted(ranks)
        assert {every[each].agent for each in share} <= {f"Lu {number}"}
    numbers = [event.number for event in filled.events(0)]
    assert numbers == list(range(1, 2 * TASKS + 1))


def test_what_a_killed_process_had_comes_back(shared: str, filled: Board) -> None:
    """Killed in the middle of claiming: what it claimed is found after the lease, not before."""
    worker = start_all(("claim_for_ever", shared, "Lu", SHORT_S), file=PROGRAMS)[0]
    go(worker)
    assert worker.stdout is not None
    told = [json.loads(worker.stdout.readline()) for _ in range(5)]
    kill(worker)
    claimed = filled.find(TaskFilter(status=frozenset({TaskStatus.CLAIMED}), most=1000))
    ids = {task.id for task in claimed}
    assert {each for share in told for each in share} <= ids
    assert filled.expired(most=1000) == []
    later = ManualClock(to_datetime(SystemClock().instant()) + timedelta(seconds=SHORT_S))
    with open_board(shared, later) as board:
        lost = board.expired(most=1000)
        assert {task.id for task in lost} == ids
        for task in lost:
            board.take_back(task.id, task.version, to=TaskStatus.PENDING, reason="not sent")
        taken = board.claim(AGENT, 1000, lease_ns=LEASE)
        assert len(taken) == TASKS
