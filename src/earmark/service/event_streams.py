"""Server-sent events of what changes: one loop polls the store for all listeners.

While there is a listener, the loop asks `changes_since` a few times a second. Each change is
encoded once and put into every stream. A stream that does not keep up is ended, so that a slow
reader costs no memory: it connects again and goes on after the last number it has.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from fastapi.sse import KEEPALIVE_COMMENT
from starlette.concurrency import run_in_threadpool

from earmark.errors import EarmarkError
from earmark.service.change_feed import Change, Positions, changes_since
from earmark.workspace.resources.board import TASK_DECISION
from earmark.workspace.workspace import Workspace

#: How often it is looked, in seconds.
POLL_EVERY_S: Final = 0.2
#: How often a silent stream gets a comment, so that nothing between closes it.
PING_S: Final = 15.0
#: How many events a stream may be behind.
MOST_WAITING: Final = 1000
#: How many may listen at a time: a process may have a thousand connections, and answers others too.
MOST_STREAMS: Final = 500
#: How many of the events since somebody's last one are told one by one.
MOST_REPLAYED: Final = 1000

#: Sent when listening has begun: whatever happens from then on is told.
HELLO: Final = b": here\n\n"

#: Where nobody looked yet.
_START: Final[Positions] = {}

_LOG: Final = logging.getLogger("earmark.service")

_EncodedEvents = AsyncGenerator[bytes]


class EventStreams:
    """The one loop of a service; its methods belong to the event loop's thread."""

    def __init__(self, workspace: Workspace, *, poll_every_s: float = POLL_EVERY_S) -> None:
        self._workspace = workspace
        self._poll_every_s = poll_every_s
        self._streams: set[EventStream] = set()
        self._positions = _START
        self._begun = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._closed = False
        self._trouble = False

    @property
    def streams(self) -> int:
        """How many listen."""
        return len(self._streams)

    @property
    def full(self) -> bool:
        """Whether nobody else may listen now."""
        return len(self._streams) >= MOST_STREAMS

    @asynccontextmanager
    async def subscribe(self, after: int | None = None) -> AsyncGenerator["EventStream"]:
        """Give a stream of what happens from now on, or since the board's event *after*."""
        stream = EventStream()
        self._streams.add(stream)
        try:
            # Looking begins before the past is read: what happens in between is found by both, and
            # told once, by its number.
            await self._begin()
            try:
                await self._replay(stream, after)
            except EarmarkError as error:
                # It connects again, and the past is still there when the store is.
                self._log_failure(error)
                stream.end()
            if self._closed:
                stream.end()
            yield stream
        finally:
            self._streams.discard(stream)
            await self._rest()

    async def sse_stream(
        self, after: int | None = None, kinds: Collection[str] = ()
    ) -> _EncodedEvents:
        """Yield what happens as server-sent events, and a comment where nothing does for long.

        Args:
            after: The number of the last event of the board that the listener has.
            kinds: Only these kinds; all without any.
        """
        async with self.subscribe(after) as stream:
            yield HELLO
            while True:
                try:
                    change = await stream.next(PING_S)
                except TimeoutError:
                    yield KEEPALIVE_COMMENT
                    continue
                if change is None:
                    return
                if not kinds or change.kind in kinds or change.kind == "reset":
                    yield change.encoded

    def close(self) -> None:
        """End every stream; those that come later end at once."""
        self._closed = True
        self._begun.set()
        for stream in self._streams:
            stream.end()

    async def _begin(self) -> None:
        if self._closed:
            return
        if self._loop is None:
            self._loop = asyncio.create_task(self._poll(), name="earmark event streams")
        await self._begun.wait()

    async def _rest(self) -> None:
        """Stop looking when nobody listens."""
        if self._streams or self._loop is None:
            return
        loop, self._loop = self._loop, None
        self._positions: Positions = {}
        self._begun.clear()
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop

    async def _replay(self, stream: "EventStream", after: int | None) -> None:
        if after is None or self._closed:
            stream.upto = self._positions.get("task", 0)
            return
        board = self._workspace.board
        past = await run_in_threadpool(board.events, after, MOST_REPLAYED + 1)
        if len(past) > MOST_REPLAYED:
            last = await run_in_threadpool(board.last_event)
            stream.put(Change.of("reset", {"after": last}, last))
            return
        for each in past:
            stream.put(Change.of("task", TASK_DECISION.encode(each), each.number))

    async def _poll(self) -> None:
        while not self._closed:
            try:
                # What a look that broke off had found is found by the next one.
                self._positions, found = await run_in_threadpool(
                    changes_since, self._workspace, self._positions
                )
            except Exception as error:  # noqa: BLE001 - streams that hear nothing look like peace
                self._log_failure(error)
            else:
                self._trouble = False
                self._begun.set()
                for change in found:
                    for stream in list(self._streams):
                        stream.put(change)
            await asyncio.sleep(self._poll_every_s)

    def _log_failure(self, error: Exception) -> None:
        if not self._trouble:
            foreseen = isinstance(error, EarmarkError)
            _LOG.warning("events wait: %s", error, exc_info=None if foreseen else error)
        self._trouble = True


class EventStream:
    """What one listener has not read yet."""

    __slots__ = ("_ended", "_waiting", "upto")

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Change | None] = asyncio.Queue()
        self._ended = False
        self.upto = 0
        """The last event of the board that it was told."""

    def put(self, change: Change) -> None:
        """Add *change*, unless it was told before; a listener too far behind is ended."""
        if self._ended or 0 < change.number <= self.upto:
            return
        self.upto = max(self.upto, change.number)
        self._waiting.put_nowait(change)
        if self._waiting.qsize() > MOST_WAITING:
            self.end()

    def end(self) -> None:
        """End it after what waits."""
        if not self._ended:
            self._ended = True
            self._waiting.put_nowait(None)

    async def next(self, patience_s: float) -> Change | None:
        """Return what happened next; `None` when the stream has ended.

        Raises:
            TimeoutError: Nothing did within *patience_s*.
        """
        async with asyncio.timeout(patience_s):
            return await self._waiting.get()
