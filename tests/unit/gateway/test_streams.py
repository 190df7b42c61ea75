"""Streams: their bytes as they came, their end as their client expects it, their cost in full."""

import json
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, NoReturn

import httpx2
import pytest

from earmark.errors import StoreUnavailable
from earmark.stores.memory import MemoryStore
from support.gateway_house import GatewayHouse, gateway_house
from support.last_resort import LAST_RESORT_S
from support.stub_server import chunks, completion, events
from support.upstream_stub import STREAM, Answer, event

ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "stream": True,
    "messages": [{"role": "user", "content": "Name one planet."}],
}
CLAUDE = {**ASK, "model": "claude-sonnet-4-5", "max_tokens": 100}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
CHAT = chunks(["Ma", "rs"], USAGE, model="gpt-4o-mini")
START, END = {"input_tokens": 12, "output_tokens": 1}, {"output_tokens": 6}
#: Holds that grow, at a provider that is known to stop.
ELASTIC: dict[str, Any] = {
    "admission": {"policy": "elastic"},
    "windows": {"openai": {"stops_on_close": True}},
}
MESSAGES = events(["Ma", "rs"], START, END, model="claude-sonnet-4-5")


def streamed(house: GatewayHouse, path: str, body: dict[str, Any]) -> bytes:
    """Return all bytes of a stream that ends well."""
    with house.client() as client, client.stream("POST", path, json=body) as reply:
        assert reply.status_code == 200, reply.read()
        assert reply.headers["content-type"] == "text/event-stream"
        return b"".join(reply.iter_bytes())


def states(house: GatewayHouse) -> list[str]:
    """Return the states of all reservations."""
    return [str(hold.state) for hold in house.ledger.holds("acme", state=None)]


def pieces(data: bytes, size: int) -> Sequence[bytes]:
    """Cut *data*, wherever that is."""
    return [data[at : at + size] for at in range(0, len(data), size)]


ODD = [
    *(b": keep-alive\n\n", b'event: ping\r\ndata: {"type": "ping"}\r\n\r\n'),
    *(b'event: unknown_event\ndata: {"type":"unknown_event","x":1.0e0}\n\n', b"retry: 5\n\n"),
]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("path", "body", "sent"),
    [
        ("/v1/messages?beta=true", CLAUDE, [*ODD, *MESSAGES]),
        (
            "/v1/chat/completions",
            {**ASK, "stream_options": {"include_usage": True}},
            [ODD[0], *CHAT, b": the end\n\n"],
        ),
    ],
)
def test_a_stream_passes_byte_for_byte(
    house: GatewayHouse, size: int, path: str, body: dict[str, Any], sent: list[bytes]
) -> None:
    """Pings, comments, unknown events, either line end; cut anywhere. It is settled, too."""
    whole = b"".join(sent)
    house.stub.answer(Answer(headers=STREAM, events=pieces(whole, size)))
    assert streamed(house, path, body) == whole
    assert states(house) == ["settled"]


def test_the_usage_is_hidden_from_who_did_not_ask_for_it(house: GatewayHouse) -> None:
    """The chunk is asked for and read, and everything else passes."""
    house.stub.answer(Answer(headers=STREAM, events=CHAT))
    passed = streamed(house, "/v1/chat/completions", ASK)
    assert passed == b"".join(each for each in CHAT if b'"usage"' not in each)
    assert house.stub.requests[0].json["stream_options"] == {"include_usage": True}
    (hold,) = house.ledger.holds("acme", state=None)
    assert str(hold.settled) == "0.0000054"


