"""What a gateway does now and then beside its requests."""

import asyncio

from earmark.errors import StoreUnavailable
from earmark.gateway.upkeep import keep_up


def test_old_rows_are_removed_batch_by_batch_and_again_later() -> None:
    """Until there are none; also after a time when the store could not be written."""
    answers = [True, True, False, None, False]
    given: list[bool | None] = []

    async def lived() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def forget() -> bool:
            if len(given) == len(answers):
                return False  # once more, before its end was heard of
            given.append(answers[len(given)])
            if len(given) == len(answers):
                loop.call_soon_threadsafe(ended.set)
            if given[-1] is None:
                raise StoreUnavailable(store="memory:", detail="away")
            return given[-1]

        await keep_up(forget, ended, every_s=0)

    asyncio.run(lived())
    assert given == answers
