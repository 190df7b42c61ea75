"""What passes through the gateway, and what is refused with its path."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.gateway_house import KEYS, GatewayHouse, gateway_house
from support.recorded_requests import FOLDER
from support.stub_server import completion, message
from support.upstream_stub import STREAM, Answer

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Name one planet."}]}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
RECORDED = [
    pytest.param(json.loads(file.read_text("utf-8")), id=file.stem)
    for file in sorted(FOLDER.glob("*.json"))
]
#: Own prices of models that no list has, and a window for what cannot be counted.
BIG: dict[str, Any] = {
    "prices": {"openai/gpt-6.2-sol": {"input_mtok": "1.25", "output_mtok": "10"}},
    "windows": {name: {"context_window": 1_000_000} for name in ("openai", "anthropic", "google")},
}


@pytest.fixture(scope="module")
def shared() -> Iterator[GatewayHouse]:
    """A gateway whose providers have a window, with plenty of money."""
    with gateway_house("1000000 usd total", **BIG) as opened:
        yield opened


@pytest.fixture
def fresh(shared: GatewayHouse) -> GatewayHouse:
    """The same, whose provider was not asked yet."""
    shared.stub.requests.clear()
    return shared


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_recorded_body_passes_byte_for_byte(
    fresh: GatewayHouse, recorded: dict[str, Any]
) -> None:
    """Of real clients: what is spliced in is cut out again, and the rest is what they wrote."""
    fresh.stub.answer(Answer(body=b'{"odd": 1.0}'))
    data = _written(recorded["body"])
    token = {"authorization": f"Bearer {fresh.token}"}
    headers = {
        name: value
        for name, value in recorded["headers"].items()
        if name.lower() not in {"authorization", "x-api-key", "x-goog-api-key", "host"}
    }
    with fresh.client() as client:
        reply = client.request(
            recorded["method"], recorded["path"], content=data, headers={**headers, **token}
        )
    if recorded["method"] != "POST":
        assert reply.status_code == (200 if recorded["method"] == "HEAD" else 426)
        assert fresh.stub.requests == []
        return
    assert reply.status_code == 200, reply.text
    assert reply.content == b'{"odd": 1.0}'
    (sent,) = fresh.stub.requests
    assert sent.path == recorded["path"]
    _check_spliced(data, sent.body)
    for name, value in headers.items():
        if name.lower() not in {"accept-encoding", "content-length", "connection"}:
            assert sent.header(name.lower()) == value, name


def _written(body: dict[str, Any]) -> bytes:
    """Return *body* as no encoder of ours writes it: spaces, a number in another form."""
    if not body:
        return b""
    odd: dict[str, Any] = {"temperature": 0.0}
    if "contents" in body:
        odd = {"generationConfig": {**body.get("generationConfig", {}), **odd}}
    text = json.dumps({**body, **odd}, ensure_ascii=False, indent=1)
    return text.replace(": 0.0", ": 0.00e0").encode()


def _check_spliced(written: bytes, sent: bytes) -> None:
    """Both are the same bytes, but for the members that make the bound hold."""
    before, after = json.loads(written), json.loads(sent)
    set_here = {
        *("max_tokens", "max_output_tokens", "max_tool_calls", "stream_options"),
        *("generationConfig", "service_tier"),
    }
    changed = [name for name in after if name not in before or before[name] != after[name]]
    assert set(changed) <= set_here
    for name in changed:
        # Cut out what was set, as it was set: what is left are the client's own bytes.
        if name not in before:
            member = f",{json.dumps(name)}:{json.dumps(after[name], separators=(',', ':'))}"
            assert sent.count(member.encode()) == 1, name
            sent = sent.replace(member.encode(), b"")
    if "generationConfig" in changed and "generationConfig" in before:
        limit = after["generationConfig"]["maxOutputTokens"]
        sent = sent.replace(f',"maxOutputTokens":{limit}'.encode(), b"")
    assert before.keys() & set(changed) <= {"generationConfig"}, "there is money for all of it"
    # Spaces before the last brace make room for what is added.
    assert sent.rstrip(b"}\n ") == written.rstrip(b"}\n ")


def test_headers_pass_both_ways_but_for_credentials(house: GatewayHouse) -> None:
    """The provider gets its own key and no other; cookies, and what is of one connection, stay."""
    odd = [("X-Odd-Header", "a, b"), ("x-odd-header", "c"), ("Date", "yesterday"), ("server", "s")]
    dropped = [
        ("X-Earmark-Settled", "0"),
        ("Set-Cookie", "a=1"),
        ("keep-alive", "timeout=5"),
        ("connection", "x-own"),
        ("x-own", "1"),
    ]
    house.stub.answer(
        Answer(
            body=completion(USAGE, model="gpt-4o-mini"),
            headers=[("Content-Type", "application/json; charset=utf-8"), *odd, *dropped],
        )
    )
    more = {
        "openai-beta": "assistants=v2",
        "openai-organization": "org-1",
        "openai-project": "proj_1",
        "x-goog-user-project": "other",
        "cookie": "a=1",
        "x-forwarded-for": "10.0.0.1",
        "x-api-key": house.token,
    }
    reply = house.post("/v1/chat/completions", ASK, **more)
    (sent,) = house.stub.requests
    assert sent.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"
    assert sent.header("openai-beta") == "assistants=v2"
    assert sent.header("accept-encoding") == "identity"
    paying = ("openai-organization", "openai-project", "x-goog-user-project")
    for name in ("cookie", "x-forwarded-for", "x-api-key", *paying):
        assert sent.header(name) is None, name
    assert house.token not in str(sent)
    names = [name.decode() for name, _ in reply.headers.raw]
    assert reply.headers["x-odd-header"] == "a, b, c"
    assert reply.headers["date"] == "yesterday"
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.headers["x-earmark-settled"] == "0.0000054"
    assert {"set-cookie", "keep-alive", "x-own"}.isdisjoint(name.lower() for name in names)


def test_an_error_of_the_provider_passes_unchanged(house: GatewayHouse) -> None:
    """Its status, its headers, its very bytes; and what was not billed is given back."""
    house.stub.answer(
        Answer(status=429, body=b'{"error": {"x" : 1.0}}', headers=[("Retry-After", "7")])
    )
    reply = house.post("/v1/chat/completions", ASK)
    assert (reply.status_code, reply.content) == (429, b'{"error": {"x" : 1.0}}')
    assert reply.headers["retry-after"] == "7"
    assert reply.headers["x-earmark-settled"] == "0"
    assert house.spent == 0


def test_a_redirect_takes_the_prompt_nowhere(house: GatewayHouse) -> None:
    """It is neither followed nor passed on, and nobody knows what it cost."""
    house.stub.answer(Answer(status=307, headers=[("Location", f"{house.stub.url}/elsewhere")]))
    reply = house.post("/v1/chat/completions", ASK)
    assert reply.status_code == 502
    assert "location" not in reply.headers
    assert len(house.stub.requests) == 1
    assert [hold.state for hold in house.ledger.holds("acme", state=None)] == ["presumed"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/completions", 404),
        ("POST", "/v1/batches", 404),
        ("POST", "/v1/files", 404),
        ("POST", "/v1/messages/batches", 404),
        ("POST", "/v1/fine_tuning/jobs", 404),
        ("POST", "/v1/responses/resp_1/cancel", 404),
        ("GET", "/v1/responses/resp_1", 404),
        ("DELETE", "/v1/models/m", 404),
        ("PUT", "/v1/chat/completions", 404),
        ("OPTIONS", "/v1/chat/completions", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "//v1/chat/completions", 404),
        ("POST", "/v1/chat%2Fcompletions", 404),
        ("POST", "/v1beta/models/g:batchGenerateContent", 404),
        ("GET", "/v1/responses", 426),
        ("POST", "/v1/messages?beta=true&speed=fast", 400),
        ("POST", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", 400),
    ],
)
def test_what_is_not_known_is_refused_with_its_path(
    fresh: GatewayHouse, method: str, path: str, status: int
) -> None:
    """Nothing of it is sent, and a browser of another site is told nothing."""
    with fresh.client() as client:
        reply = client.request(method, path, json=ASK)
    assert reply.status_code == status, reply.text
    assert reply.headers["x-should-retry"] == "false"
    assert not [name for name in reply.headers if name.startswith("access-control")]
    assert fresh.stub.requests == []


@pytest.mark.parametrize("query", ["beta=true&speed=fast", "service_tier=priority", "x"])
def test_a_query_that_is_not_known_is_refused(fresh: GatewayHouse, query: str) -> None:
    """It may alter what the request costs."""
    fresh.stub.answer(Answer(body=message({"input_tokens": 1, "output_tokens": 1})))
    ask = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": ASK["messages"]}
    assert fresh.post(f"/v1/messages?{query}", ask).status_code == 400
    assert fresh.stub.requests == []
    assert fresh.post("/v1/messages?beta=true", ask).status_code == 200


def test_a_websocket_is_refused_at_once(shared: GatewayHouse) -> None:
    """Codex tries one first, and goes on over HTTP when it is told 426."""
    address = urlsplit(shared.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            f"GET /v1/responses HTTP/1.1\r\nhost: {address.netloc}\r\nconnection: Upgrade\r\n"
            "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n"
            f"authorization: Bearer {shared.token}\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 426 ")


@pytest.mark.parametrize(
    ("path", "headers", "sent_to"),
    [
        ("/v1/models?limit=1000", {"anthropic-version": "2023-06-01"}, "/v1/models?limit=1000"),
        ("/v1/models", {}, "/v1/models"),
        ("/v1beta/models?pageSize=5", {}, "/v1beta/models?pageSize=5"),
    ],
)
def test_models_are_listed_for_nothing(
    house: GatewayHouse, path: str, headers: dict[str, str], sent_to: str
) -> None:
    """By the provider whose API the client speaks."""
    house.stub.answer(Answer(body=b'{"data":[]}'))
    reply = house.get(path, **headers)
    assert (reply.status_code, reply.content) == (200, b'{"data":[]}')
    (sent,) = house.stub.requests
    assert (sent.method, sent.path) == ("GET", sent_to)
    assert house.ledger.holds("acme", state=None) == []


def test_an_input_is_counted_for_nothing(house: GatewayHouse) -> None:
    """The count is passed on and nothing is held for it."""
    house.stub.answer(Answer(body=b'{"input_tokens": 9}'))
    ask = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "hi"}]}
    reply = house.post("/v1/messages/count_tokens?beta=true", ask)
    assert reply.json() == {"input_tokens": 9}
    assert house.stub.requests[0].path == "/v1/messages/count_tokens?beta=true"
    assert house.ledger.holds("acme", state=None) == []


def test_embeddings_are_held_and_settled(house: GatewayHouse) -> None:
    """They have an input alone."""
    house.stub.answer(
        Answer(
            body=b'{"model":"text-embedding-3-small","usage":{"prompt_tokens":5,"total_tokens":5}}'
        )
    )
    ask = {"model": "text-embedding-3-small", "input": "hello"}
    reply = house.post("/v1/embeddings", ask)
    assert reply.status_code == 200, reply.text
    assert house.stub.requests[0].body == json.dumps(ask).encode()
    assert str(reply.headers["x-earmark-settled"]) == "0.0000001"


def test_a_name_begins_with_its_provider(house: GatewayHouse) -> None:
    """The prefix chooses the provider, and the provider gets the name without it."""
    house.stub.answer(Answer(body=message({"input_tokens": 1, "output_tokens": 1})))
    ask = {"model": "anthropic/claude-sonnet-4-5", "max_tokens": 9, "messages": ASK["messages"]}
    assert house.post("/v1/messages", ask).status_code == 200
    (sent,) = house.stub.requests
    assert sent.body == json.dumps({**ask, "model": "claude-sonnet-4-5"}).encode()
    refused = house.post("/v1/chat/completions", {**ASK, "model": "anthropic/claude-sonnet-4-5"})
    assert refused.status_code == 400
    assert "/v1/messages" in refused.json()["error"]["message"]


def test_a_name_decides_no_host(house: GatewayHouse) -> None:
    """Whatever a model or a header says, hosts come from the configuration."""
    house.stub.answer(Answer(body=completion(USAGE)))
    for name in ("http://169.254.169.254/x", "../../x", "evil.example/gpt-4o-mini", "a@b/c"):
        reply = house.post("/v1/chat/completions", {**ASK, "model": name}, x_forwarded_host="evil")
        assert reply.status_code in {400, 402}
        assert (
            house.post(f"/v1beta/models/{name}:generateContent", {"contents": []}).status_code
            >= 400
        )
    assert house.stub.requests == []


def test_a_large_body_passes(house: GatewayHouse) -> None:
    """Of 30 MB; one that is larger than 32 MB is refused."""
    house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
    with gateway_house("1000000 usd total") as rich:
        rich.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
        ask: dict[str, Any] = {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "x" * (30 << 20)}],
        }
        assert rich.post("/v1/chat/completions", ask).status_code == 200
        assert rich.stub.requests[0].json["messages"] == ask["messages"]
        ask["messages"][0]["content"] = "x" * (33 << 20)
        assert rich.post("/v1/chat/completions", ask).status_code == 413
        assert len(rich.stub.requests) == 1


def test_a_client_that_offers_http_2_keeps_its_body(house: GatewayHouse) -> None:
    """As Java's does by default: the provider gets the body, and nothing of the offer."""
    house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
    offer = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": "h2c",
        "http2-settings": "AAEAAEAA",
    }
    reply = house.post("/v1/chat/completions", {**ASK, "max_tokens": 9}, **offer)
    assert reply.status_code == 200
    (arrived,) = house.stub.requests
    assert arrived.json["messages"] == ASK["messages"]
    assert {arrived.header("upgrade"), arrived.header("http2-settings")} == {None}


def test_a_body_that_is_compressed_is_not_read(house: GatewayHouse) -> None:
    """What it holds would be unknown."""
    reply = house.post("/v1/chat/completions", b"x", content_encoding="gzip")
    assert reply.status_code == 415
    assert house.stub.requests == []


def test_a_reply_that_cannot_be_read_is_presumed(house: GatewayHouse) -> None:
    """It passes as it came, and its whole hold counts as spent."""
    answers = [
        Answer(body=b"\x1f\x8b", headers=[("content-encoding", "gzip")]),
        Answer(headers=STREAM, events=[b"nothing\n\n"]),
        Answer(body=b'{"choices": []}'),
    ]
    for number, answer in enumerate(answers):
        house.stub.answer(answer)
        assert house.post("/v1/chat/completions", {**ASK, "stream": number == 1}).status_code == 200
    assert {hold.state for hold in house.ledger.holds("acme", state=None)} == {"presumed"}
