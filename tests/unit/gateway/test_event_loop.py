"""Nothing that takes long is done on the event loop: others are answered meanwhile."""

import asyncio
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from earmark.gateway import app, call
from earmark.gateway.large_bodies import AT_ONCE, THREADS, LargeBodies
from earmark.gateway.peer import ClientGone, Peer
from earmark.pricing import tokens
from earmark.serving.asgi import Message
from earmark.stores.memory import MemoryStore
from support.gateway_house import GatewayHouse, gateway_house
from support.last_resort import LAST_RESORT_S
from support.stub_server import completion
from support.upstream_stub import Answer

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}


class Slow:
    """Something that takes until it is told to go on."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.gate = threading.Event()

    def wait(self) -> None:
        """Begin, and go on when told."""
        self.begun.set()
        assert self.gate.wait(LAST_RESORT_S)


@contextmanager
def asked(
    house: GatewayHouse, path: str = "/v1/chat/completions", body: Any = ASK, **headers: str
) -> Generator[list[httpx2.Response]]:
    """Ask for a reply in a thread; after the block it is there."""
    house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
    replies: list[httpx2.Response] = []
    thread = threading.Thread(target=lambda: replies.append(house.post(path, body, **headers)))
    thread.start()
    yield replies
    thread.join(LAST_RESORT_S)


def test_others_are_answered_while_prices_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are loaded when it starts; a call waits for them, and whoever needs none does not."""
    slow = Slow()
    monkeypatch.setitem(vars(app), "preload", slow.wait)
    with gateway_house() as house:
        assert slow.begun.wait(LAST_RESORT_S), "nobody asked yet"
        with asked(house) as replies:
            assert house.get("/api/hello").status_code == 200
            assert not house.stub.requests
            slow.gate.set()
        assert [each.status_code for each in replies] == [200]


class Distant(MemoryStore):
    """Books elsewhere, whose accounts take long to read."""

    def __init__(self, slow: Slow) -> None:
        super().__init__()
        self._slow = slow

    @property
    def is_local(self) -> bool:
        """No."""
        return False

    def accounts(self, path: str, now: int) -> Any:
        """Return the accounts when told."""
        self._slow.wait()
        return super().accounts(path, now)


def test_others_are_answered_while_a_distant_store_is_read() -> None:
    """What a budget has left is read in a thread, where the store is not this host's own."""
    slow = Slow()
    with gateway_house(store=Distant(slow)) as house, asked(house) as replies:
        assert slow.begun.wait(LAST_RESORT_S)
        assert house.get("/api/hello").status_code == 200
        slow.gate.set()
    assert replies[0].headers["x-earmark-available"] == "99.9999946"


LARGE: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "max_tokens": 5,
    "messages": [{"role": "user", "content": "word " * AT_ONCE}],
}


@pytest.mark.parametrize(
    ("limit", "headers", "status"),
    [
        ("100 usd total", {}, 200),
        ("0.000001 usd total", {}, 402),
        ("100 usd total", {"x_earmark_dry_run": "true"}, 200),
    ],
)
def test_others_are_answered_while_the_tokens_of_a_large_body_are_counted(
    monkeypatch: pytest.MonkeyPatch, limit: str, headers: dict[str, str], status: int
) -> None:
    """Also where the call is refused, which costs its client nothing, and where it is a quote."""
    slow = Slow()
    counted = tokens.count_or_bound

    def count(texts: Sequence[str], encoding: str | None) -> int:
        if sum(map(len, texts)) > AT_ONCE:
            slow.wait()
        return counted(texts, encoding)

    for each in [m for name, m in sys.modules.items() if name.startswith("earmark.")]:
        if vars(each).get("count_or_bound") is counted:
            monkeypatch.setitem(vars(each), "count_or_bound", count)
    with gateway_house(limit) as house, asked(house, body=LARGE, **headers) as replies:
        assert slow.begun.wait(LAST_RESORT_S)
        assert house.get("/api/hello").status_code == 200
        other = house.token_for("acme/other")
        assert house.get("/v1/earmark/balance", other).status_code == 200
        slow.gate.set()
    assert [each.status_code for each in replies] == [status]


@pytest.mark.parametrize("name", ["decoded", "spliced", "check_free"])
def test_others_are_answered_while_a_large_body_is_read_or_written(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Reading, changing and checking it are each in a thread."""
    slow, work = Slow(), getattr(call, name)

    def slowly(*arguments: Any) -> Any:
        slow.wait()
        return work(*arguments)

    monkeypatch.setitem(vars(call), name, slowly)
    path, body = "/v1/chat/completions", LARGE
    if name == "check_free":
        path, body = "/v1/messages/count_tokens", {**LARGE, "model": "claude-haiku-4-5"}
        del body["max_tokens"]
    with gateway_house() as house, asked(house, path, body) as replies:
        assert slow.begun.wait(LAST_RESORT_S)
        assert house.get("/api/hello").status_code == 200
        slow.gate.set()
    assert [each.status_code for each in replies] == [200]


async def _no_more() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_client_that_leaves_gives_its_place_back_once_its_thread_ends() -> None:
    """No more threads work at once than there are places; what was not begun is left out."""
    asyncio.run(_leave_while_bodies_are_counted())


async def _leave_while_bodies_are_counted() -> None:
    large, body = LargeBodies(), b" " * (AT_ONCE + 1)
    slow, begun = [Slow() for _ in range(THREADS + 2)], list[int]()
    in_line, last = THREADS, THREADS + 1

    def work(number: int) -> Callable[[], int]:
        def run() -> int:
            begun.append(number)
            slow[number].wait()
            return number

        return run

    peers = [Peer(_no_more) for _ in slow]
    tasks = [
        asyncio.create_task(large.run(body, peer, work(number)))
        for number, peer in enumerate(peers)
    ]
    try:
        for each in slow[:THREADS]:
            assert await asyncio.to_thread(each.begun.wait, LAST_RESORT_S)
        for left in (in_line, 0):
            peers[left].gone = True
            on_gone = peers[left].on_gone
            assert on_gone is not None
            on_gone()
            with pytest.raises(ClientGone):
                await tasks[left]
        await asyncio.to_thread(int)  # whatever was let in meanwhile has begun
        assert sorted(begun) == list(range(THREADS)), "the thread of who left works on"
        assert await large.run(b"small", peers[1], lambda: "at once") == "at once"
    finally:
        for each in slow:
            each.gate.set()
    assert await tasks[last] == last
    assert await tasks[1] == 1
    with pytest.raises(ClientGone):
        await large.run(body, peers[0], work(0))
    assert sorted(begun) == [*range(THREADS), last], "who left is not worked for"
