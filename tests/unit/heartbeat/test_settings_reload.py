"""Settings that change while a heartbeat runs: read anew at each cycle, the last good ones stay."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from earmark.board.task import TaskStatus
from earmark.config.load import load_settings
from earmark.config.settings import HeartbeatSettings
from earmark.heartbeat.settings_reload import SettingsReloader
from support.beat_house import MODEL, BeatHouse

ONE = "max_dispatches = 1\n"


class File:
    """An `earmark.toml` that a test writes, and how often it was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reads = 0
        self.write(ONE)
        self.reload_settings = SettingsReloader(path, self.read)

    def write(self, settings: str) -> None:
        """Write it, another file each time."""
        new = self.path.with_suffix(".new")
        new.write_text(f'[heartbeat]\nmodel = "{MODEL}"\n{settings}')
        new.replace(self.path)

    def read(self) -> HeartbeatSettings:
        """Read it."""
        self.reads += 1
        return load_settings(self.path, {}).heartbeat


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A file of which the heartbeat has what stands in it."""
    return File(tmp_path / "earmark.toml")


@pytest.fixture
def beats(file: File) -> Iterator[BeatHouse]:
    """A heartbeat that reads the file anew."""
    with BeatHouse(reload_settings=file.reload_settings, max_dispatches=1) as house:
        yield house


def test_a_cycle_goes_by_the_settings_of_its_beginning(beats: BeatHouse, file: File) -> None:
    """How many go, when, and what the state says follow the file; unchanged it is not read."""
    beats.fill(9)
    assert (len(beats.cycle().dispatched), len(beats.cycle().dispatched)) == (1, 1)
    assert file.reads == 0
    file.write('max_dispatches = 2\ninterval = "1h"\npersist_every = 7\n')
    assert (len(beats.cycle().dispatched), len(beats.cycle().dispatched)) == (2, 2)
    assert file.reads == 1
    state = beats.beat.state
    assert (state.interval_s, state.persist_every, state.model) == (3600, 7, MODEL)
    assert state.next_cycle_at - state.last_heartbeat == 3600 * 10**9
    file.write('quiet_hours = "11:00-13:00"\n')
    assert beats.cycle().state == "quiet"
    assert beats.beat.state.cycle_count == 5


@pytest.mark.parametrize("bad", ['interval = "soon"\n', "max_dispatches =", "gone"])
def test_a_bad_file_leaves_the_last_good_settings(beats: BeatHouse, file: File, bad: str) -> None:
    """The heartbeat goes on as it was, says each time what is wrong, and takes what is mended."""
    beats.fill(3)
    if bad == "gone":
        file.path.unlink()
    else:
        file.write(bad)
    for _ in range(2):
        report = beats.cycle()
        assert [each.outcome for each in report.dispatched] == ["completed"]
        assert report.errors[0].startswith("the settings stay as they were: ")
        assert "earmark.toml" in beats.health().output
    file.write(ONE)
    assert (beats.cycle().errors, beats.health().heartbeat["last_error"]) == ((), None)


def test_who_it_is_and_who_pays_stay(beats: BeatHouse, file: File) -> None:
    """Name, sibling, budget and lease are a heartbeat's for life: they take a new start."""
    task = beats.add()
    file.write('agent = "X"\nsibling = "Y"\nbudget = "z"\nlease = "9min"\n')
    beats.cycle()
    state = beats.beat.state
    assert (state.agent, state.sibling, state.budget) == ("Cloud Lu", "AG Lu", "c8/cloud-lu")
    assert beats.board.get(task.id).agent == "Cloud Lu"
    row = beats.workspace.agents.get("Cloud Lu")
    assert row is not None
    assert row.lease_until - beats.clock.instant() == 120 * 10**9


def test_told_to_stop_it_stops_whatever_the_settings_became(beats: BeatHouse, file: File) -> None:
    """What stops the heartbeat stops it also where its settings have changed meanwhile."""
    task = beats.add()
    stop = asyncio.Event()
    beats.start(stop)
    file.write("max_dispatches = 3\n")
    stop.set()
    beats.cycle(after=timedelta(minutes=1))
    assert beats.status(task) is TaskStatus.PENDING
