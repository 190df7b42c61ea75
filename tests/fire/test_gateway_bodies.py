"""Bodies of 30 MB, both ways and several at once, and clients that do not read: memory is bounded.

What a call keeps is its body, what that says, and its body as it is sent; of a stream it keeps what
the sockets hold, whatever the provider writes.
"""

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, overload
from urllib.parse import urlsplit

import httpx2
import pytest

from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import Tokens
from support.dying_gateway import gateway_process
from support.last_resort import LAST_RESORT_S
from support.stub_server import chunks, completion
from support.upstream_stub import STREAM, Answer, UpstreamStub

LARGE: Final = 30 << 20
AT_ONCE: Final = 4
#: Copies of a body, sent or received, that a call has at the most.
COPIES: Final = 6
USAGE: Final = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
ASK: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
}


def peak(pid: int) -> int:
    """Return the most memory that a process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError(pid)


@pytest.fixture
def stub() -> Iterator[UpstreamStub]:
    """The provider."""
    with UpstreamStub() as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with plenty of money."""
    url = f"sqlite:///{tmp_path}/books.db"
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1000000 usd total"])
    return url


def token_of(store: str) -> str:
    """Return a token of its budget."""
    with open_ledger(store) as ledger, closing(open_tables(ledger.store)) as tables:
        tokens = Tokens(tables, ledger.clock)
        return tokens.create_for_gateway("fire", GatewayAccess(budget="acme"))[1]


def test_large_bodies_at_once_take_so_much_memory(
    stub: UpstreamStub, store: str, tmp_path: Path
) -> None:
    """Four of 30 MB each way at once: all pass whole, and six copies of each are never there."""
    token = token_of(store)
    reply = completion(USAGE, model="gpt-4o-mini", texts=["y" * LARGE])
    stub.answer(Answer(body=reply))
    asked = {**ASK, "messages": [{"role": "user", "content": "x" * LARGE}]}
    body = json.dumps(asked).encode()
    found: list[bool] = []

    def ask(url: str) -> None:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        with httpx2.Client(base_url=url, headers=headers, timeout=LAST_RESORT_S) as client:
            answer = client.post("/v1/chat/completions", content=body)
            found.append(answer.status_code == 200 and answer.content == reply)

    with gateway_process(tmp_path, store, stub.url) as (process, url):
        headers = {"authorization": f"Bearer {token}"}
        small = httpx2.post(
            f"{url}/v1/chat/completions", json=ASK, headers=headers, timeout=LAST_RESORT_S
        )
        assert small.content == reply
        before = peak(process.pid)
        threads = [threading.Thread(target=ask, args=(url,)) for _ in range(AT_ONCE)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(LAST_RESORT_S)
        grown = peak(process.pid) - before
    assert found == [True] * AT_ONCE
    assert all(sent.body.startswith(body[:-1]) for sent in stub.requests[1:])
    print(f"{grown >> 20} MB for {AT_ONCE} bodies of {LARGE >> 20} MB")  # noqa: T201 - pytest shows it
    assert grown < AT_ONCE * COPIES * LARGE


class _Endless(Sequence[bytes]):
    """Many events, made when they are sent; knows how many that were."""

    def __init__(self, count: int) -> None:
        self.sent = 0
        self._count = count
        self._event = b": %s\n\n" % (b"z" * 60_000)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        raise NotImplementedError

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._count):
            self.sent += 1
            yield self._event
        yield from chunks(["a"], USAGE, model="gpt-4o-mini")


def test_a_client_that_does_not_read_stops_its_provider(
    stub: UpstreamStub, store: str, tmp_path: Path
) -> None:
    """What it has not taken is not taken from there: of 240 MB no more than sockets hold."""
    events = _Endless(4000)
    few = chunks(["a"], USAGE, model="gpt-4o-mini")
    stub.answer(Answer(headers=STREAM, events=few), Answer(headers=STREAM, events=events))
    body = json.dumps({**ASK, "stream": True}).encode()
    token = token_of(store)
    with gateway_process(tmp_path, store, stub.url) as (process, url):
        asked, headers = {**ASK, "stream": True}, {"authorization": f"Bearer {token}"}
        whole = httpx2.post(
            f"{url}/v1/chat/completions", json=asked, headers=headers, timeout=LAST_RESORT_S
        )
        assert whole.status_code == 200
        place, before = urlsplit(url), peak(process.pid)
        with socket.create_connection((place.hostname, place.port), LAST_RESORT_S) as client:
            client.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: {place.netloc}\r\n"
                f"authorization: Bearer {token}\r\nconnection: close\r\n"
                f"content-length: {len(body)}\r\n\r\n".encode()
            )
            client.sendall(body)
            assert client.recv(1 << 10)
            still, seen, pause = 0, -1, threading.Event()
            while still < 100:  # a second without one more event
                still, seen = (still + 1, seen) if events.sent == seen else (0, events.sent)
                pause.wait(0.01)
            assert events.sent < 1500, "it was read on for a client that takes nothing"
            size, tail = 0, b""
            while part := client.recv(1 << 20):
                size, tail = size + len(part), (tail + part)[-100:]
        grown = peak(process.pid) - before
    assert size > 4000 * 60_000
    assert b"[DONE]" in tail
    assert grown < 128 << 20, grown
