"""Moderations, images and audio: free by name, held by what is asked for, or refused by it."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import earmark
from earmark.apis.dialects import counts_choices
from earmark.apis.openai_moderations import REQUEST as MODERATIONS
from support.gateway_house import GatewayHouse, gateway_house
from support.upstream_stub import Answer


@pytest.fixture
def openai_house(house: GatewayHouse, monkeypatch: pytest.MonkeyPatch) -> GatewayHouse:
    """A gateway whose provider is taken for OpenAI's own host."""
    for hosts in (MODERATIONS.hosts,):
        monkeypatch.setitem(hosts, "127.0.0.1", hosts["api.openai.com"])  # pyright: ignore[reportArgumentType] - a dict
    return house


@pytest.fixture(scope="module")
def shared() -> Iterator[GatewayHouse]:
    """One gateway for all that is refused."""
    with gateway_house() as opened:
        yield opened


@pytest.fixture
def fresh(shared: GatewayHouse) -> GatewayHouse:
    """The same, whose provider was not asked yet."""
    shared.stub.requests.clear()
    return shared


@pytest.mark.parametrize("model", ["openai/omni-moderation-latest", "text-moderation-007", None])
def test_a_moderation_is_free_at_openai(openai_house: GatewayHouse, model: str | None) -> None:
    """Of its own models, an image in it too, by a token of any tier; nothing is held for it."""
    openai_house.stub.answer(Answer(body=b'{"results": []}'))
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    ask = {"input": [{"type": "text", "text": "hello"}, image]}
    ask |= {} if model is None else {"model": model}
    with openai_house.client(openai_house.token_for("acme/agent", tier="priority")) as client:
        reply = client.post("/v1/moderations", json=ask)
    assert (reply.status_code, reply.content) == (200, b'{"results": []}')
    (sent,) = openai_house.stub.requests
    assert (sent.path, sent.json.get("model")) == (
        "/v1/moderations",
        model and model.removeprefix("openai/"),
    )
    assert openai_house.ledger.holds("acme", state=None) == []


def test_a_free_moderation_is_of_what_its_token_may_call(openai_house: GatewayHouse) -> None:
    """A model that a body does not name is one too; what no table lists is refused."""
    with openai_house.client(openai_house.token_for("acme", models=("gpt-*",))) as client:
        assert client.post("/v1/moderations", json={"input": "x"}).status_code == 403
    stored = {"input": [{"type": "file", "file_id": "file-1"}]}
    assert openai_house.post("/v1/moderations", {**stored, "odd": 1}).status_code == 400
    assert openai_house.stub.requests == []


def test_a_moderation_elsewhere_needs_a_price(house: GatewayHouse) -> None:
    """A model of that name is free at OpenAI alone; a price bounds its text, its hold counts."""
    for ask in ({"model": "omni-moderation-latest", "input": "x"}, {"input": "x"}):
        assert house.post("/v1/moderations", ask).status_code == 400
    assert house.stub.requests == []
    prices = {"openai/guard": {"input_mtok": "1"}}
    with gateway_house(prices=prices) as priced:
        priced.stub.answer(Answer(body=b'{"results": []}'))
        ask = {"model": "guard", "input": "hello"}
        reply = priced.post("/v1/moderations", ask)
        assert reply.status_code == 200, reply.text
        assert priced.stub.requests[0].body == json.dumps(ask).encode()
        (hold,) = priced.ledger.holds("acme", state=None)
        assert (hold.state, priced.spent > 0) == ("presumed", True)


IMAGE: dict[str, Any] = {"model": "gpt-image-2", "prompt": "An otter.", "size": "1024x1024"}


def images(output: int) -> Answer:
    """Return an answer with images that cost so many tokens."""
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"image_tokens": output, "text_tokens": 0},
        "total_tokens": output + 10,
    }
    return Answer(body=json.dumps({"data": [{"b64_json": "AA=="}], "usage": usage}).encode())


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        # As OpenAI's page of prices has them: 0.006, 0.053, 0.211, 0.005, 0.041, 0.165 USD.
        ({"quality": "low"}, 196),
        ({"quality": "medium"}, 1756),
        ({"quality": "high"}, 7024),
        ({"quality": "low", "size": "1024x1536"}, 158),
        ({"quality": "medium", "size": "1536x1024"}, 1372),
        ({"quality": "high", "size": "1536x1024"}, 5488),
        ({"quality": "auto", "n": 3}, 3 * 7024),
        ({"quality": "low", "size": "auto"}, 659),
        ({"size": None}, 23719),
        ({"model": "gpt-image-1", "quality": "medium", "size": "1536x1024"}, 1568),
        ({"model": "gpt-image-1-mini", "quality": None, "size": None, "n": 2}, 2 * 6563),
    ],
)
def test_an_image_is_held_by_its_size_and_quality(more: dict[str, Any], tokens: int) -> None:
    """What is left to the model is the dearest that it may choose."""
    found = earmark.bound({**IMAGE, **more}, api="openai-images", provider="openai")
    assert found.max_output_tokens * found.choices == tokens
    assert len(IMAGE["prompt"]) <= found.input_tokens < 400


