"""Who looks at results, and what is taken without a person."""

import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from earmark.board.task import TaskStatus
from earmark.heartbeat.grade import quality_of
from earmark.money import Money
from earmark.stages.kinds.model import model_stage
from support.beat_house import MODEL, BeatHouse, answer

PASSES = 'import json,sys; t=json.load(sys.stdin); print(json.dumps({{"overall": {0}, "passed": {1}, "note": t["result"]["response_text"]}}))'  # noqa: E501 - a program


def command(overall: int = 90, *, passed: bool = True) -> dict[str, object]:
    """Return a grader that says so."""
    return {"command": [sys.executable, "-c", PASSES.format(overall, passed)]}


def test_nobody_looked_says_so(beats: BeatHouse) -> None:
    """A result that nobody graded has no quality, and is not accepted."""
    task = beats.add()
    beats.cycles(3)
    done = beats.board.get(task.id)
    assert (done.status, done.quality) == (TaskStatus.COMPLETED, None)


def test_a_command_grades_and_a_person_accepts() -> None:
    """The command reads the task with its result; what it says is kept with who said it."""
    with BeatHouse(grade=command(65, passed=False)) as beats:
        task = beats.add()
        assert beats.cycle().graded == 1
        quality = beats.board.get(task.id).quality
        assert quality is not None
        assert (quality.overall, quality.passed, quality.note) == (65, False, "ok")
        assert quality.graded_by == f"command {Path(sys.executable).name}"
        assert quality.graded_at == beats.clock.instant()
        assert beats.status(task) is TaskStatus.GRADED
        assert beats.cycle().graded == 0


@pytest.mark.parametrize(
    ("accept", "passed", "status"),
    [
        ("pass", True, TaskStatus.ACCEPTED),
        ("pass", False, TaskStatus.REJECTED),
        ("completed", False, TaskStatus.ACCEPTED),
        ("person", True, TaskStatus.GRADED),
    ],
)
def test_what_is_taken_follows_the_policy(accept: str, status: TaskStatus, *, passed: bool) -> None:
    """What passed, whatever completed, or nothing is accepted without a person."""
    with BeatHouse(grade=command(passed=passed), accept=accept) as beats:
        needed = beats.add()
        waiting = beats.add(needs=(needed.id,))
        beats.cycle()
        assert beats.status(needed) is status
        beats.cycle(after=timedelta(minutes=30))
        done = beats.status(waiting) is not TaskStatus.PENDING
        assert done == (status is TaskStatus.ACCEPTED)


def test_without_a_grader_completed_is_accepted_where_that_is_the_policy() -> None:
    """Nobody graded it, and the history says by which policy it was taken."""
    with BeatHouse(accept="completed") as beats:
        task = beats.add()
        beats.cycle()
        assert (beats.status(task), beats.board.get(task.id).quality) == (TaskStatus.ACCEPTED, None)
        assert beats.board.history(task.id)[-1].note == "policy: completed"


@pytest.mark.parametrize(
    "program",
    [
        "raise SystemExit(3)",
        "print('fine')",
        'print(\'{"overall": 101, "passed": true}\')',
        'print(\'{"overall": true, "passed": true}\')',
        "print('{\"overall\": 50}')",
        "import time; time.sleep(30)",
    ],
)
def test_a_grader_that_fails_grades_nothing(program: str) -> None:
    """The task stays completed and ungraded, health says why, and after three times it is left."""
    grade = {"command": [sys.executable, "-c", program], "timeout": "300ms"}
    with BeatHouse(grade=grade, accept="completed") as beats:
        task = beats.add()
        for _ in range(3):
            report = beats.cycle()
            assert "grading of 'a task' failed" in report.errors[0]
            assert beats.status(task) is TaskStatus.COMPLETED
            assert "grading of 'a task' failed" in beats.health().output
        assert beats.cycle().errors == ()


def test_a_composition_grades_on_the_agents_budget(tmp_path: Path) -> None:
    """Its run is paid like a task, and named in the quality; at the cap it does not run."""
    graph = {"description": "g", "version": "0.1.0", "root": {"op": "Stage", "id": "judge"}}
    (tmp_path / "judge.json").write_text(json.dumps(graph))
    judge = model_stage("judge", MODEL, "Judge {title}: {result}", answers="json", max_tokens=1000)
    grade = {"composition": "judge.json", "budget": "0.20"}
    house = {"stages": (judge,), "folder": tmp_path}
    with BeatHouse(grade=grade, house=house, limits=["0.30 usd per day"]) as beats:
        said = '{"overall": 80, "passed": true}'
        beats.provider.play(answer(10), answer(5, text=said), answer(10), answer(5, text=said))
        task = beats.add("one")
        beats.cycle()
        quality = beats.board.get(task.id).quality
        assert quality is not None
        assert quality.graded_by.startswith("composition judge.json, run ")
        assert beats.spent == Money("0.15")
        second = beats.add("two")
        report = beats.cycle(after=timedelta(minutes=30))
        assert beats.status(second) is TaskStatus.COMPLETED
        assert "0.05 of 0.3 usd per day available" in report.errors[0]
        assert beats.spent == Money("0.25")


def test_a_composition_that_grades_is_stopped_by_the_switch_too(tmp_path: Path) -> None:
    """Set between two of its calls, it stops the second; that is no failure of the grader's."""
    twice = {"op": "Sequential", "stages": [{"op": "Stage", "id": "judge"}] * 2}
    graph = {"description": "g", "version": "0.1.0", "root": twice}
    (tmp_path / "judge.json").write_text(json.dumps(graph))
    judge = model_stage("judge", MODEL, "Judge {input}", max_tokens=1000)
    grade = {"composition": "judge.json", "budget": "0.20"}
    house = {"stages": (judge,), "folder": tmp_path}
    with BeatHouse(grade=grade, house=house, accept="completed") as beats:
        task = beats.add()
        beats.when_sent(lambda: None)
        beats.when_sent(lambda: beats.kill_switch(enabled=False))
        report = beats.cycle()
        assert (report.state, report.errors, report.graded) == ("killed", (), 0)
        assert (len(beats.provider.sent), beats.status(task)) == (2, TaskStatus.COMPLETED)


def test_a_killed_heartbeat_grades_nothing() -> None:
    """The kill switch stops everything that it does by itself."""
    with BeatHouse(grade=command(), accept="pass") as beats:
        task = beats.add()
        beats.when_sent(lambda: beats.kill_switch(enabled=False))
        beats.cycle()
        beats.cycle()
        assert beats.status(task) is TaskStatus.COMPLETED


def test_a_quality_is_what_it_should_be() -> None:
    """The bounds themselves are in; anything else is refused with what was said."""
    assert quality_of({"overall": 0, "passed": False}, by="x", at=1).overall == 0
    assert quality_of({"overall": 100, "passed": True, "note": "n"}, by="x", at=1).note == "n"
    for value in ({"overall": -1, "passed": True}, {"overall": 1.0, "passed": True}, [], None, "x"):
        with pytest.raises(ValueError, match="x answered"):
            quality_of(value, by="x", at=1)
