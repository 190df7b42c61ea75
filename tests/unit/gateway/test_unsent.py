"""A request that is known not to have been sent costs nothing."""

from typing import Any, Final

import pytest

from support.gateway_house import gateway_house
from support.stub_server import completion
from support.upstream_stub import Answer

ASK: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Name one planet."}],
}
USAGE: Final = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
REPLY: Final = Answer(body=completion(USAGE, model="gpt-4o-mini"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(
            "/v1/chat/completions",
            rb'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"cut \ud83d"}]}',
            id="message",
        ),
        pytest.param(
            "/v1/chat/completions",
            rb'{"model":"gpt-4o-mini","user":"\uD800","messages":[{"role":"user","content":"x"}]}',
            id="user",
        ),
        pytest.param("/v1/responses", rb'{"model":"gpt-4o\udc00","input":"x"}', id="model"),
        pytest.param(
            "/v1/messages",
            rb'{"model":"claude-sonnet-4-5","max_tokens":5,'
            rb'"messages":[{"role":"user","content":"x"}],"metadata":{"\udfff":1}}',
            id="name",
        ),
    ],
)
def test_half_a_surrogate_pair_is_refused_before_anything_is_held(path: str, body: bytes) -> None:
    """It is no character, so no UTF-8 can be made of it; a whole pair is one, and passes."""
    with gateway_house() as house:
        reply = house.post(path, body)
        assert reply.status_code == 400
        assert "surrogate" in reply.json()["error"]["message"]
        assert house.ledger.holds("acme", state=None) == []
        assert house.stub.requests == []


def test_a_whole_surrogate_pair_passes() -> None:
    """As its client wrote it."""
    body = rb'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"\ud83d\ude00"}]}'
    with gateway_house() as house:
        house.stub.answer(REPLY)
        assert house.post("/v1/chat/completions", body).status_code == 200
        (sent,) = house.stub.requests
        assert rb"\ud83d\ude00" in sent.body


@pytest.mark.parametrize(
    "step",
    [
        "earmark.gateway.call.spliced",
        "earmark.gateway.call.to_provider",
        "earmark.gateway.sender.UpstreamSender._proxy",
        "aiohttp.ClientRequest.update_headers",
    ],
)
@pytest.mark.parametrize("error", [RuntimeError, OSError])
def test_what_fails_before_a_byte_is_sent_is_released(
    monkeypatch: pytest.MonkeyPatch, step: str, error: type[Exception]
) -> None:
    """Whatever it is that fails: the provider was sent nothing, so it bills nothing."""

    def fail(*_: object, **__: object) -> None:
        raise error

    with gateway_house() as house:
        with monkeypatch.context() as patch:
            patch.setattr(step, fail)
            assert house.post("/v1/chat/completions", ASK).status_code in {500, 502}
        (hold,) = house.ledger.holds("acme", state=None)
        assert hold.state == "released"
        assert house.spent == 0
        assert house.stub.requests == []
