"""How many durable transactions a task and an idle cycle cost."""

from pathlib import Path

from earmark.board.task import TaskStatus
from support.beat_house import BeatHouse
from support.commits import counted_commits


def test_a_task_costs_eight_commits_and_an_idle_cycle_two(tmp_path: Path) -> None:
    """Added; name renewed, claimed, begun, held, settled, completed, reported. Idle: the name."""
    with counted_commits() as commits, BeatHouse(url=f"sqlite:///{tmp_path / 'b.db'}") as house:
        house.start().cycle()
        before = commits.count
        task = house.add()
        house.cycle()
        assert house.status(task) is TaskStatus.COMPLETED
        assert commits.count == before + 8
        house.cycle()
        assert commits.count == before + 10
