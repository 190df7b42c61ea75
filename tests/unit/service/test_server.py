"""The server's connections: heads that are too large or never come, clients that take nothing."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from earmark.serving import listening as server
from earmark.serving.connections import LARGEST_HEAD, ConnectionLimits, Connections, network_of
from support.last_resort import LAST_RESORT_S

REFUSED = b"HTTP/1.1 431"


class Application:
    """Answers `hi` to everything once all of it is here; `/early` before, `/blocked` when told."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.blocked = asyncio.Semaphore(0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        while not scope["path"].startswith("/early") and (await receive()).get("more_body"):
            pass
        if scope["path"] == "/blocked":
            self.blocked.release()
            await self.gate.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hi"})


@dataclass
class Site:
    """A server, what answers there, and the connections to it."""

    address: tuple[str, int]
    app: Application
    connections: ExitStack = field(default_factory=ExitStack)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection, which is closed in the end."""
        reader, writer = await asyncio.open_connection(*self.address)
        self.connections.callback(writer.close)
        return reader, writer


@asynccontextmanager
async def served(keep_alive: int = 0, **limits: Any) -> AsyncGenerator[Site]:
    """Give a server with these limits."""
    app = Application()
    config = uvicorn.Config(app, lifespan="off", timeout_keep_alive=keep_alive)
    connections = Connections(ConnectionLimits(**limits))
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: connections.protocol(config, state, {}), "127.0.0.1", 0
    )
    site = Site(server.sockets[0].getsockname(), app)
    async with server, asyncio.timeout(LAST_RESORT_S):
        with site.connections:
            yield site


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the other side closes, in whatever way."""
    try:
        return await reader.read()
    except ConnectionError:
        return REFUSED  # what it had not read yet made its answer be lost


def answer_to(*pieces: bytes, **limits: Any) -> bytes:
    """Send *pieces* on one connection, one after the other, and return all that comes back."""

    async def run() -> bytes:
        async with served(**limits) as site:
            reader, writer = await site.connect()
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await read_all(reader)

    return asyncio.run(run())


def test_a_head_of_a_usual_size_is_read() -> None:
    """In one piece or in several, with a body that is larger than any head may be."""
    head = (
        b"POST / HTTP/1.1\r\nHost: a\r\nX-Much: " + b"x" * 30_000 + b"\r\nX-More: " + b"y" * 30_000
    )
    size = 4 * LARGEST_HEAD
    length = f"\r\nContent-Length: {size}\r\n\r\n".encode()
    assert answer_to(head, length, b"y" * size).startswith(b"HTTP/1.1 200")
    assert answer_to(head + length + b"y" * size).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("piece", [b"X-Much: x\r\n", b"x"], ids=["many headers", "one header"])
@pytest.mark.parametrize("cut", [0, 40], ids=["in one piece", "in two"])
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["unfinished", "finished"])
def test_a_head_above_the_limit_is_refused(piece: bytes, cut: int, end: bytes) -> None:
    """431 and the end of the connection: many headers or one, however it is divided."""
    flood = piece * (70_000 // len(piece))
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-First: " + flood + end
    said = answer_to(head[:cut], head[cut:])
    assert said.startswith(REFUSED)
    assert b"200" not in said


def test_a_long_target_is_a_part_of_the_head() -> None:
    """The first line counts too."""
    said = answer_to(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert said.startswith(REFUSED)


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_arrive_ends_the_connection(begun: bytes) -> None:
    """A connection without a request, or with half of one, is closed after a while."""
    assert answer_to(begun, head_s=0.05) == b""


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    ("begun", "drop", "answered"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nX: ", b"x", 0, id="head"),
        pytest.param(POST, b"x", 0, id="body"),
        pytest.param(GET, b"\r\n", 1, id="empty lines after an answer"),
        pytest.param(GET + b"GET / HTTP/1.1\r\nX: ", b"x", 1, id="head after an answer"),
        pytest.param(GET + POST, b"x", 1, id="body after an answer"),
        pytest.param(POST.replace(b"POST /", b"POST /early"), b"x", 1, id="body that is not read"),
    ],
)
def test_a_request_that_drips_ends_by_its_total_time(
    begun: bytes, drop: bytes, answered: int
) -> None:
    """A byte now and then does not keep a connection open, wherever in a request it is sent."""

    async def run() -> bytes:
        in_body = b"POST" in begun
        times = {"head_s": 3600.0 if in_body else 0.2, "body_s": 0.2 if in_body else 3600.0}
        async with served(keep_alive=3600, **times) as site:
            reader, writer = await site.connect()
            writer.write(begun)
            said = b""
            while True:
                try:
                    async with asyncio.timeout(0.02):
                        piece = await reader.read(65536)
                    if not piece:
                        return said
                    said += piece
                except TimeoutError:
                    writer.write(drop)
                except ConnectionError:
                    return said

    assert asyncio.run(run()).count(b"HTTP/1.1 200") == answered


def test_a_complete_request_has_all_the_time_it_takes() -> None:
    """Its answer may come long after a connection without a request was closed."""

    async def run() -> None:
        async with served(head_s=0.2, body_s=0.2) as site:
            reader, writer = await site.connect()
            writer.write(b"GET /blocked HTTP/1.1\r\nHost: a\r\n\r\n")
            await site.app.blocked.acquire()
            idle, _ = await site.connect()
            assert await idle.read() == b""
            site.app.gate.set()
            assert (await reader.read()).startswith(b"HTTP/1.1 200")

    asyncio.run(run())


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX: ", POST, GET], ids=repr)
@pytest.mark.parametrize("limits", [{"pending_per_address": 8}, {"total": 8}], ids=str)
def test_the_oldest_unfinished_connection_makes_room_for_a_new_one(
    begun: bytes, limits: dict[str, int]
) -> None:
    """With as many as there may be, each new one is answered and one of the old ones is closed."""

    async def run() -> None:
        async with served(keep_alive=3600, **limits) as site:
            old = [await site.connect() for _ in range(8)]
            for reader, writer in old:
                writer.write(begun)
                if begun == GET:
                    await reader.readuntil(b"hi")
            ends = [asyncio.ensure_future(read_all(reader)) for reader, _ in old]
            for number in range(3):
                reader, writer = await site.connect()
                writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                assert (await reader.read()).startswith(b"HTTP/1.1 200"), number
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            assert sum(each.done() for each in ends) <= 3
            assert not ends[-1].done(), "the youngest is still open"
            for each in ends:
                each.cancel()
            await asyncio.wait(ends)

    asyncio.run(run())


def test_a_connection_that_works_does_not_make_room() -> None:
    """With every place taken by requests that are being answered, a new one is refused with 503."""

    async def run() -> None:
        async with served(total=2) as site:
            busy = [await site.connect() for _ in range(2)]
            for _, writer in busy:
                writer.write(b"GET /blocked HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in busy:
                await site.app.blocked.acquire()
            reader, writer = await site.connect()
            assert (await read_all(reader)).startswith(b"HTTP/1.1 503")
            site.app.gate.set()
            for reader, _ in busy:
                assert (await reader.read()).startswith(b"HTTP/1.1 200")

    asyncio.run(run())


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    """Who has one such address usually has 2^64."""
    networks = {
        network_of(host) for host in ("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::%eth0")
    }
    assert len(networks) == 1
    assert network_of("2001:db8:0:1::1") not in networks
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")


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
            served.settimeout(LAST_RESORT_S)
            with pytest.raises(TimeoutError) as ended:
                served.sendall(b"x" * (64 << 20))  # more than all buffers between them
            assert ended.value.errno is not None, "the kernel ended it, not this test's patience"