def test_an_image_is_settled_by_its_usage(house: GatewayHouse) -> None:
    """Of a model whose one rate of output is that of images; OpenAI counts all of several."""
    house.stub.answer(images(1700))
    ask = {**IMAGE, "quality": "medium", "stream": False, "partial_images": 0}
    reply = house.post("/v1/images/generations", ask)
    assert reply.status_code == 200, reply.text
    (sent,) = house.stub.requests
    assert (sent.path, sent.body) == ("/v1/images/generations", json.dumps(ask).encode())
    assert reply.headers["x-earmark-settled"] == "0.05105"  # 10 x 5 + 1,700 x 30 USD a million
    (hold,) = house.ledger.holds("acme", state=None)
    assert hold.state == "settled"
    assert Decimal("0.05268") < Decimal(str(hold.amount)) < Decimal("0.055")
    assert counts_choices("openai-images", "api.openai.com")
    assert not counts_choices("openai-images", "127.0.0.1")


@pytest.mark.parametrize(
    ("path", "ask", "words"),
    [
        ("images/generations", {"model": "gpt-image-1.5"}, "gpt-image-2"),
        ("images/generations", {"model": "gpt-image-2.5-flare"}, "gpt-image-2"),
        ("images/generations", {"size": "4096x4096"}, "'size'.*3840"),
        ("images/generations", {"size": "1000x1000"}, "'size'.*multiples of 16"),
        ("images/generations", {"size": "3840x1024"}, "'size'.*3:1"),
        ("images/generations", {"size": "640x640"}, "'size'.*655360"),
        ("images/generations", {"model": "gpt-image-1", "size": "2048x2048"}, "'size'.*1024x1024"),
        ("images/generations", {"quality": "max"}, "'quality'.*high"),
        ("images/generations", {"stream": True}, "'stream'"),
        ("images/generations", {"partial_images": 2}, "'partial_images'"),
        ("images/generations", {"output_format": "gif"}, "'output_format'"),
        ("images/generations", {"complexity": "high"}, "'complexity'"),
        ("images/generations", {"knob": 1}, "'knob'"),
        ("audio/speech", {"model": "gpt-4o-mini-tts"}, "output_tokens"),
        ("audio/speech", {"model": "tts-1", "stream_format": "sse"}, "'stream_format'"),
    ],
)
def test_what_nothing_bounds_is_refused_with_what_to_give(
    fresh: GatewayHouse, path: str, ask: dict[str, Any], words: str
) -> None:
    """By its place; and a token that may bound it itself passes it on its word."""
    known = IMAGE if path.startswith("images") else {"input": "Hi.", "voice": "alloy"}
    reply = fresh.post(f"/v1/{path}", {**known, **ask})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unpriced")
    message = reply.json()["error"]["message"]
    assert re.search(words, message), message
    assert "x-earmark-at-most" in message
    assert fresh.stub.requests == []
    fresh.stub.answer(Answer(body=b"{}"))
    headers = {"x-earmark-at-most": "0.5"}
    with fresh.client(fresh.token_for("acme/own", may_bound=True)) as client:
        assert client.post(f"/v1/{path}", json={**known, **ask}, headers=headers).status_code == 200
    assert len(fresh.stub.requests) == 1


def test_an_image_that_does_not_fit_is_refused_and_not_made_smaller() -> None:
    """No limit lowers its output."""
    with gateway_house("0.2 usd total") as house:
        reply = house.post("/v1/images/generations", {**IMAGE, "quality": "high"})
        assert reply.status_code == 402
        house.stub.answer(images(1756))
        reply = house.post("/v1/images/generations", {**IMAGE, "quality": "medium"})
        assert reply.status_code == 200
        assert len(house.stub.requests) == 1


def test_speech_is_billed_by_its_characters_and_passes_as_it_came(house: GatewayHouse) -> None:
    """Of which one beyond U+FFFF is two; the reply has no usage, so that its hold is settled."""
    sound = bytes(range(256)) * 40
    house.stub.answer(Answer(body=sound, headers=[("content-type", "audio/mpeg")]))
    ask = {"model": "tts-1-hd", "input": "Grüße, \U0001f9a6", "voice": "alloy"}
    reply = house.post("/v1/audio/speech", ask)
    assert (reply.status_code, reply.content) == (200, sound)
    assert reply.headers["content-type"] == "audio/mpeg"
    assert house.stub.requests[0].body == json.dumps(ask).encode()
    (hold,) = house.ledger.holds("acme", state=None)
    assert (hold.state, str(hold.settled), str(hold.amount)) == ("settled", "0.00027", "0.00027")
