"""Requests that offer HTTP/2, as Java's client does by default: nothing of them is lost."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from earmark.serving.connections import ConnectionLimits
from earmark.serving.listening import listen, serve_in_thread
from support.last_resort import LAST_RESORT_S

#: As Java's `HttpClient` writes it.
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\n"
POST = b"POST /a?b=c HTTP/1.1\r\n" + OFFER + b"Host: x\r\nContent-Length: 5\r\n\r\n12345"
CHUNKED_HEAD = b"PUT /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + OFFER
CHUNKED = CHUNKED_HEAD + b"\r\n2\r\n12\r\n3\r\n345\r\n0\r\n\r\n"
GET = b"GET /e HTTP/1.1\r\nHost: x\r\n" + OFFER + b"\r\n"
PLAIN = b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
LAST = b"GET /g HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer what was asked."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    names = [name for name, _ in scope["headers"]]
    assert b"upgrade" not in names
    assert b"host" in names
    said = scope["method"].encode() + b" " + scope["raw_path"] + b" " + body + b";"
    length = [(b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """Where `echo` is served."""
    listener = listen("127.0.0.1", 0)
    with serve_in_thread(listener, echo, ConnectionLimits()):
        yield listener.getsockname()[:2]


def answers(address: tuple[str, int], *pieces: bytes) -> list[bytes]:
    """Send *pieces* on one connection and return the bodies of all that is answered."""
    with socket.create_connection(address, timeout=LAST_RESORT_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        with client.makefile("rb") as reader:
            said = reader.read()
    return [each.partition(b"\r\n\r\n")[2] for each in said.split(b"HTTP/1.1 200 OK\r\n")[1:]]


@pytest.mark.parametrize("size", [1, 50, 120, 10_000])
def test_requests_that_offer_another_protocol_are_read_whole(
    address: tuple[str, int], size: int
) -> None:
    """With a length, in chunks, without a body; one after the other, wherever they are cut."""
    sent = POST + CHUNKED + GET + PLAIN + POST + LAST
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    assert answers(address, *pieces) == [
        *(b"POST /a 12345;", b"PUT /d 12345;", b"GET /e ;"),
        *(b"POST /f ok;", b"POST /a 12345;", b"GET /g ;"),
    ]


def test_a_body_is_no_request(address: tuple[str, int]) -> None:
    """What follows the head is the body, and not a request of somebody else's making."""
    inner = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /a HTTP/1.1\r\nHost: x\r\n" + OFFER + b"Content-Length: %d\r\n\r\n" % len(inner)
    assert answers(address, head + inner + LAST) == [b"POST /a " + inner + b";", b"GET /g ;"]


def test_a_tunnel_is_refused(address: tuple[str, int]) -> None:
    """It is no request that anybody answers here."""
    with socket.create_connection(address, timeout=LAST_RESORT_S) as client:
        client.sendall(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n")
        with client.makefile("rb") as reader:
            assert reader.read().startswith(b"HTTP/1.1 400")
