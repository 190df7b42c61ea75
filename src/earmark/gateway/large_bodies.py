"""Work on a request's body: a large one is read and bounded in a thread, so nobody waits for it."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from earmark.gateway.peer import Peer

#: Bodies up to this size are worked on at once: counting one takes a few milliseconds at most.
AT_ONCE: Final = 64 << 10
#: Threads that work on large bodies; the default executor has more, so others find a free one.
THREADS: Final = 2
_T = TypeVar("_T")


def is_large(body: bytes) -> bool:
    """Return whether work on *body* belongs in a thread."""
    return len(body) > AT_ONCE


async def run_apart(body: bytes, work: Callable[[], _T]) -> _T:
    """Return what *work* makes of *body*, in a thread if it is large; it waits for no other."""
    return await asyncio.to_thread(work) if is_large(body) else work()


class LargeBodies:
    """Runs work on large bodies in at most `THREADS` threads, in the order of asking.

    It belongs to the loop's thread.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._free = asyncio.Semaphore(threads)

    async def run(self, body: bytes, peer: Peer, work: Callable[[], _T]) -> _T:
        """Return what *work* makes of *body*: in a thread if it is large, else at once.

        *work* holds no money: what it gives is dropped where nobody waits for it any more. A thread
        cannot be interrupted, so that its place stays taken until *work* ends.

        Raises:
            ClientGone: The client left; work that had not begun does not begin.
        """
        if not is_large(body):
            return work()
        with peer.ends_task():
            await self._free.acquire()
            running = asyncio.ensure_future(asyncio.to_thread(work))
            running.add_done_callback(self._ended)
            # Unlike `await running`, this does not cancel it: its place is free once it has ended.
            await asyncio.wait([running])
        return running.result()

    def _ended(self, running: asyncio.Future[_T]) -> None:
        self._free.release()
        if not running.cancelled():
            running.exception()  # nobody may be there any more to see it
