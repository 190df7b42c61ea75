"""Moderations, images and audio: free by name, held by what is asked for, or refused by it."""

import json
import re
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import earmark
from earmark.apis.dialects import counts_choices
from earmark.apis.openai_moderations import REQUEST as MODERATIONS
from earmark.apis.openai_transcriptions import wav_seconds
from support.gateway_house import GatewayHouse, gateway_house
from support.upstream_stub import Answer


@pytest.fixture
def openai_house(house: GatewayHouse, monkeypatch: pytest.MonkeyPatch) -> GatewayHouse:
    """A gateway whose provider is taken for OpenAI's own host."""
    hosts: Any = MODERATIONS.hosts
    monkeypatch.setitem(hosts, "127.0.0.1", hosts["api.openai.com"])
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


def test_an_image_that_no_usage_counts_is_presumed(house: GatewayHouse) -> None:
    """An image is there, and its output is said to be nothing."""
    house.stub.answer(images(0))
    reply = house.post("/v1/images/generations", IMAGE)
    (hold,) = house.ledger.holds("acme", state=None)
    assert (reply.status_code, hold.state, hold.settled) == (200, "presumed", hold.amount)


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


def wav(sound: int, *, rate: int = 8000, stated: int | None = None, **header: int) -> bytes:
    """Return a WAV file of one channel and 16 bits, of so many bytes of sound."""
    a_second = header.get("a_second", 2 * rate)
    form = struct.pack("<HHIIHH", header.get("kind", 1), 1, rate, a_second, 2, 16)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", sound if stated is None else stated) + bytes(sound)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def form(*parts: tuple[str, bytes], end: bytes = b"--edge--\r\n") -> bytes:
    """Return a form of these parts, each with what follows `form-data; ` in its head."""
    made = b"".join(
        b"--edge\r\nContent-Disposition: form-data; "
        + head.encode()
        + b"\r\n\r\n"
        + value
        + b"\r\n"
        for head, value in parts
    )
    return made + end


FORM = {"content_type": "multipart/form-data; boundary=edge"}
WHISPER = ('name="model"', b"whisper-1")
SOUND = ('name="file"; filename="a.wav"', wav(160_000 - 44))
HEARD = "/v1/audio/transcriptions"


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (wav(160_000 - 44), 10),
        (wav(160_001 - 44), 11),
        (wav(160_000 - 44, stated=16_000), 10),  # a header that says less
        (wav(16_000, stated=160_000), 10),  # and one that says more
        (wav(160_000 - 44, stated=0xFFFF_FFFF), 10),  # written as a stream
        (wav(160_000 - 44, a_second=8000), 20),
        (wav(160_000 - 44, a_second=10**9), 10),
        (wav(160_000 - 44, kind=85), None),  # MP3 in a WAV file
        (wav(160_000, rate=0), None),
        (b"ID3" + bytes(999), None),
        (b"RIFF\0\0\0\0WAVEdata", None),
    ],
)
def test_a_wav_file_lasts_as_long_as_its_bytes(data: bytes, seconds: int | None) -> None:
    """Its header makes it longer, never shorter; what has no fixed rate has no known length."""
    assert wav_seconds(data) == seconds


def test_a_transcription_is_held_by_its_length_and_passes_byte_for_byte(
    house: GatewayHouse,
) -> None:
    """And is settled by its usage; a text, which has none, by its hold."""
    usage = b'{"text": "hi", "usage": {"type": "duration", "seconds": 9}}'
    house.stub.answer(
        Answer(body=usage), Answer(body=b"hi", headers=[("content-type", "text/plain")])
    )
    sent = form(WHISPER, SOUND, ('name="timestamp_granularities[]"', b"word"))
    first, second = (house.post(HEARD, sent, **FORM) for _ in range(2))
    assert (first.status_code, first.content, second.content) == (200, usage, b"hi"), first.text
    assert [each.body for each in house.stub.requests] == [sent, sent]
    assert house.stub.requests[0].header("content-type") == FORM["content_type"]
    holds = house.ledger.holds("acme", state=None)
    assert {(each.state, str(each.amount)) for each in holds} == {("settled", "0.001")}
    assert {str(each.settled) for each in holds} == {"0.0009", "0.001"}


def test_a_transcribed_text_is_no_usage(house: GatewayHouse) -> None:
    """Whoever speaks, or gives the prompt, has a text say what it likes; its hold is booked."""
    spoken = b'{"usage": {"type": "duration", "seconds": 1}}'
    house.stub.answer(Answer(body=spoken, headers=[("content-type", "text/plain")]))
    as_text = ('name="response_format"', b"text")
    reply = house.post(HEARD, form(WHISPER, SOUND, as_text), **FORM)
    assert (reply.content, reply.headers["x-earmark-settled"]) == (spoken, "0.001")
    mp3 = form(WHISPER, ('name="file"; filename="a.mp3"', b"ID3"), as_text)
    headers = {"content-type": FORM["content_type"], "x-earmark-at-most": "0.5"}
    with house.client(house.token_for("acme/own", may_bound=True)) as client:
        reply = client.post(HEARD, content=mp3, headers=headers)
    assert (reply.content, reply.headers["x-earmark-settled"]) == (spoken, "0.5")


def test_a_file_of_no_known_length_needs_a_bound_of_its_own(fresh: GatewayHouse) -> None:
    """So does a model that is billed in tokens."""
    fresh.stub.answer(Answer(body=b"{}"))
    mp3 = ('name="file"; filename="a.mp3"', b"ID3" + bytes(999))
    token = fresh.token_for("acme/own", may_bound=True)
    for sent, words in (
        (form(WHISPER, mp3), "send a WAV file"),
        (form(WHISPER, ('name="file"; filename="a.mp3"', SOUND[1])), "a name in .wav"),
        (form(('name="model"', b"gpt-4o-transcribe"), SOUND), "output_tokens"),
        (form(WHISPER, SOUND, ('name="stream"', b"true")), "'stream'"),
    ):
        fresh.stub.requests.clear()
        reply = fresh.post(HEARD, sent, **FORM)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unpriced")
        assert words in reply.json()["error"]["message"]
        assert fresh.stub.requests == []
        headers = {"content-type": FORM["content_type"], "x-earmark-at-most": "0.5"}
        with fresh.client(token) as client:
            assert client.post(HEARD, content=sent, headers=headers).status_code == 200
        assert [each.body for each in fresh.stub.requests] == [sent]


@pytest.mark.parametrize(
    "sent",
    [
        b"{}",
        form(WHISPER),
        form(WHISPER, WHISPER, SOUND),
        form(WHISPER, SOUND, SOUND),
        form(('name="model"', b"openai/whisper-1"), SOUND),
        form(WHISPER, SOUND, ('name="prompt"; filename="p"', b"x")),
        form(WHISPER, SOUND, ('name="prompt"', b"a\n--edge\nb")),
        form(WHISPER, SOUND, ('name="prompt"\r\nX-Odd: 1', b"x")),
        form(WHISPER, SOUND, ("name=prompt", b"x")),
        form(WHISPER, SOUND, ('name="prompt"', b"\xff")),
        form(WHISPER, SOUND, end=b"--edge--\r\nafter"),
        form(WHISPER, SOUND, end=b""),
        b"before\r\n" + form(WHISPER, SOUND),
    ],
)
def test_a_form_that_servers_may_read_otherwise_is_refused(
    fresh: GatewayHouse, sent: bytes
) -> None:
    """Whatever else a server finds in it would be unknown here."""
    reply = fresh.post(HEARD, sent, **FORM)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_form")
    assert fresh.stub.requests == []
