"""A heartbeat in trouble: nothing is lost, nothing is over, and health says what is wrong."""

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from earmark.board.task import TaskStatus
from earmark.heartbeat.cycle_report import CycleReport
from earmark.money import Money
from earmark.nudges.channels.webhook import WebhookChannel
from earmark.pricing.usage import Usage
from earmark.testing import Answer, Failure, HalfStream, ManualClock, Unmetered
from support.beat_house import BeatHouse, answer
from support.beat_place import BeatPlace, beat_place, with_patience
from support.beat_zygote import zygote
from support.fire_till import Till, honest
from support.last_resort import LAST_RESORT_S
from support.postgres_server import PostgresServer
from support.webhook_receiver import SECRET, Receiver

HALF_HOUR = timedelta(minutes=30)


# The store ----------------------------------------------------------------------------------------


def test_a_database_that_dies_and_comes_back(
    doomed_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Killed twice under a real heartbeat: each task ends once, and every bill is booked."""
    store = doomed_postgres.url(schema=f"beat_{tmp_path.name.lower()}"[:63])
    with (
        Till() as till,
        beat_place(tmp_path, till, "1 usd per day", store=store, lease="2s") as place,
    ):
        till.answer = honest(seed=5)
        place.fill(24)
        # Whoever looks from here would wait for the database itself.
        till.watch = None
        with zygote(tmp_path) as beats:
            pid = beats.start()
            for wanted in (3, 9):
                assert with_patience(lambda n=wanted: len(till.requests) >= n), beats.said(pid)
                doomed_postgres.kill()
                doomed_postgres.start()
            assert with_patience(lambda: ended(place) == 24), beats.said(pid)
            assert beats.end(pid, signal.SIGTERM) == 0, beats.said(pid)
        place.check_quiet()
        for task in place.tasks():
            tries = [each.outcome for each in place.workspace.board.attempts(task.id)]
            assert tries.count("completed") == (task.status is TaskStatus.COMPLETED)
        assert place.booked() >= till.owed
        place.mend()


def ended(place: BeatPlace) -> int:
    """Return how many tasks have ended, one way or the other."""
    return sum(
        place.count(each) for each in (TaskStatus.COMPLETED, TaskStatus.UNKNOWN, TaskStatus.FAILED)
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "earmark-test", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tiny file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_dispatching_and_nothing_else(tiny: Path) -> None:
    """Nothing is sent that could not be booked; with space again, the next cycle goes on."""
    with BeatHouse(url=f"sqlite:///{tiny}/books.db") as beats:
        tasks = [beats.add() for _ in range(2)]
        beats.cycle()
        sent = len(beats.provider.sent)
        late = beats.add()
        ballast = tiny / "ballast"
        fill(ballast)
        report = beats.cycle(after=timedelta(minutes=1))
        assert report.state == "error"
        assert "the disk is full" in report.errors[0]
        assert len(beats.provider.sent) == sent
        beats.clock.advance(timedelta(minutes=2))
        health = beats.health()
        assert (health.status, "cannot write" in health.output) == ("fail", True)
        ballast.unlink()
        beats.cycle(after=timedelta(minutes=5))
        assert {beats.status(task) for task in [*tasks, late]} == {TaskStatus.COMPLETED}
        assert beats.spent == beats.provider.billed
        assert beats.health().status == "pass"


def fill(ballast: Path) -> None:
    """Fill a file system to its last byte."""
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def test_a_store_that_goes_away_in_the_middle_of_a_call() -> None:
    """The board cannot be told: the lease ends, and the books say that the call was made."""
    with BeatHouse(answer(10, after=30)) as beats:
        task = beats.add()
        beats.start()

        async def cut_off() -> CycleReport:
            cycle = asyncio.ensure_future(beats.beat.cycle())
            while not cycle.done():
                await asyncio.to_thread(lambda: None)
                beats.line.down = bool(beats.provider.sent)
                beats.clock.advance(timedelta(seconds=beats.line.down))
            return await cycle

        report = beats.run(cut_off())
        assert [each.outcome for each in report.dispatched] == ["lost"]
        assert beats.spent == Money("0.10")
        assert beats.health().status == "fail"
        beats.line.down = False
        assert beats.status(task) is TaskStatus.RUNNING
        beats.provider.play(answer(10))
        beats.cycle(after=timedelta(minutes=3))
        assert [each.outcome for each in beats.board.attempts(task.id)] == ["lost", "completed"]
        assert beats.cost(task) == beats.spent == beats.provider.billed == Money("0.20")


# The provider -------------------------------------------------------------------------------------


def test_a_provider_that_is_down_slow_and_lying() -> None:
    """Whatever it does, the books are never below its bill, nor above the cap but for its lies."""
    lies = Answer(usage=Usage.of(input_tokens=100, output_tokens=2500))
    script = [
        Failure(billed="no"),
        Failure(billed="unknown", status=500),
        HalfStream(usage=Usage.of(input_tokens=1, output_tokens=900)),
        Unmetered(usage=Usage.of(input_tokens=1, output_tokens=900)),
        answer(10, after=700),
        answer(10),
        lies,
    ]
    with BeatHouse(*script, limits=["0.90 usd per day"], max_dispatches=1) as beats:
        beats.fill(9)
        for _ in range(14):
            if len(beats.provider.sent) == 4:
                beats.when_sent(lambda: beats.clock.advance(timedelta(minutes=10)))
            beats.cycle(after=HALF_HOUR)
            assert beats.spent + beats.held >= beats.provider.billed
        # Each lie was booked in full: one call of 0.10 that cost 0.25, and then nothing fits.
        assert beats.spent <= Money("0.90") + Money("0.15")
        assert beats.beat.state.state == "at_cap"
        assert "overrun" in beats.nudges()
        assert beats.health().status == "warn"


# The webhook --------------------------------------------------------------------------------------


def test_a_webhook_that_is_down_for_an_hour_holds_nothing_up() -> None:
    """Tasks go on, health names the channel, and when it is back each nudge has come once."""
    clock = ManualClock()
    with Receiver() as receiver:
        hook = WebhookChannel("hook", receiver.url, SECRET, clock=clock, timeout_s=LAST_RESORT_S)
        port = receiver.port
        receiver.stop()
        with BeatHouse(clock=clock, channel=hook) as beats:
            beats.fill(10)
            for _ in range(4):
                beats.cycle(after=timedelta(minutes=15))
            assert beats.spent == Money(1)
            assert beats.nudges() == ["threshold", "exhausted"]
            assert "2 nudges could not be delivered yet" in beats.health().output
            receiver.start(port)
            beats.cycles(3, every=timedelta(minutes=30))
            assert sorted(post.event["type"].rpartition(".")[2] for post in receiver.posts) == [
                "exhausted",
                "threshold",
            ]
            assert len(set(receiver.ids())) == 2
            assert all(post.signed for post in receiver.posts)
            assert "delivered" not in beats.health().output


def test_a_webhook_that_hangs_does_not_stop_the_loop() -> None:
    """In the background nudges wait for the other side; cycles do not wait for nudges."""
    clock = ManualClock()
    with Receiver() as receiver:
        receiver.holds = threading.Event()
        hook = WebhookChannel("hook", receiver.url, SECRET, clock=clock, timeout_s=LAST_RESORT_S)
        with BeatHouse(clock=clock, channel=hook) as beats:
            beats.fill(10)

            async def script() -> None:
                stop = asyncio.Event()
                loop = asyncio.ensure_future(beats.beat.run(stop))
                # In less time than one nudge may take, which has no end here.
                async with asyncio.timeout(LAST_RESORT_S / 2):
                    for number in range(1, 5):
                        while beats.beat.state.cycle_count < number:
                            await asyncio.to_thread(lambda: None)
                        beats.clock.advance(HALF_HOUR)
                assert await asyncio.to_thread(receiver.arrived.wait, LAST_RESORT_S)
                assert receiver.holds is not None
                assert not receiver.holds.is_set()
                receiver.holds.set()
                stop.set()
                await loop

            beats.run(script())
            assert beats.spent == Money(1)


# The clock ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [timedelta(days=-1), timedelta(hours=-3), timedelta(days=1)])
def test_a_clock_that_is_stepped_loses_and_frees_nothing(step: timedelta) -> None:
    """Set back or on in the middle of a day and of a call: the books cover every bill."""
    clock = ManualClock(datetime(2026, 11, 22, 12, tzinfo=UTC))
    with BeatHouse(
        answer(10, after=30), clock=clock, limits=["0.50 usd per day"], max_dispatches=1
    ) as beats:
        beats.fill(12)

        def turn() -> None:
            clock.set(clock.now + step)
            clock.advance(timedelta(seconds=30))

        for _ in range(8):
            beats.when_sent(turn)
            beats.cycle(after=timedelta(minutes=10))
            # What a day may cost is the most that any one day has.
            assert beats.spent <= Money("0.50")
        total = sum(hold.actual.usd for hold in beats.holds() if hold.actual)
        assert Money.nanos(total) == beats.provider.billed
        days = 8 if step > timedelta(0) else 1
        assert Money.nanos(total) <= Money("0.50") * days
