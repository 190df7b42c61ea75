"""A waiting request is cancelled when its client disconnects."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request


@asynccontextmanager
async def while_connected(request: Request) -> AsyncGenerator[None]:
    """Cancel what is awaited in the block once the client of *request* has hung up.

    The body of *request* has been read: whatever comes after it is the end of the connection.

    Raises:
        ClientDisconnect: It has hung up, and the block was cancelled.
    """
    # A time-out without a time: it tells its own cancellation from that of the whole task.
    limit = asyncio.timeout(None)
    try:
        async with limit:
            watch = asyncio.create_task(_expire_with(request, limit))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError:
        if limit.expired():
            raise ClientDisconnect from None
        raise


async def _expire_with(request: Request, limit: asyncio.Timeout) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    limit.reschedule(asyncio.get_running_loop().time())
