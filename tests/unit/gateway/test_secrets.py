"""The keys of providers and the tokens of clients: in no answer, no log, no store."""

import logging
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from earmark.gateway.events import EventSplitter
from earmark.gateway.json_array import ArraySplitter
from earmark.gateway.key_mask import StreamMask
from earmark.stores.sqlite import SqliteStore
from support.gateway_house import GatewayHouse, gateway_house
from support.stub_server import chunks, completion
from support.upstream_stub import STREAM, Answer, event

ASK: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "The canary sings."}],
}
CLAUDE: Final = {**ASK, "model": "claude-sonnet-4-5", "max_tokens": 100}
USAGE: Final = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
KEY: Final = "sk-canary-0123456789abcdef"
HIDDEN: Final = "*" * len(KEY)
#: As local servers have one, which is no secret.
SHORT: Final = "ollama"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the store is."""
    return tmp_path_factory.mktemp("canary")


@pytest.fixture(scope="module")
def house(folder: Path) -> Iterator[GatewayHouse]:
    """A gateway whose providers' key is a canary, on a store whose bytes can be searched."""
    keys = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": SHORT}
    with gateway_house(keys=keys, store=SqliteStore(folder / "books.db")) as opened:
        yield opened


def _echo(status: int, text: str = f"Incorrect API key provided: {KEY}.") -> Answer:
    body = f'{{"error": {{"message": "{text}" , "x":1.0e0}}}}'.encode()
    headers = [("content-type", "application/json"), ("x-request-id", f"req-{KEY}")]
    return Answer(status=status, body=body, headers=headers)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_a_reply_that_repeats_the_key_passes_without_it(house: GatewayHouse, status: int) -> None:
    """Asterisks stand for it, as many as it has letters; every other byte is the provider's."""
    answer = _echo(status)
    house.stub.answer(answer)
    reply = house.post("/v1/chat/completions", ASK)
    assert reply.status_code == status
    assert reply.content == answer.body.replace(KEY.encode(), HIDDEN.encode())
    assert reply.headers["x-request-id"] == f"req-{HIDDEN}"
    assert reply.headers["content-length"] == str(len(answer.body))
    assert house.get("/v1/models").content == reply.content, "what costs nothing, too"


def test_a_short_key_is_no_secret(house: GatewayHouse) -> None:
    """A local server's stands in replies by chance: these pass as they came."""
    answer = _echo(401, f"no {SHORT} here")
    house.stub.answer(answer)
    assert house.post("/v1/messages", CLAUDE).content == answer.body


@pytest.mark.parametrize("size", [1, 7, 64])
def test_an_event_that_repeats_the_key_passes_without_it(size: int) -> None:
    """Wherever its pieces are cut."""
    sent = event({"error": {"message": f"bad key {KEY}"}}) + event("[DONE]") + f": {KEY}".encode()
    splitter, passed = EventSplitter(KEY.encode()), b""
    for at in range(0, len(sent), size):
        passed += b"".join(each.raw for each in splitter.feed(sent[at : at + size]))
    passed += b"".join(each.raw for each in splitter.end())
    assert passed == sent.replace(KEY.encode(), HIDDEN.encode())


@pytest.mark.parametrize("size", [1, 7, 64])
def test_an_element_that_repeats_the_key_passes_without_it(size: int) -> None:
    """As a stream has them that is one JSON array."""
    sent = f'[{{"error": "bad key {KEY}"}}\r\n,{{"{KEY}": 1}}]\r\n'.encode()
    splitter, passed = ArraySplitter(KEY.encode()), b""
    for at in range(0, len(sent), size):
        passed += b"".join(each.raw for each in splitter.feed(sent[at : at + size]))
    passed += b"".join(each.raw for each in splitter.end())
    assert passed == sent.replace(KEY.encode(), HIDDEN.encode())


def test_a_stream_that_repeats_the_key_passes_without_it(house: GatewayHouse) -> None:
    """In its events, in what comes after the last of them, and in its head."""
    sent = [event({"error": {"message": KEY}}), *chunks(["a"], USAGE, model=KEY)]
    late = f": {KEY}\n\n".encode()
    house.stub.answer(Answer(headers=[*STREAM, ("x-request-id", KEY)], events=[*sent, late]))
    asked = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    reply = house.post("/v1/chat/completions", asked)
    assert reply.content == b"".join([*sent, late]).replace(KEY.encode(), HIDDEN.encode())
    assert reply.headers["x-request-id"] == HIDDEN


