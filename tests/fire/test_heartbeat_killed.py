"""Killed at any moment and started again: no task done twice, no cent forgotten, no cap passed.

`EARMARK_FIRE_SECONDS=60` kills a hundred times instead of twelve; `EARMARK_TEST_SEED` repeats one.
"""

import os
import random
import signal
import threading
from pathlib import Path

from earmark.board.task import ModelWork, TaskStatus
from earmark.money import Money
from support.beat_place import BeatPlace, beat_place, with_patience
from support.beat_zygote import Zygote, zygote
from support.fire_till import Till, honest
from support.stub_server import Received, Scene

LONG = float(os.environ.get("EARMARK_FIRE_SECONDS", "0")) >= 60
KILLS = 100 if LONG else 12
TASKS = 800 if LONG else 90
SEED = int(os.environ.get("EARMARK_TEST_SEED", "4"))


def watched(place: BeatPlace, seed: int) -> None:
    """Let the provider answer, and look at the board each time: what is done is asked no more."""
    answer = honest(seed)
    dice = random.Random(seed)
    ids = {each.work.prompt: each.id for each in place.tasks() if isinstance(each.work, ModelWork)}

    def answered(received: Received) -> Scene:
        if "messages" not in received.body:
            # Killed in the middle of its request.
            return Scene(status=400)
        prompt = received.body["messages"][-1]["content"]
        task = place.workspace.board.get(ids[prompt])
        if task.status is not TaskStatus.RUNNING:
            place.faults.append(f"{task.title} was sent while it was {task.status}")
        if task.destructive and place.asked(prompt) > 1:
            place.faults.append(f"{task.title} is destructive, and was sent twice")
        # Calls take a while, so that kills find some under way.
        threading.Event().wait(dice.uniform(0, 0.02))
        return answer(received)

    place.till.answer = answered


def killed(place: BeatPlace, beats: Zygote, dice: random.Random) -> None:
    """Start a heartbeat, and kill it after so many calls and so many milliseconds."""
    asked = len(place.till.requests)
    pid = place.started(beats)
    threading.Event().wait(dice.uniform(0, 0.1))
    if dice.random() < 0.8 and place.workspace.board.ready("Cloud Lu", 1):
        wanted = asked + dice.randint(1, 10)
        with_patience(lambda: len(place.till.requests) >= wanted, 3)
        threading.Event().wait(dice.uniform(0, 0.05))
    assert beats.end(pid, signal.SIGKILL) == -signal.SIGKILL, beats.said(pid)
    place.check_quiet()


def test_a_heartbeat_killed_at_any_moment(tmp_path: Path) -> None:
    """However often it dies: each task ends once, the books cover every bill, the cap holds."""
    dice = random.Random(SEED)
    with Till() as till, beat_place(tmp_path, till, "1 usd per day") as place:
        place.fill(TASKS)
        for task in place.fill(6, destructive=True):
            place.workspace.board.decide(task.id, "approve", actor="ann")
        watched(place, SEED)
        with zygote(tmp_path) as beats:
            for _ in range(KILLS):
                killed(place, beats, dice)
            pid = place.started(beats)
            assert with_patience(lambda: not unfinished(place))
            check_ended_once(place)
            assert cycles(place) > 0
            check_cap(place, beats, pid)
        place.check_quiet()
        place.mend()


def check_cap(place: BeatPlace, beats: Zygote, pid: int) -> None:
    """Assert that a heartbeat stops at a lower cap, and so does one after it was killed there."""
    cap = place.booked() + 1_500_000
    place.workspace.ledger.set_budget("c8", limits=[f"{Money.nanos(cap)} usd per day"])
    place.highest = 0
    place.fill(40)
    watched(place, SEED + 1)
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        assert with_patience(lambda: at_cap(place)), beats.said(pid)
        beats.end(pid, number)
        place.check_quiet()
        if number is signal.SIGKILL:
            pid = place.started(beats)
    assert cap - 600_000 < place.highest <= cap
    assert place.count(TaskStatus.PENDING) > 0


def at_cap(place: BeatPlace) -> bool:
    """Return whether a heartbeat that runs says so."""
    row = place.workspace.agents.get("Cloud Lu")
    assert row is not None
    now = place.workspace.ledger.clock.instant()
    return row.state.state == "at_cap" and row.held_at(now) and row.state.started_at < now


def unfinished(place: BeatPlace) -> int:
    """Return how many tasks may still be dispatched, now or when a lease ends."""
    states = (TaskStatus.PENDING, TaskStatus.CLAIMED, TaskStatus.RUNNING)
    return sum(place.count(state) for state in states)


def cycles(place: BeatPlace) -> int:
    """Return how many cycles all heartbeats have done."""
    row = place.workspace.agents.get("Cloud Lu")
    assert row is not None
    return row.cycles


def check_ended_once(place: BeatPlace) -> None:
    """Assert that everything is done, once, and that what is unknown was sent and not repeated."""
    assert place.count(TaskStatus.COMPLETED) >= TASKS
    for task in place.tasks():
        tries = place.workspace.board.attempts(task.id)
        ends = [attempt.outcome for attempt in tries]
        assert task.status in {TaskStatus.COMPLETED, TaskStatus.UNKNOWN}, (task.title, task.error)
        assert ends.count("completed") == (task.status is TaskStatus.COMPLETED)
        assert ends[-1] == ("completed" if task.status is TaskStatus.COMPLETED else "lost")
        assert set(ends[:-1]) <= {"lost"}
        assert task.destructive or task.status is TaskStatus.COMPLETED
