"""Clients that do not finish their requests: a service with few descriptors goes on answering."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2
import pytest

from support.last_resort import LAST_RESORT_S, until
from support.ledger_books import STORES
from support.served import Served

#: More than one process may have of clients here; the test itself has fewer than a thousand.
FILES: Final = 256
CLIENTS: Final = 252

BEGUN: Final = {
    "bodies of /login": b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n\r\n",
    "bodies of the API": b"POST /v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
    "heads": b"GET /livez HTTP/1.1\r\nX-Long: ",
    "nothing": b"",
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test began."""
    with ExitStack() as opened:
        yield opened


def connect(stack: ExitStack, served: Served) -> socket.socket:
    """Return a connection of a client that takes its time."""
    place = urlsplit(served.url)
    assert place.hostname is not None
    address = (place.hostname, place.port or 80)
    return stack.enter_context(socket.create_connection(address, timeout=LAST_RESORT_S))


@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN)
def test_unfinished_requests_leave_room_for_others(
    begun: bytes, stack: ExitStack, tmp_path: Path
) -> None:
    """As many as there are descriptors, dripping: probes and the API are answered, with a store."""
    served = stack.enter_context(Served(STORES["sqlite"](tmp_path), tmp_path, files=FILES))
    clients = [connect(stack, served) for _ in range(CLIENTS)]
    for _ in range(3):
        for client in clients:
            try:
                client.sendall(begun or b"\r\n")
            except OSError:
                continue  # it was closed in favour of another
        begun = b"x"
        assert httpx2.get(f"{served.url}/livez", timeout=LAST_RESORT_S).status_code == 200
        assert served.ask("get", "/readyz").status_code == 200
        assert served.ask("post", "/v1/tasks", json={"title": "think"}).status_code == 201
    assert "Traceback" not in served.said.read_text()


@pytest.mark.parametrize("begun", [BEGUN["bodies of /login"], BEGUN["bodies of the API"]])
def test_an_aborted_body_is_one_line_of_the_log(
    begun: bytes, stack: ExitStack, tmp_path: Path
) -> None:
    """Of each, whoever sent it: no traceback, and nothing of what it held."""
    served = stack.enter_context(Served(STORES["sqlite"](tmp_path), tmp_path))
    key = f"Authorization: Bearer {served.token}\r\nIdempotency-Key: k\r\n".encode()
    keyed = begun.replace(b"Host:", key + b"Host:")
    for head in (begun, keyed):
        with connect(stack, served) as client:
            client.sendall(head + b"a secret")
    until(lambda: len(served.said.read_text().splitlines()) >= 3)
    assert served.ask("get", "/readyz").status_code == 200
    said = served.said.read_text()
    assert said.count("ended before the request was complete") == 2
    assert len(said.splitlines()) == 3, "those, and where it serves"
    assert "Traceback" not in said
    assert "secret" not in said


def test_a_body_that_drips_is_ended_by_its_total_time(stack: ExitStack, tmp_path: Path) -> None:
    """The time is a setting; a byte now and then does not prolong it."""
    settings = tmp_path / "settings.toml"
    settings.write_text('[service]\nbody_timeout = "500ms"\n')
    store = STORES["sqlite"](tmp_path)
    served = stack.enter_context(Served(store, tmp_path, "--config", str(settings)))
    client = connect(stack, served)
    client.sendall(BEGUN["bodies of /login"])
    client.settimeout(0.05)
    said = b""
    for _ in range(round(LAST_RESORT_S * 20)):
        try:
            said = client.recv(4096)
            break
        except TimeoutError:
            client.sendall(b"x")
        except ConnectionError:
            break
    else:
        pytest.fail("it was never ended")
    assert said == b"" or said.startswith(b"HTTP/1.1 408")


def test_a_client_that_offers_http_2_keeps_its_body(stack: ExitStack, tmp_path: Path) -> None:
    """As Java's does by default: what it sends to the service is read."""
    served = stack.enter_context(Served(STORES["sqlite"](tmp_path), tmp_path))
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEA"}
    body = {"budget": "acme", "amount": "1", "key": "from-java"}
    assert served.ask("POST", "/v1/reservations", json=body, headers=offer).status_code == 201
    assert served.ask("GET", "/v1/reservations/from-java").json()["amount"] == "1"
