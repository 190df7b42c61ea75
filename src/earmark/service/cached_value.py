"""A value computed again when it is asked for and too old: once, however many callers wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from earmark.clock import NANOS_PER_SECOND, Clock

T = TypeVar("T")


class CachedValue(Generic[T]):
    """What *make* gives, made in a thread of its own; for one event loop.

    Its age counts from when its making began. An error is kept for as long as a value, so that a
    crowd does not try a thousand times what just failed.
    """

    def __init__(
        self, make: Callable[[], T], clock: Clock, *, fresh_s: float, rest: int = 0
    ) -> None:
        """Make it at most each *fresh_s* seconds, and each *rest* times as long as making takes."""
        self._make = make
        self._clock = clock
        self._fresh_ns = round(fresh_s * NANOS_PER_SECOND)
        self._rest = rest
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="earmark fresh")
        self._made: asyncio.Future[T] | None = None
        self._began = 0
        self._took = 0

    async def get(self, patience_s: float) -> T:
        """Return the value, made anew if it is old.

        Raises:
            TimeoutError: It is not there within *patience_s*; its making goes on.
        """
        made = self._made
        if made is None or (made.done() and not self._is_fresh()):
            self._began = self._clock.elapsed()
            loop = asyncio.get_running_loop()
            made = self._made = asyncio.ensure_future(
                loop.run_in_executor(self._thread, self._timed)
            )
            # Whoever gave up waiting does not look at what it came to.
            made.add_done_callback(_seen)
        if not made.done():
            left = patience_s - (self._clock.elapsed() - self._began) / NANOS_PER_SECOND
            await asyncio.wait((made,), timeout=max(left, 0))
        if not made.done():
            raise TimeoutError
        return made.result()

    def close(self) -> None:
        """Let the thread go; a making under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _is_fresh(self) -> bool:
        age = self._clock.elapsed() - self._began
        return age < max(self._fresh_ns, self._took * self._rest)

    def _timed(self) -> T:
        began = self._clock.elapsed()
        try:
            return self._make()
        finally:
            self._took = self._clock.elapsed() - began


def _seen(made: "asyncio.Future[T]") -> None:
    if not made.cancelled():
        made.exception()
