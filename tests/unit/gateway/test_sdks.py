"""The official SDKs through the gateway: they read answers, ends and refusals as such."""

import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from support.gateway_house import GatewayHouse, gateway_house
from support.lazily import Lazily
from support.stub_server import chunks, completion, events, message
from support.upstream_stub import STREAM, Answer

anthropic = Lazily("anthropic")
openai = Lazily("openai")

WORDS: Any = [{"role": "user", "content": "Name one planet."}]
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
MARS = ["Ma", "rs"]
CLAUDE = "claude-opus-4-6"


@contextmanager
def openai_client(house: GatewayHouse) -> Generator[Any]:
    """Give OpenAI's client, with its own retries."""
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.token) as client:
        yield client


@contextmanager
def anthropic_client(house: GatewayHouse) -> Generator[Any]:
    """Give Anthropic's client, with its own retries."""
    with anthropic.Anthropic(base_url=house.url, api_key=house.token) as client:
        yield client


def attempts(caplog: pytest.LogCaptureFixture) -> int:
    """Return how many requests the SDKs sent, by what they log of each."""
    return sum("HTTP Request: POST" in record.getMessage() for record in caplog.records)


def test_openai_s_client_is_answered(house: GatewayHouse) -> None:
    """Whole and streamed, with the usage where it asks for it."""
    whole = Answer(body=completion(USAGE, model="gpt-4o-mini", texts=["Mars"]))
    streamed = Answer(headers=STREAM, events=chunks(MARS, USAGE, model="gpt-4o-mini"))
    house.stub.answer(whole, streamed)
    usage: Any = {"include_usage": True}
    with openai_client(house) as client:
        create = client.chat.completions.create
        reply = create(model="gpt-4o-mini", messages=WORDS)
        assert reply.choices[0].message.content == "Mars"
        parts = list(create(model="gpt-4o-mini", messages=WORDS, stream=True))
        assert "".join(part.choices[0].delta.content or "" for part in parts) == "Mars"
        parts = list(create(model="gpt-4o-mini", messages=WORDS, stream=True, stream_options=usage))
        assert parts[-1].usage is not None
    assert {hold.state for hold in house.ledger.holds("acme", state=None)} == {"settled"}


def test_anthropic_s_client_is_answered(house: GatewayHouse) -> None:
    """Whole and streamed, by its own events."""
    start, end = {"input_tokens": 12, "output_tokens": 1}, {"output_tokens": 6}
    house.stub.answer(
        Answer(body=message({"input_tokens": 12, "output_tokens": 6}, model=CLAUDE, text="Mars")),
        Answer(headers=STREAM, events=events(MARS, start, end, model=CLAUDE)),
    )
    with anthropic_client(house) as client:
        whole: Any = client.messages.create(model=CLAUDE, messages=WORDS, max_tokens=100)
        assert whole.content[0].text == "Mars"
        with client.messages.stream(model=CLAUDE, messages=WORDS, max_tokens=100) as stream:
            assert stream.get_final_text() == "Mars"
    assert {hold.state for hold in house.ledger.holds("acme", state=None)} == {"settled"}


def test_a_refusal_ends_an_sdk_s_attempts(caplog: pytest.LogCaptureFixture) -> None:
    """At the first one, and its words reach the program."""
    caplog.set_level(logging.INFO)
    with gateway_house("0.00001 usd total") as house:
        with openai_client(house) as client:
            with pytest.raises(openai.APIStatusError) as chat:
                client.chat.completions.create(model="gpt-4o-mini", messages=WORDS)
            with pytest.raises(openai.APIStatusError) as responses:
                client.responses.create(model="gpt-4o-mini", input="x")
        with (
            anthropic_client(house) as claude,
            pytest.raises(anthropic.APIStatusError) as messages,
        ):
            claude.messages.create(model=CLAUDE, messages=WORDS, max_tokens=100)
        for refused in (chat, responses, messages):
            assert refused.value.status_code == 402
            assert "0.00001" in str(refused.value)
        assert attempts(caplog) == 3
        assert house.stub.requests == []


def test_a_clamped_stream_ends_as_the_provider_ends_it() -> None:
    """The SDK sees a finish of `length`, made by the provider itself at the lower limit."""
    with gateway_house("0.0004 usd total") as house, openai_client(house) as client:
        cut = chunks(MARS, USAGE, model="gpt-4o-mini", finish="length")
        house.stub.answer(Answer(headers=STREAM, events=cut))
        parts = list(
            client.chat.completions.create(
                model="gpt-4o-mini", messages=WORDS, stream=True, max_tokens=5000
            )
        )
        assert parts[-1].choices[0].finish_reason == "length"
        assert house.stub.requests[0].json["max_tokens"] < 1024


def test_an_error_of_the_provider_is_retried_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt is a hold of its own."""
    caplog.set_level(logging.INFO)
    with gateway_house() as house, openai_client(house) as client:
        body = json.dumps({"error": {"type": "rate_limit_error", "message": "slow"}}).encode()
        again = [("content-type", "application/json"), ("retry-after-ms", "1")]
        house.stub.answer(
            Answer(status=429, body=body, headers=again),
            Answer(body=completion(USAGE, model="gpt-4o-mini")),
        )
        client.chat.completions.create(model="gpt-4o-mini", messages=WORDS)
        assert attempts(caplog) == 2
        states = [hold.state for hold in house.ledger.holds("acme", state=None)]
        assert states == ["released", "settled"]
