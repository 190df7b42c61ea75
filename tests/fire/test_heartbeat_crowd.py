"""Three heartbeats on one board and one cap: every task once, the cap exact, one nudge each."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.board.task import TaskStatus
from support.beat_place import BeatPlace, beat_place, with_patience
from support.beat_zygote import zygote
from support.fire_till import Till, honest
from support.ledger_books import STORES
from support.postgres_session import recycle

AGENTS = ("Cloud Lu", "VS Lu", "Terminal Lu")
TASKS = 40
CAP = 25


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the books are."""
    yield STORES[request.param](tmp_path)
    recycle(tmp_path)


def test_three_heartbeats_share_a_board_and_a_cap(store: str, tmp_path: Path) -> None:
    """Each task is sent once, calls stop exactly at the limit, and each alert is one nudge."""
    limits = (f"{CAP} calls per day", "1 usd per day")
    with Till() as till, beat_place(tmp_path, till, *limits, store=store, lease="10min") as place:
        till.answer = honest(seed=3)
        tasks = place.fill(TASKS)
        with zygote(tmp_path) as beats:
            pids = [beats.start("--agent", agent) for agent in AGENTS]
            assert with_patience(lambda: at_cap(place)), [beats.said(pid) for pid in pids]
            assert [beats.end(pid, signal.SIGTERM) for pid in pids] == [0, 0, 0]
        place.check_quiet()
        assert place.booked() == till.owed
        assert len(till.requests) == CAP
        prompts = {request.body["messages"][-1]["content"] for request in till.requests}
        assert len(prompts) == CAP
        assert place.count(TaskStatus.COMPLETED) == CAP
        assert place.count(TaskStatus.PENDING) == TASKS - CAP
        done = [task for task in place.tasks() if task.status is TaskStatus.COMPLETED]
        assert {task.agent for task in done} == set(AGENTS)
        attempts = place.workspace.board.attempts_of([task.id for task in tasks])
        # Who was refused at the cap had begun, and that did not count.
        assert all(
            [each.outcome for each in attempts[task.id]].count("completed") == 1 for task in done
        )
        nudges = [nudge.kind for nudge in place.workspace.nudges.find(most=100)]
        assert sorted(nudges) == ["exhausted", "threshold"]
        balances = place.workspace.ledger.balances("c8")
        assert [each.available for each in balances if each.unit == "calls"] == [0]


def at_cap(place: BeatPlace) -> bool:
    """Return whether all three say that nothing more fits."""
    rows = {row.name: row.state.state for row in place.workspace.agents.all()}
    return all(rows.get(agent) == "at_cap" for agent in AGENTS)
