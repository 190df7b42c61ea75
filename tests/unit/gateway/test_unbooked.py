"""A call that was sent and cannot be booked: its client is told so, and not to repeat it."""

from collections.abc import Sequence

import httpx2
import pytest

from earmark.errors import StoreUnavailable
from earmark.ledger.values import Decision, Operation, Presume, Reserve, Settle
from earmark.stores.memory import MemoryStore
from support.gateway_house import gateway_house
from support.stub_server import chunks, completion
from support.upstream_stub import STREAM, Answer

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Name one planet."}]}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}


class Full(MemoryStore):
    """Books that have room for so many holds, and for the end of none."""

    room = 0

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Fail at what has no room."""
        for each in batch:
            if isinstance(each, Settle | Presume) or (isinstance(each, Reserve) and not self.room):
                raise StoreUnavailable(store="memory:", detail="the disk is full")
            self.room -= isinstance(each, Reserve)
        return super().apply(batch, now)


def test_a_call_that_was_sent_and_not_booked_is_not_to_be_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It names its hold, which counts on; a stream breaks off; what was not sent may come again."""
    store = Full()
    with gateway_house(store=store) as house, monkeypatch.context() as patch:
        patch.setattr("earmark.admission.call_hold.BOOKING_PAUSES_S", (0.0,))
        store.room = 2
        house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
        reply = house.post("/v1/chat/completions", ASK)
        events = chunks(["Mars"], USAGE, model="gpt-4o-mini")
        house.stub.answer(Answer(headers=STREAM, events=events))
        with pytest.raises(httpx2.RemoteProtocolError):
            house.post("/v1/chat/completions", {**ASK, "stream": True})
        unsent = house.post("/v1/chat/completions", ASK)
        assert len(house.stub.requests) == 2
        holds = house.ledger.holds("acme")
    assert (reply.status_code, reply.headers["x-should-retry"]) == (502, "false")
    assert "retry-after" not in reply.headers
    key, message = reply.headers["x-earmark-key"], reply.json()["error"]["message"]
    assert "was sent" in message
    assert f"reservation '{key}' stays held" in message
    assert key in {hold.key for hold in holds}
    assert len(holds) == 2
    assert (unsent.status_code, unsent.headers["x-should-retry"]) == (503, "true")


def test_what_fails_after_a_call_was_sent_does_not_say_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it is: the call is presumed at its hold, and named."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    with gateway_house() as house, monkeypatch.context() as patch:
        patch.setattr("earmark.gateway.call.pass_reply", fail)
        house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
        reply = house.post("/v1/chat/completions", ASK)
        (hold,) = house.ledger.holds("acme", state=None)
    assert (reply.status_code, reply.headers["x-should-retry"]) == (502, "false")
    message = reply.json()["error"]["message"]
    assert "the request was sent, and then failed" in message
    assert f"reservation '{hold.key}' is booked at {hold.amount} USD" in message