#: Whatever a provider may do with a key that it was sent.
ANSWERS: Final = {
    "breaks off": Answer(ends="never_begun"),
    "server error": _echo(500),
    "wrong key": _echo(401),
    "no JSON": Answer(body=f"<html>{KEY}".encode()),
    "redirect": Answer(status=307, headers=[("location", f"/x?key={KEY}")], body=KEY.encode()),
    "model": Answer(body=completion(USAGE, model=KEY)),
    "counters": Answer(body=completion({**USAGE, KEY: 5}, model="gpt-4o-mini")),
    "half a stream": Answer(headers=STREAM, events=[event({"m": KEY})], ends="cut"),
    "reset stream": Answer(headers=STREAM, events=[event({"m": KEY})], ends="reset"),
    "odd stream": Answer(headers=STREAM, events=[f"{KEY}\n\n".encode()]),
    "compressed": Answer(body=KEY.encode(), headers=[("content-encoding", "gzip")]),
}


def test_no_key_is_seen_whatever_fails(
    house: GatewayHouse, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the provider's nor the token, nor the prompt: in answers, logs, the store's bytes."""
    caplog.set_level(logging.DEBUG)
    seen: list[Any] = []
    for answer in ANSWERS.values():
        house.stub.answer(answer)
        asked = {**ASK, "stream": answer.events is not None}
        with (
            suppress(httpx2.TransportError),  # a stream breaks off
            house.client() as client,
            client.stream("POST", "/v1/chat/completions", json=asked) as reply,
        ):
            seen += [dict(reply.headers), *reply.iter_raw()]
    token = house.token
    house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
    for path, body, headers in (
        (f"/v1/chat/completions?key={token}", ASK, {}),
        ("/v1/chat/completions", b'{"model": "gpt-4o-mini", ', {}),
        ("/v1/chat/completions", {**ASK, "odd_option": [{"text": token}]}, {}),
        ("/v1/chat/completions", ASK, {"x_earmark_odd": token}),
        ("/v1/chat/completions", ASK, {"x_earmark_at_most": token}),
        ("/v1/chat/completions", ASK, {"x_api_key": token + "x"}),
        ("/v1/chat/completions", ASK, {"host": f"{token}.example"}),
        ("/v1/chat/completions", ASK, {"content_encoding": "gzip"}),
        ("/v1/batches", ASK, {"anthropic_version": token}),
    ):
        reply = house.post(path, body, **headers)
        assert reply.status_code >= 400 or "x_api_key" in headers, path
        seen += [reply.text, dict(reply.headers)]
    seen += [house.get("/v1/earmark/statement").text, house.get("/v1/earmark/balance").text]
    seen += [*house.ledger.holds("acme", state=None), *house.ledger.entries()]
    # The client's own log, which names the URLs that it asks for, is not ours.
    seen += [each.getMessage() for each in caplog.records if not each.name.startswith("http")]
    kept = b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
    assert b"gpt-4o-mini" in kept, "the store is searched as it is"
    said = str(seen)
    for secret in (KEY, token, "The canary sings."):
        assert secret not in said, said[max(0, said.find(secret) - 300) :][:500]
        assert secret.encode() not in kept, secret


@pytest.mark.parametrize("seed", range(20))
def test_a_key_is_masked_wherever_a_stream_is_cut(seed: int) -> None:
    """What nobody reads passes with every other byte in its place."""
    cuts, secret = random.Random(seed), b"sk-abab-abab-abab"
    whole = b"sk-" + secret + b" sk-abab-" + secret[:-1] + b"c" + secret * 2 + secret[:9]
    mask, passed, at = StreamMask(secret), b"", 0
    while at < len(whole):
        size = cuts.choice((1, 2, 5, 17, 30))
        passed += mask.feed(whole[at : at + size])
        assert secret not in passed
        at += size
    assert passed + mask.end() == whole.replace(secret, b"*" * len(secret))
