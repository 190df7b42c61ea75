"""Outputs of pure stages within one run: equal work on equal input is done, and paid, once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

from earmark.stages.kinds.jsontext import Json

CacheKey = tuple[str, str]

#: Longer inputs are known by their digest.
_DIGEST_CHARS: Final = 64


def cache_key(stage_id: str, value: Json) -> CacheKey | None:
    """Return what a stage's output depends on, or None for an input that JSON cannot say."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return stage_id, text if len(text) <= _DIGEST_CHARS else sha256(text.encode()).hexdigest()


class PureCache:
    """Outputs by key; who asks for one that is being made waits for it."""

    def __init__(self) -> None:
        self._outputs: dict[CacheKey, asyncio.Future[Json]] = {}

    async def get(self, key: CacheKey, make: Callable[[], Awaitable[Json]]) -> tuple[Json, bool]:
        """Return the output, and whether it was there already; *make* runs at most once at a time.

        A *make* that fails or is cancelled leaves nothing behind: its error goes to its own caller,
        and one of those who waited makes it anew.
        """
        while (known := self._outputs.get(key)) is not None:
            await _settled(known)
            if not known.cancelled():
                return known.result(), True
        promise: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._outputs[key] = promise
        try:
            output = await make()
        except BaseException:
            del self._outputs[key]
            promise.cancel()
            raise
        promise.set_result(output)
        return output, False


async def _settled(promise: asyncio.Future[Json]) -> None:
    # `wait` neither cancels the promise with the waiter nor raises what became of it.
    if not promise.done():
        await asyncio.wait((promise,))
