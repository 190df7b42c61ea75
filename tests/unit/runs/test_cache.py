"""Outputs of pure stages: who asks while one is made waits for it, and failures leave nothing."""

import asyncio
from typing import Any

import pytest

from earmark.runs.cache import PureCache, cache_key


def test_equal_inputs_have_equal_keys() -> None:
    """The order of an object's fields does not matter; anything else does."""
    assert cache_key("s", {"a": 1, "b": [2]}) == cache_key("s", {"b": [2], "a": 1})
    others = [{"a": 1}, {"a": "1"}, {"a": True}, {"a": 1.5}, [1], "x" * 100, "x" * 101, None]
    assert len({cache_key("s", other) for other in others}) == len(others)
    assert cache_key("s", 1) != cache_key("t", 1)


def test_input_that_json_cannot_say_has_no_key() -> None:
    """What cannot be compared is not remembered."""
    assert cache_key("s", {1, 2}) is None
    assert cache_key("s", float("nan")) is None


def test_same_work_is_done_once_at_a_time() -> None:
    """Twenty who ask at once get one output, made once."""
    made: list[int] = []

    async def main() -> list[Any]:
        cache = PureCache()

        async def make() -> str:
            made.append(1)
            await asyncio.sleep(0)
            return "output"

        return await asyncio.gather(*(cache.get(("s", "1"), make) for _ in range(20)))

    answers = asyncio.run(main())
    assert made == [1]
    assert sorted(answers) == [("output", False), *[("output", True)] * 19]


def test_failure_goes_to_its_own_caller_and_another_tries() -> None:
    """When the one who makes it fails, one who waited makes it anew."""
    tries: list[int] = []

    async def main() -> list[Any]:
        cache = PureCache()

        async def make() -> str:
            tries.append(1)
            await asyncio.sleep(0)
            if len(tries) == 1:
                raise ValueError("first")
            return "output"

        asks = (cache.get(("s", "1"), make) for _ in range(3))
        return await asyncio.gather(*asks, return_exceptions=True)

    first, *others = asyncio.run(main())
    assert isinstance(first, ValueError)
    assert sorted(others) == [("output", False), ("output", True)]
    assert len(tries) == 2


@pytest.mark.parametrize("who", [0, 1])
def test_cancelling_one_asker_does_not_cancel_the_others(who: int) -> None:
    """Whether the maker or a waiter is cancelled, the other gets the output."""

    async def main() -> Any:
        cache = PureCache()
        gate = asyncio.Event()

        async def make() -> str:
            await gate.wait()
            return "output"

        tasks = [asyncio.ensure_future(cache.get(("s", "1"), make)) for _ in range(2)]
        await asyncio.sleep(0)
        tasks[who].cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await tasks[who]
        return await tasks[1 - who]

    assert asyncio.run(main())[0] == "output"
