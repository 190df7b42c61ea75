"""The client of one request: its body, and whether it is still there."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

from earmark.gateway.body_room import BodyPlace
from earmark.gateway.denied import Denied
from earmark.serving.asgi import Receive

#: Bytes of a request's body.
LARGEST_BODY: Final = 32 << 20
_DIGITS: Final = 12


class ClientGone(Exception):
    """The client ended its connection before its request was complete."""


async def read_body(receive: Receive, length: str, place: BodyPlace) -> bytes:
    """Return the whole body; *length* is what its header says, empty for nothing.

    A large one waits until there is room for it at *place*; what is not read yet is its client's.

    Raises:
        Denied: It is too large.
        ClientGone: It broke off.
    """
    if length and not (
        length.isdecimal() and len(length) < _DIGITS and int(length) <= LARGEST_BODY
    ):
        raise _too_large()
    if length:
        await place.hold(int(length), int(length))
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > LARGEST_BODY:
            raise _too_large()
        await place.hold(size, LARGEST_BODY)  # where its length was not said
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class Peer:
    """Watches a client while its request is answered: one task, whatever is streamed."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[None] | None = None
        self.gone = False
        self.on_gone: Callable[[], object] | None = None
        """Called once the client is gone."""

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()

    @contextmanager
    def ends_task(self) -> Generator[None]:
        """Cancel what the current task awaits in the block once the client is gone.

        Raises:
            ClientGone: It is.
        """
        task = asyncio.current_task()
        assert task is not None, "requests are answered in tasks"
        if self.gone:
            raise ClientGone
        self.on_gone = task.cancel
        try:
            yield
        except asyncio.CancelledError:
            if self.gone and not task.uncancel():
                raise ClientGone from None
            raise
        finally:
            self.on_gone = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None, "a block is entered before it is left"
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


def _too_large() -> Denied:
    return Denied(413, "too_large", f"a request has at most {LARGEST_BODY:,} bytes")
