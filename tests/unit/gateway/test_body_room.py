"""Large bodies at once: so many bytes of them are read, and the next one waits for its turn."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from earmark.gateway.body_room import SMALL, BodyRoom
from earmark.gateway.peer import LARGEST_BODY, read_body
from support.last_resort import LAST_RESORT_S


async def everybody() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_large_body_waits_until_there_is_room() -> None:
    """In the order of asking, which one that gives up leaves; small ones never wait."""

    async def run() -> None:
        room = BodyRoom(10 * SMALL)
        order: list[str] = []

        async def hold(name: str, size: int, over: asyncio.Event) -> None:
            async with room.place() as place:
                await place.hold(size, size)
                order.append(name)
                await over.wait()

        ends = [asyncio.Event() for _ in range(5)]
        sizes = {"a": 6, "b": 6, "c": 4, "d": 8}
        tasks = {
            name: asyncio.create_task(hold(name, size * SMALL, end))
            for (name, size), end in zip(sizes.items(), ends, strict=False)
        }
        small = asyncio.create_task(hold("small", SMALL, ends[4]))
        await everybody()
        assert order == ["a", "small"], "6 and 6 are more than 10, and c waits behind b"
        tasks["b"].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks["b"]
        await everybody()
        assert order == ["a", "small", "c"]
        ends[0].set()
        await tasks["a"]
        await everybody()
        assert order == ["a", "small", "c"], "8 do not fit beside 4"
        ends[2].set()
        await tasks["c"]
        ends[3].set()
        ends[4].set()
        await asyncio.gather(tasks["d"], small)
        async with room.place() as place:
            await place.hold(10 * SMALL, 10 * SMALL)  # all of it came back

    asyncio.run(asyncio.wait_for(run(), LAST_RESORT_S))


def test_room_that_was_given_to_somebody_who_left_comes_back() -> None:
    """Its turn came, and so did its end, before it knew of either."""

    async def run() -> None:
        room = BodyRoom(SMALL)
        await room.take(SMALL)
        waiting = asyncio.create_task(room.take(SMALL))
        await everybody()
        room.give(SMALL)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        other = asyncio.create_task(room.take(SMALL))
        await everybody()
        assert other.done()

    asyncio.run(run())


@pytest.mark.parametrize(("length", "size"), [(str(2 * SMALL), 2 * SMALL), ("", LARGEST_BODY)])
def test_a_body_is_read_once_it_has_its_place(length: str, size: int) -> None:
    """By the length that its head says; without one it may be as large as any."""

    async def run() -> None:
        sent = [b"x" * SMALL, b"x" * SMALL]

        async def receive() -> dict[str, object]:
            part = sent.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(sent)}

        async with AsyncExitStack() as stack:
            room = BodyRoom(LARGEST_BODY)
            place = await stack.enter_async_context(room.place())
            assert len(await read_body(receive, length, place)) == 2 * SMALL
            assert place.size == size

    asyncio.run(asyncio.wait_for(run(), LAST_RESORT_S))
