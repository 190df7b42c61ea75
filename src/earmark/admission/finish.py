"""Work that a cancellation must not cut in half."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> tuple[T, asyncio.CancelledError | None]:
    """Return what *work* gives, and the cancellation that arrived meanwhile, which is to be raised.

    The work goes on in a task of its own; it alone decides when it ends.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    return task.result(), cancelled


async def booked(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what *work* gives, once it is done; a cancellation is raised only then.

    It is idempotent: cut short, it is done again, in a task of its own. Whoever ends a loop cancels
    that task, too, perhaps before its first step; then it is done once more.
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
    # Also where the booking failed: a cancellation that is swallowed is never seen.
    raise cancelled from task.exception()
