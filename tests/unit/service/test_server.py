"""The server's connections: heads that are too large or never come, clients that take nothing."""

import asyncio
import socket
from contextlib import closing
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from earmark.service import heads, server
from earmark.service.heads import LARGEST_HEAD, Heads

PATIENCE_S = 20
REFUSED = b"HTTP/1.1 431"


async def hello(_scope: Any, receive: Any, send: Any) -> None:
    """Answer whatever is asked, once all of it is here."""
    while (await receive()).get("more_body"):
        pass
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"hi"})


def answer_to(*pieces: bytes) -> bytes:
    """Send *pieces* on one connection, one after the other, and return all that comes back."""

    async def run() -> bytes:
        config = uvicorn.Config(hello, http=Heads, lifespan="off", timeout_keep_alive=0)
        state = ServerState()
        loop = asyncio.get_running_loop()
        opened = await loop.create_server(lambda: Heads(config, state, {}), "127.0.0.1", 0)
        async with opened, asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(*opened.sockets[0].getsockname())
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            try:
                return await reader.read()
            except ConnectionResetError:
                return REFUSED  # what it had not read yet made its answer be lost
            finally:
                writer.close()

    return asyncio.run(run())


def test_a_head_of_a_usual_size_is_read() -> None:
    """In one piece or in several, with a body that is larger than any head may be."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nX-Much: " + b"x" * 30_000
    size = 4 * LARGEST_HEAD
    length = f"\r\nContent-Length: {size}\r\n\r\n".encode()
    assert answer_to(head, length, b"y" * size).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("piece", [b"X-Much: x\r\n", b"x"], ids=["many headers", "one header"])
def test_a_head_that_goes_on_and_on_is_refused(piece: bytes) -> None:
    """431 and the end of the connection, whether it is many headers or one."""
    flood = piece * (2 * LARGEST_HEAD // len(piece))
    said = answer_to(b"GET / HTTP/1.1\r\nHost: a\r\nX-First: ", flood)
    assert said.startswith(REFUSED)


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_who_says_nothing_is_let_go(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a request, or with half of one, is closed after a while."""
    monkeypatch.setitem(vars(heads), "HEAD_S", 0.05)
    assert answer_to(begun) == b""


def test_who_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stopped reading does not keep its connection for ever."""
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("this system has no such timer")
    monkeypatch.setitem(vars(server), "STALLED_S", 0.2)
    with (
        closing(server.listen("127.0.0.1", 0)) as listener,
        closing(socket.create_connection(listener.getsockname()[:2])),
    ):
        served, _ = listener.accept()
        with closing(served):
            served.settimeout(PATIENCE_S)
            with pytest.raises(TimeoutError) as ended:
                served.sendall(b"x" * (64 << 20))  # more than all buffers between them
            assert ended.value.errno is not None, "the kernel ended it, not this test's patience"
