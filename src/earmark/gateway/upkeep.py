"""What is done now and then while a gateway runs: rows that nobody needs any more are removed."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from earmark.errors import EarmarkError

_LOG: Final = logging.getLogger("earmark.gateway")
#: Seconds from one time to the next.
EVERY_S: Final = 3600.0


async def keep_up(
    forget: Callable[[], bool], ended: asyncio.Event, *, every_s: float = EVERY_S
) -> None:
    """Call *forget* in a thread, at once and then every so many seconds, until *ended* is set.

    Args:
        forget: Removes a batch of rows, and returns whether there may be more: then it is called
            again at once.
        ended: Set when the gateway ends; the batch under way is waited for.
        every_s: Seconds from one time to the next.
    """
    while not ended.is_set():
        if await _has_more(forget):
            continue
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), every_s)


async def _has_more(forget: Callable[[], bool]) -> bool:
    try:
        return await asyncio.to_thread(forget)
    except EarmarkError as error:
        _LOG.warning("old ids of kept responses stay: %s", type(error).__name__)
        return False
