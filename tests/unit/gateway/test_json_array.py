"""Gemini's stream as one JSON array: passed as it comes, counted, and settled before its end."""

import json
import random
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from earmark.apis.event_stream import LARGEST_EVENT
from earmark.errors import InvalidUsage
from earmark.gateway.json_array import ArraySplitter
from support.gateway_house import GatewayHouse, gateway_house
from support.upstream_stub import Answer

PATH = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
ASK = {"contents": [{"parts": [{"text": "hi"}]}]}
JSON = (("content-type", "application/json; charset=UTF-8"),)


def element(text: str, finish: str | None = None, count: int = 1) -> dict[str, Any]:
    """Return one response of a stream."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}}
    usage = {
        "promptTokenCount": 1,
        "candidatesTokenCount": count,
        "totalTokenCount": 1 + count,
    }
    ends = {} if finish is None else {"finishReason": finish}
    return {
        "candidates": [{**candidate, **ends}],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-flash",
    }


ELEMENTS = [element('Ma}"],\\'), element("é]\u2028[{"), element("rs", "STOP", 9)]
PIECES = [
    b"[" + json.dumps(ELEMENTS[0], indent=2).encode(),
    b"\r\n,\r\n" + json.dumps(ELEMENTS[1], ensure_ascii=False).encode(),
    b",\n" + json.dumps(ELEMENTS[2]).encode(),
    b"\n]\n",
]
WHOLE = b"".join(PIECES)


@pytest.mark.parametrize("seed", range(40))
def test_an_array_is_divided_wherever_it_is_cut(seed: int) -> None:
    """Its elements are those that a reader of the whole sees, and its bytes stay as they are."""
    cuts = random.Random(seed)
    splitter, found, at = ArraySplitter(), list[Any](), 0
    while at < len(WHOLE):
        size = cuts.choice((1, 2, 3, 50))
        found += splitter.feed(WHOLE[at : at + size])
        at += size
    found += splitter.end()
    assert b"".join(each.raw for each in found) == WHOLE
    assert [each.data for each in found if each.data is not None] == ELEMENTS
    assert next(each.ends_stream for each in found if each.data is None)


def test_an_element_without_an_end_is_not_kept_for_ever() -> None:
    """Nor read any further."""
    splitter = ArraySplitter()
    assert list(splitter.feed(b'[{"text": "')) == []
    with pytest.raises(InvalidUsage, match="larger than"):
        list(splitter.feed(b"x" * LARGEST_EVENT))


def passed(house: GatewayHouse, path: str = PATH, **more: Any) -> bytes:
    """Return all bytes of a stream that ends well."""
    with house.client() as client, client.stream("POST", path, json={**ASK, **more}) as reply:
        assert reply.status_code == 200, reply.read()
        return b"".join(reply.iter_bytes())


def test_what_is_no_array_passes_as_it_is(house: GatewayHouse) -> None:
    """Nobody knows what it cost: its whole hold is spent."""
    house.stub.answer(Answer(headers=JSON, events=[b' {"a":', b" [1.0]}"]))
    assert passed(house) == b' {"a": [1.0]}'
    (hold,) = house.ledger.holds("acme", state=None)
    assert (str(hold.state), hold.settled) == ("presumed", hold.amount)


@pytest.mark.parametrize("query", ["", "?alt=json"])
def test_an_array_passes_and_is_settled(house: GatewayHouse, query: str) -> None:
    """Byte for byte, by the usage of its last element; one with another form is refused."""
    house.stub.answer(Answer(headers=JSON, events=PIECES))
    assert passed(house, PATH + query) == WHOLE
    (hold,) = house.ledger.holds("acme", state=None)
    assert str(hold.state) == "settled"
    assert Decimal(str(hold.settled)) == (Decimal("0.30") + 9 * Decimal("2.50")) / 1_000_000
    assert house.stub.requests[0].path == PATH + query
    for other in ("?alt=proto", "?alt=", "?alt=sse&alt=media"):
        assert house.post(PATH + other, ASK).status_code == 400
    assert len(house.stub.requests) == 1


@pytest.mark.parametrize("pieces", [PIECES[:1], PIECES[:3], [b'{"a": 1}'], [b"["]])
def test_an_array_that_breaks_off_is_presumed(pieces: list[bytes]) -> None:
    """Nobody knows what it cost: its whole hold is spent, and its client sees no end."""
    with gateway_house() as house:
        house.stub.answer(Answer(headers=JSON, events=pieces, ends="cut"))
        with house.client() as client, pytest.raises(httpx2.HTTPError):
            client.post(PATH, json=ASK)
        (hold,) = house.ledger.holds("acme", state=None)
        assert (str(hold.state), hold.settled) == ("presumed", hold.amount)
        assert house.ledger.audit().ok


def test_an_array_whose_hold_cannot_grow_ends_as_one() -> None:
    """Its client reads a whole array, whose last element says that it was cut."""
    windows = {"google": {"stops_on_close": True}}
    admission = {"policy": "elastic"}
    opened = gateway_house("0.005 usd total", windows=windows, admission=admission)
    with opened as house:
        long = [b"[" + json.dumps(element("word " * 20)).encode()]
        long += [b"," + json.dumps(element("word " * 20)).encode() for _ in range(400)]
        house.stub.answer(Answer(headers=JSON, events=long))
        asked: dict[str, Any] = {
            "generationConfig": {
                "thinkingConfig": {"thinkingBudget": 0},
                "maxOutputTokens": 16_000,
            }
        }
        read = json.loads(passed(house, **asked))
        assert 1 < len(read) < 400
        assert read[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
        assert house.spent <= Decimal("0.005")
