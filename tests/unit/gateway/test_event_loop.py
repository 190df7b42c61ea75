"""Nothing that takes long is done on the event loop: others are answered meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from earmark.gateway import app
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
def asked(house: GatewayHouse) -> Iterator[list[httpx2.Response]]:
    """Ask for a reply in a thread; after the block it is there."""
    house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
    replies: list[httpx2.Response] = []
    thread = threading.Thread(
        target=lambda: replies.append(house.post("/v1/chat/completions", ASK))
    )
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

    is_local = False

    def __init__(self, slow: Slow) -> None:
        super().__init__()
        self._slow = slow

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
