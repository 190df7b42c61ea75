"""Two applications on one socket: one has the paths it takes, the other all others.

Each is as it would be alone: nothing that is around one of them is around the other, and both
lifespans begin before the first request and end after the last.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from email.utils import formatdate
from types import TracebackType
from typing import Self

from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.serving.asgi import AsgiApp, Message, Receive, Send
from earmark.serving.connections import ConnectionLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """An application beside another one."""

    app: AsgiApp
    takes: Callable[[str], bool]
    """Whether a path, as it was sent, is one of its own."""
    limits: ConnectionLimits
    grace_s: int
    """How many seconds its requests may take at the end."""


class MountedApp:
    """An ASGI application of two."""

    def __init__(self, app: AsgiApp, mounted: Mounted, clock: Clock) -> None:
        """Give *mounted* the paths it takes, and *app* all others, whose answers get a date."""
        self._app = app
        self._mounted = mounted
        self._clock = clock

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or begin and end both."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._mounted.takes(scope["raw_path"].decode("latin-1")):
            await self._mounted.app(scope, receive, send)
        else:
            await self._app(scope, receive, self._dated(send))

    def _dated(self, send: Send) -> Send:
        """Return *send* with what the server adds where there is one application."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = self._clock.instant() // NANOS_PER_SECOND
                date = (b"date", formatdate(now, usegmt=True).encode())
                message["headers"] = [date, *message.get("headers", ())]
            await send(message)

        return dated

    async def _live(self, scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as begun:
            for app in (self._mounted.app, self._app):
                try:
                    await begun.enter_async_context(_Lifespan(app, scope))
                except _NotBegunError as error:
                    await begun.aclose()
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


class _NotBegunError(Exception):
    """An application says that it cannot begin."""


class _Lifespan:
    """The lifespan of one application, in a task of its own: begun, and ended after the block."""

    def __init__(self, app: AsgiApp, scope: Message) -> None:
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        own = app({**scope}, self._to_app.get, self._from_app.put)
        self._task = asyncio.ensure_future(own)

    async def __aenter__(self) -> Self:
        answer = await self._step("startup")
        if answer["type"] != "lifespan.startup.complete":
            await self._task
            raise _NotBegunError(str(answer.get("message", "")))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._step("shutdown")
        await self._task

    async def _step(self, name: str) -> Message:
        """Send the application an event of its lifespan, and return its answer.

        Raises:
            Exception: Whatever ended the application instead.
        """
        await self._to_app.put({"type": f"lifespan.{name}"})
        answer = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await self._task
            raise _NotBegunError(f"it ended before its {name}")
        return answer.result()
