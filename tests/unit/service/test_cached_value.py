"""A value made when it is asked for: once for a crowd, never older than it may be."""

import asyncio
import threading
from datetime import timedelta

import pytest

from earmark.errors import StoreUnavailable
from earmark.service.cached_value import CachedValue
from earmark.testing import ManualClock


class Count:
    """Counts how often it is made; may be held up, or fail."""

    def __init__(self) -> None:
        self.made = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.fails = False

    def __call__(self) -> int:
        """Return how often it was made."""
        self.may_go_on.wait()
        self.made += 1
        if self.fails:
            raise StoreUnavailable(store="x", detail="gone")
        return self.made


def test_a_crowd_is_answered_by_one_making() -> None:
    """A thousand who ask at once wait for the same value, and half a second later for a new one."""
    clock, count = ManualClock(), Count()

    async def scenario() -> None:
        fresh = CachedValue(count, clock, fresh_s=0.5)
        assert set(await asyncio.gather(*(fresh.get(9) for _ in range(1000)))) == {1}
        clock.advance(timedelta(seconds=0.499))
        assert await fresh.get(9) == 1
        clock.advance(timedelta(seconds=0.001))
        assert set(await asyncio.gather(*(fresh.get(9) for _ in range(1000)))) == {2}
        fresh.close()

    asyncio.run(scenario())


def test_a_value_that_does_not_come_is_not_waited_for() -> None:
    """Whoever asks while it takes too long is told so, and gets it when it is there."""
    clock, count = ManualClock(), Count()

    async def scenario() -> None:
        fresh = CachedValue(count, clock, fresh_s=0.5)
        assert await fresh.get(9) == 1
        clock.advance(timedelta(seconds=1))
        count.may_go_on.clear()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await fresh.get(0.01)
        count.may_go_on.set()
        assert await fresh.get(9) == 2, "the old value was never given again"
        fresh.close()

    asyncio.run(scenario())


def test_an_error_is_told_to_the_crowd_and_then_tried_again() -> None:
    """A store that is gone is not asked a thousand times, and one that is back is noticed."""
    clock, count = ManualClock(), Count()

    async def scenario() -> None:
        fresh = CachedValue(count, clock, fresh_s=0.5)
        count.fails = True
        found = await asyncio.gather(*(fresh.get(9) for _ in range(100)), return_exceptions=True)
        assert {type(each) for each in found} == {StoreUnavailable}
        assert count.made == 1
        count.fails = False
        clock.advance(timedelta(seconds=0.5))
        assert await fresh.get(9) == 2
        fresh.close()

    asyncio.run(scenario())


def test_a_value_ages_from_the_beginning_of_its_making() -> None:
    """What was looked at a second ago is not fresh because it took a second to write down."""
    clock, count = ManualClock(), Count()

    async def scenario() -> None:
        fresh = CachedValue(count, clock, fresh_s=0.5)
        count.may_go_on.clear()
        first = asyncio.ensure_future(fresh.get(9))
        await asyncio.sleep(0)
        clock.advance(timedelta(seconds=1))
        count.may_go_on.set()
        assert await first == 1
        assert await fresh.get(9) == 2
        fresh.close()

    asyncio.run(scenario())


def test_a_slow_value_is_made_rarely() -> None:
    """One that takes two seconds, and rests ten times as long, is made again after twenty."""
    clock, made = ManualClock(), Count()

    def slowly() -> int:
        clock.advance(timedelta(seconds=2))
        return made()

    async def scenario() -> None:
        fresh = CachedValue(slowly, clock, fresh_s=1, rest=10)
        assert await fresh.get(9) == 1
        clock.advance(timedelta(seconds=17.9))
        assert await fresh.get(9) == 1
        clock.advance(timedelta(seconds=0.1))
        assert await fresh.get(9) == 2
        fresh.close()

    asyncio.run(scenario())
