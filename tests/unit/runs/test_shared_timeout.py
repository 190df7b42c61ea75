"""One timer ends whatever stays too long, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from earmark.runs.shared_timeout import SharedTimeout


async def watched(watch: SharedTimeout, work: Callable[[], Awaitable[object]]) -> str:
    """Do *work* under the watch and say how it ended."""
    task = watch.enter()
    try:
        await work()
    except asyncio.CancelledError:
        if not watch.is_late(task):
            raise
        task.uncancel()
        return "late"
    finally:
        watch.leave(task)
    return "done"


async def forever() -> None:
    """Wait for nothing."""
    await asyncio.Event().wait()


async def at_once() -> None:
    """Give way once."""
    await asyncio.sleep(0)


def test_only_those_who_stay_are_late() -> None:
    """Of many tasks those that end in time are left alone, the others are cancelled."""

    async def main() -> list[str]:
        watch = SharedTimeout(0.02)
        works = [forever, at_once] * 50
        ends = await asyncio.gather(*(watched(watch, work) for work in works))
        watch.close()
        return ends

    assert asyncio.run(main()) == ["late", "done"] * 50


def test_later_ones_have_their_whole_time() -> None:
    """Who comes when the first is nearly due is not cut short."""

    async def main() -> tuple[float, float]:
        loop, watch = asyncio.get_running_loop(), SharedTimeout(0.1)
        began = loop.time()
        first = asyncio.ensure_future(watched(watch, forever))
        await asyncio.sleep(0.06)
        second = asyncio.ensure_future(watched(watch, forever))
        await first
        after_first = loop.time() - began
        await second
        return after_first, loop.time() - began

    first, second = asyncio.run(main())
    assert 0.09 < first < second
    assert second > 0.15


def test_cancelled_by_another_is_not_late() -> None:
    """Who is cancelled from outside in time is cancelled, not late."""

    async def main() -> None:
        watch = SharedTimeout(60)
        task = asyncio.ensure_future(watched(watch, forever))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        watch.close()

    asyncio.run(main())
