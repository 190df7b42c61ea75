"""How many bytes of large bodies are in memory at once: the next one waits to be read."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

#: Bytes of all large bodies that are read or answered; a call has its body about three times.
MOST: Final = 256 << 20
#: Bodies up to this size never wait; so many are there as connections may be open.
SMALL: Final = 1 << 20


class BodyRoom:
    """Room for large bodies, given in the order of asking; it belongs to the loop's thread."""

    def __init__(self, most: int = MOST) -> None:
        self._free = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncGenerator["BodyPlace"]:
        """Give a place for one body while the block runs."""
        made = BodyPlace(self)
        try:
            yield made
        finally:
            self.give(made.size)

    async def take(self, size: int) -> None:
        """Take *size* bytes once they are free and everybody who asked before has theirs."""
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        try:
            await granted
        except asyncio.CancelledError:
            # What it was granted, if it was; else those behind it may fit.
            self.give(0 if granted.cancelled() else size)
            raise

    def give(self, size: int) -> None:
        """Give *size* bytes back, to those who wait."""
        self._free += size
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            wanted, granted = self._waiting.popleft()
            if not granted.done():
                self._free -= wanted
                granted.set_result(None)


class BodyPlace:
    """The place of one body."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self.size = 0
        """Bytes that it has of the room."""

    async def hold(self, size: int, most: int) -> None:
        """Have room for a body of which *size* bytes are known, and which has at most *most*."""
        if size > SMALL and not self.size:
            await self._room.take(most)
            self.size = most
