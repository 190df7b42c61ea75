"""Coroutines that run to their end although their caller is cancelled."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_to_completion(
    work: Coroutine[Any, Any, T],
) -> tuple[T, asyncio.CancelledError | None]:
    """Return the result of *work*, and a cancellation that arrived meanwhile: the caller raises it.

    The work runs in a task of its own, which the cancellation does not reach.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    return task.result(), cancelled


async def finish(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return the result of *work*; a cancellation is raised after it has ended.

    It is idempotent: if cancelled, it is started again in a task of its own. Closing a loop cancels
    that task too, perhaps before its first step; then it is started once more.
    """
    try:
        return await work()
    except asyncio.CancelledError as error:
        cancelled = error
    while True:
        task = asyncio.ensure_future(work())
        while not task.done():
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError as error:
                cancelled = error
        if not task.cancelled():
            break
    # Also where the work failed: a swallowed cancellation would be lost.
    raise cancelled from task.exception()
