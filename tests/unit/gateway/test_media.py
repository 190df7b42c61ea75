"""Moderations, images and audio: free by name, held by what is asked for, or refused by it."""

import json

import pytest

from earmark.apis.openai_moderations import REQUEST as MODERATIONS
from support.gateway_house import GatewayHouse, gateway_house
from support.upstream_stub import Answer


@pytest.fixture
def openai_house(house: GatewayHouse, monkeypatch: pytest.MonkeyPatch) -> GatewayHouse:
    """A gateway whose provider is taken for OpenAI's own host."""
    for hosts in (MODERATIONS.hosts,):
        monkeypatch.setitem(hosts, "127.0.0.1", hosts["api.openai.com"])  # pyright: ignore[reportArgumentType] - a dict
    return house


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
