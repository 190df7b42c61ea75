"""The loop: when the next cycle comes, how it stops, and who may run under a name."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from earmark.board.task import Task, TaskStatus
from earmark.errors import AgentBusy
from earmark.money import Money
from support.beat_house import BeatHouse, answer
from support.last_resort import LAST_RESORT_S

HALF_HOUR = timedelta(minutes=30)


async def until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds; it is looked at again and again, for ten seconds at most."""
    async with asyncio.timeout(LAST_RESORT_S):
        while not condition():
            await asyncio.to_thread(lambda: None)


def running(beats: BeatHouse, script: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run the heartbeat's loop to its end, and *script* beside it, which is given what stops it."""

    async def both() -> None:
        stop = asyncio.Event()
        loop = asyncio.ensure_future(beats.beat.run(stop))
        told = asyncio.ensure_future(script(stop))
        await asyncio.wait((loop, told), return_when=asyncio.FIRST_EXCEPTION)
        # For a script that failed.
        stop.set()
        await asyncio.gather(told, loop)

    beats.run(both())


def test_cycles_come_by_the_interval(beats: BeatHouse) -> None:
    """One at once, the next half an hour after the first began, whatever the wall clock does."""

    async def script(stop: asyncio.Event) -> None:
        for number in (1, 2, 3):
            await until(lambda n=number: beats.beat.state.cycle_count == n)
            await until(lambda: beats.clock.sleepers == 2)
            beats.clock.set(beats.clock.now - timedelta(days=number))
            beats.clock.advance(HALF_HOUR - timedelta(seconds=1))
            await until(lambda: beats.clock.sleepers == 2)
            assert beats.beat.state.cycle_count == number
            beats.clock.advance(timedelta(seconds=1))
        stop.set()

    running(beats, script)
    assert beats.beat.state.running is False


def test_a_cycle_that_takes_its_time_does_not_put_the_next_one_off(beats: BeatHouse) -> None:
    """The interval counts from where a cycle began, not from where it ended."""
    beats.provider.play(answer(10, after=60))
    beats.add()

    async def script(stop: asyncio.Event) -> None:
        await until(lambda: len(beats.provider.sent) == 1 and beats.clock.sleepers >= 3)
        beats.clock.advance(timedelta(seconds=60))
        await until(lambda: beats.beat.state.cycle_count == 1)
        await until(lambda: beats.clock.sleepers == 2)
        beats.clock.advance(HALF_HOUR - timedelta(seconds=60))
        await until(lambda: beats.beat.state.cycle_count == 2)
        stop.set()

    running(beats, script)


def test_a_cycle_at_the_cap_is_followed_when_the_window_turns() -> None:
    """It does not sleep through the turn: the next cycle comes then, not at the interval."""
    with BeatHouse(limits=["1 calls per 10min", "9 usd per day"]) as beats:
        beats.fill(2)

        async def script(stop: asyncio.Event) -> None:
            await until(lambda: beats.beat.state.state == "at_cap")
            await until(lambda: beats.clock.sleepers == 2)
            beats.clock.advance(timedelta(minutes=10, seconds=1))
            await until(lambda: beats.board.counts()[TaskStatus.COMPLETED] == 2)
            stop.set()

        running(beats, script)
        assert beats.provider.billed == beats.spent == Money("0.20")


def test_stopped_it_lets_what_is_under_way_end(beats: BeatHouse) -> None:
    """SIGTERM's way: nothing more is claimed, the call that runs is settled, the patch written."""
    beats.provider.play(answer(10, after=20))
    first, *others = beats.fill(4)

    async def script(stop: asyncio.Event) -> None:
        await until(lambda: len(beats.provider.sent) == 3)
        stop.set()
        await until(lambda: beats.clock.sleepers == 8)
        beats.clock.advance(timedelta(seconds=20))

    running(beats, script)
    assert beats.status(first) is TaskStatus.COMPLETED
    assert [beats.status(task) for task in others][-1] is TaskStatus.PENDING
    assert beats.patch("budget_2026-11-22")["daily_spend"] == "0.3"
    row = beats.workspace.agents.get("Cloud Lu")
    assert row is not None
    assert (row.holder, row.state.running, row.state.state) == ("", False, "stopped")


def test_after_its_grace_what_is_under_way_is_booked_and_put_back(beats: BeatHouse) -> None:
    """Half a minute after SIGTERM calls are given up: presumed spent, their tasks tried again."""
    beats.provider.play(answer(10, after=300))
    task = beats.add()
    dangerous = beats.add(destructive=True)
    beats.board.decide(dangerous.id, "approve", actor="ann")
    last = beats.add(max_attempts=1)

    async def script(stop: asyncio.Event) -> None:
        await until(lambda: len(beats.provider.sent) == 3)
        stop.set()
        await until(lambda: beats.clock.sleepers == 8)
        beats.clock.advance(timedelta(seconds=30))

    running(beats, script)
    assert beats.status(task) is TaskStatus.PENDING
    # What must not be done twice, and what has no try left, is for a person.
    assert [beats.status(each) for each in (dangerous, last)] == [TaskStatus.UNKNOWN] * 2
    assert (beats.spent, beats.held) == (Money("0.30"), Money())
    assert beats.board.get(task.id).attempts == 1


def test_cancelled_it_books_before_it_goes(beats: BeatHouse) -> None:
    """A second signal ends it at once; what was sent is counted, and the name is free."""
    beats.provider.play(answer(10, after=300))
    task = beats.add()
    park, give_up = beats.workspace.board.park, beats.workspace.agents.give_up
    freed, early = threading.Event(), list[bool]()

    def parked(*given: Any, **more: Any) -> Task:
        # As long as a task is being put back, the name is not free.
        early.append(freed.wait(0.2))
        return park(*given, **more)

    def given_up(name: str, holder: str) -> None:
        freed.set()
        give_up(name, holder)

    beats.workspace.board.park = parked  # type: ignore[method-assign]
    beats.workspace.agents.give_up = given_up  # type: ignore[method-assign]

    async def both() -> None:
        loop = asyncio.ensure_future(beats.beat.run(asyncio.Event()))
        await until(lambda: len(beats.provider.sent) == 1)
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loop

    beats.run(both())
    assert (beats.status(task), beats.spent, early) == (TaskStatus.PENDING, Money("0.10"), [False])
    row = beats.workspace.agents.get("Cloud Lu")
    assert row is not None
    assert not row.holder


def test_a_second_heartbeat_of_a_name_is_refused_until_the_first_is_dead(
    beats: BeatHouse,
) -> None:
    """While one renews its lease no other starts; one that is dead is taken over."""
    beats.start()
    with BeatHouse(ledger=beats.ledger, clock=beats.clock, holder="host:2") as second:
        with pytest.raises(AgentBusy, match="'Cloud Lu' is run by host:1 until 2026-11-22T12:02"):
            second.start()
        second.clock.advance(timedelta(minutes=2))
        second.start()
        with pytest.raises(AgentBusy):
            beats.cycle()
        beats.stop()
        assert second.cycle().state == "idle"


def test_one_that_lost_its_name_dispatches_nothing_more(beats: BeatHouse) -> None:
    """It ends by itself as soon as it notices; what stands under the name is the other's."""
    with BeatHouse(ledger=beats.ledger, clock=beats.clock, holder="host:2") as second:
        tasks: list[object] = []

        async def script(_: asyncio.Event) -> None:
            await until(lambda: beats.clock.sleepers == 2)
            beats.workspace.agents.give_up("Cloud Lu", "host:1")
            second.workspace.agents.acquire("Cloud Lu", "host:2", 10**12)
            tasks.append(beats.add())
            beats.clock.advance(timedelta(minutes=1))
            await until(lambda: beats.beat.lost)

        with pytest.raises(AgentBusy):
            running(beats, script)
        assert beats.provider.sent == []
        row = second.workspace.agents.get("Cloud Lu")
        assert row is not None
        assert row.holder == "host:2"


def test_it_beats_on_while_the_store_is_away(beats: BeatHouse) -> None:
    """Cycles that cannot read say so and are followed by others; then everything goes on."""
    task = beats.add()
    beats.start()
    beats.line.down = True
    reports = [beats.cycle(after=timedelta(minutes=1)) for _ in range(3)]
    assert {report.state for report in reports} == {"error"}
    beats.line.down = False
    beats.cycle(after=timedelta(minutes=1))
    assert beats.status(task) is TaskStatus.COMPLETED
    assert beats.beat.state.cycle_count == 4