def test_a_stream_of_responses_and_of_gemini_is_settled(house: GatewayHouse) -> None:
    """By the usage of their last events."""
    response: dict[str, Any] = {
        "id": "resp_1",
        "model": "gpt-4o-mini",
        "status": "completed",
        "output": [],
    }
    usage = {"input_tokens": 12, "output_tokens": 6, "total_tokens": 18}
    done: dict[str, Any] = {"type": "response.completed", "response": {**response, "usage": usage}}
    text: dict[str, Any] = {
        "type": "response.output_text.delta",
        "output_index": 0,
        "delta": "Mars",
    }
    sent = [
        f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in (text, done)
    ]
    house.stub.answer(Answer(headers=STREAM, events=sent))
    ask = {"model": "gpt-4o-mini", "input": "x", "stream": True}
    assert streamed(house, "/v1/responses", ask) == b"".join(sent)
    gemini = {
        "candidates": [{"content": {"parts": [{"text": "Mars"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        "modelVersion": "gemini-2.5-flash",
    }
    sent = [b"data: " + json.dumps(gemini).encode() + b"\r\n\r\n"]
    house.stub.answer(Answer(headers=STREAM, events=sent))
    path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    ask = {"contents": [{"parts": [{"text": "hi"}]}]}
    assert streamed(house, path, ask) == b"".join(sent)
    assert house.stub.requests[-1].path == path
    assert states(house) == ["settled", "settled"]


RESPONSE: dict[str, Any] = {
    "type": "response.completed",
    "response": {
        "id": "resp_1",
        "model": "gpt-4o-mini",
        "status": "completed",
        "output": [],
        "usage": {"input_tokens": 12, "output_tokens": 6, "total_tokens": 18},
    },
}


@pytest.mark.parametrize(
    ("path", "body", "sent"),
    [
        ("/v1/messages", CLAUDE, MESSAGES),
        ("/v1/chat/completions", ASK, CHAT),
        (
            "/v1/responses",
            {"model": "gpt-4o-mini", "input": "x", "stream": True},
            [event(RESPONSE, "response.completed")],
        ),
    ],
)
def test_the_last_event_is_settled_and_passes_before_the_provider_closes(
    house: GatewayHouse, path: str, body: dict[str, Any], sent: list[bytes]
) -> None:
    """Who stops reading there, as SDKs do, finds the cost in the books; the stream ends, too."""
    gate = threading.Event()
    house.stub.answer(Answer(headers=STREAM, events=[*sent, b": x\n\n"], waits={len(sent): gate}))
    with house.client() as client, client.stream("POST", path, json=body) as reply:
        read = b""
        parts = reply.iter_raw()
        while sent[-1] not in read:
            read += next(parts)
        assert states(house) == ["settled"]
        assert read + b"".join(parts) == read
    gate.set()


@pytest.mark.parametrize("ends", ["cut", "reset"])
def test_a_stream_that_breaks_off_breaks_off_for_its_client(
    house: GatewayHouse, ends: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No end is made up for it: a client that is told of one would take half an answer for all.

    One line of the log says so, and none that the application did wrong.
    """
    house.stub.answer(Answer(headers=STREAM, events=MESSAGES[:3], ends=ends))
    with pytest.raises(httpx2.TransportError):
        streamed(house, "/v1/messages", CLAUDE)
    assert states(house) == ["presumed"]
    house.get("/api/hello")  # its connection is closed by now
    assert [record.name for record in caplog.records] == ["earmark.gateway"]


def test_a_stream_without_its_last_events_is_presumed(house: GatewayHouse) -> None:
    """Its connection ended well, and its reply did not."""
    house.stub.answer(Answer(headers=STREAM, events=MESSAGES[:3]))
    assert streamed(house, "/v1/messages", CLAUDE) == b"".join(MESSAGES[:3])
    assert states(house) == ["presumed"]


def leave(house: GatewayHouse, path: str, body: dict[str, Any]) -> None:
    """Read the first bytes of a stream, and close the connection."""
    with house.client() as client, client.stream("POST", path, json=body) as reply:
        assert next(reply.iter_raw())


def settled(house: GatewayHouse) -> Iterator[str]:
    """Yield the state of the one reservation until it is closed."""
    wakes = threading.Event()
    for _ in range(round(LAST_RESORT_S / 0.01)):
        (state,) = states(house)
        if state != "open":
            yield state
            return
        wakes.wait(0.01)


def test_a_client_that_leaves_has_its_stream_read_to_the_end(house: GatewayHouse) -> None:
    """Where closing it would not stop the bill, the exact cost is worth more."""
    gate = threading.Event()
    house.stub.answer(Answer(headers=STREAM, events=CHAT, waits={1: gate}))
    leave(house, "/v1/chat/completions", ASK)
    gate.set()
    assert next(settled(house)) == "settled"
    assert house.spent == Decimal("0.0000054")
    assert not house.stub.left.is_set()


def test_a_client_that_leaves_has_its_whole_reply_settled(house: GatewayHouse) -> None:
    """Its provider writes it to the end in any case."""
    gate = threading.Event()
    reply = completion(USAGE, model="gpt-4o-mini")
    house.stub.answer(Answer(body=reply, waits={-1: gate}))
    ask = {**ASK, "stream": False}
    with house.client() as client, pytest.raises(httpx2.ReadTimeout):
        client.post("/v1/chat/completions", json=ask, timeout=0.2)
    house.stub.wait_for_request()
    gate.set()
    assert next(settled(house)) == "settled"
    assert house.spent == Decimal("0.0000054")


class Unread(MemoryStore):
    """Books that are written, and whose accounts cannot be read."""

    def accounts(self, path: str, now: int) -> NoReturn:
        """Fail."""
        raise StoreUnavailable(store="memory:", detail=f"{path} at {now}")


def test_a_reply_passes_where_the_books_cannot_be_read_beside_it() -> None:
    """It is paid for; what its budget has left is not said."""
    with gateway_house(store=Unread()) as house, house.client() as client:
        house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
        whole = client.post("/v1/chat/completions", json={**ASK, "stream": False})
        house.stub.answer(Answer(headers=STREAM, events=CHAT))
        stream = client.post("/v1/chat/completions", json=ASK)
        assert states(house) == ["settled", "settled"]
    for reply in (whole, stream):
        assert reply.status_code == 200
        assert reply.headers["x-earmark-budget"] == "acme/agent"
        assert "x-earmark-available" not in reply.headers
    assert whole.headers["x-earmark-settled"] == "0.0000054"
    assert b"[DONE]" in stream.content


def test_a_client_that_leaves_the_line_leaves_no_hold() -> None:
    """Nothing is sent for it once there is room, and whoever is behind it comes first."""
    gate = threading.Event()
    with gateway_house("0.0007 usd total", wait="10min") as house:
        house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini"), waits={-1: gate}))
        ask = {**ASK, "stream": False}
        first = threading.Thread(target=house.post, args=("/v1/chat/completions", ask))
        first.start()
        house.stub.wait_for_request()
        with house.client() as client, pytest.raises(httpx2.ReadTimeout):
            client.post("/v1/chat/completions", json=ask, timeout=0.2)
        wakes = threading.Event()
        for _ in range(round(LAST_RESORT_S / 0.01)):
            if not house.ledger.turns.waiting:
                break
            wakes.wait(0.01)
        gate.set()
        first.join(LAST_RESORT_S)
        assert states(house) == ["settled"]
        assert house.post("/v1/chat/completions", ask).status_code == 200
        assert len(house.stub.requests) == 2


def test_a_hold_lives_as_long_as_its_stream(house: GatewayHouse) -> None:
    """Pings are enough; without a byte it is presumed at its deadline."""
    gates = [threading.Event() for _ in range(3)]
    waits = {number + 1: gate for number, gate in enumerate(gates)}
    sent = [MESSAGES[0], ODD[1], ODD[1], *MESSAGES[1:]]
    house.stub.answer(Answer(headers=STREAM, events=sent, waits=waits))
    with house.client() as client, client.stream("POST", "/v1/messages", json=CLAUDE) as reply:
        parts = reply.iter_raw()
        for event, gate in zip(sent, gates, strict=False):
            read = b""
            while read != event:  # what was read was counted, at the time it is now
                read += next(parts)
            house.clock.advance(timedelta(minutes=7))
            gate.set()
        rest = b"".join(parts)
    assert rest.endswith(MESSAGES[-1])
    (hold,) = house.ledger.holds("acme", state=None)
    assert hold.state == "settled"
    assert (hold.expires - hold.opened) > timedelta(minutes=20).total_seconds() * 10**9


def test_an_elastic_stream_that_cannot_grow_ends_cleanly() -> None:
    """As the provider itself would have cut it: its client gets the text and a finish."""
    long = chunks(["many words " * 40] * 40, None, model="gpt-4o-mini", finish=None)
    with gateway_house("0.0009 usd total", **ELASTIC) as house:
        house.stub.answer(Answer(headers=STREAM, events=long))
        passed = streamed(house, "/v1/chat/completions", {**ASK, "max_tokens": 16_000})
        assert passed.endswith(b"data: [DONE]\n\n")
        last = [json.loads(each[6:]) for each in passed.split(b"\n\n") if each[6:7] == b"{"]
        assert last[-1]["choices"][0]["finish_reason"] == "length"
        assert states(house) == ["presumed"]
        assert house.spent <= Decimal("0.0009")


def test_an_elastic_stream_is_closed_when_its_client_leaves() -> None:
    """Where that stops the bill: what is presumed is little more than what was produced."""
    gate = threading.Event()
    with gateway_house("1 usd total", **ELASTIC) as house:
        house.stub.answer(Answer(headers=STREAM, events=CHAT, waits={1: gate}))
        leave(house, "/v1/chat/completions", {**ASK, "max_tokens": 16_000})
        assert next(settled(house)) == "presumed"
        assert house.stub.left.wait(LAST_RESORT_S)
        assert house.spent < Decimal("0.001"), "16,000 tokens are 0.0096"


def test_a_hold_grows_only_where_its_stream_can_be_ended() -> None:
    """Elsewhere it is the most there can be, whatever the policy: generating goes on unseen."""
    with gateway_house("1 usd total", admission=ELASTIC["admission"]) as house:
        house.stub.answer(Answer(headers=STREAM, events=CHAT))
        streamed(house, "/v1/chat/completions", {**ASK, "max_tokens": 16_000})
        (hold,) = house.ledger.holds("acme", state=None)
        assert hold.amount.decimal > Decimal("0.0096")
