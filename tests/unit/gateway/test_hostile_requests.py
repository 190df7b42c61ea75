"""Requests that are made to be read differently by two programs, or to lead somewhere else."""

import json
import socket
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from support.gateway_house import KEYS, GatewayHouse, gateway_house
from support.last_resort import LAST_RESORT_S
from support.stub_server import completion
from support.upstream_stub import Answer

USAGE: Final = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
ASK: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
}
BODY: Final = json.dumps(ASK).encode()
PATH: Final = "/v1/chat/completions"


@pytest.fixture(scope="module")
def shared() -> Iterator[GatewayHouse]:
    """A gateway with plenty of money."""
    with gateway_house("1000 usd total") as opened:
        yield opened


@pytest.fixture
def house(shared: GatewayHouse) -> GatewayHouse:
    """The same, whose provider was not asked yet, and answers."""
    shared.stub.requests.clear()
    shared.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
    return shared


def said(house: GatewayHouse, raw: bytes) -> bytes:
    """Send *raw*; return all that comes until the gateway closes the connection."""
    place = urlsplit(house.url)
    parts: list[bytes] = []
    with socket.create_connection((place.hostname, place.port), timeout=LAST_RESORT_S) as own:
        try:
            own.sendall(raw)
            while part := own.recv(1 << 16):
                parts.append(part)
        except ConnectionError:
            pass  # it was closed with bytes of ours unread
    return b"".join(parts)


def head(house: GatewayHouse, *lines: str, target: str = PATH, host: str | None = None) -> bytes:
    """Return the head of a request with the token and these lines."""
    own = urlsplit(house.url).netloc if host is None else host
    first = [f"POST {target} HTTP/1.1", f"host: {own}", f"authorization: Bearer {house.token}"]
    return "\r\n".join([*first, *lines, "", ""]).encode("latin-1")


def chunked(*pieces: bytes) -> bytes:
    """Return *pieces* as chunks, without their end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


LENGTH: Final = f"content-length: {len(BODY)}"
CHUNKED: Final = "transfer-encoding: chunked"
#: The lines of a head, and what follows it.
AMBIGUOUS: Final[dict[str, tuple[list[str], bytes]]] = {
    "a length and chunks": ([LENGTH, CHUNKED], chunked(BODY) + b"0\r\n\r\n"),
    "chunks and a length": ([CHUNKED, LENGTH], chunked(BODY) + b"0\r\n\r\n"),
    "two lengths": ([LENGTH, "content-length: 5"], BODY),
    "one length twice": ([LENGTH, LENGTH], BODY),
    "a list of lengths": ([f"{LENGTH}, {len(BODY)}"], BODY),
    "a signed length": ([f"content-length: +{len(BODY)}"], BODY),
    "a length in hexadecimal": ([f"content-length: {len(BODY):#x}"], BODY),
    "a length below nothing": (["content-length: -1"], BODY),
    "chunks in another coding": (["transfer-encoding: xchunked"], chunked(BODY) + b"0\r\n\r\n"),
    "chunks and then another": (["transfer-encoding: chunked, gzip"], chunked(BODY) + b"0\r\n\r\n"),
    "another coding and then chunks": (
        ["transfer-encoding: gzip, chunked"],
        chunked(BODY) + b"0\r\n\r\n",
    ),
    "a space before the colon": (["transfer-encoding : chunked", LENGTH], BODY),
    "a line end within a name": ([f"content-length\n: {len(BODY)}"], BODY),
    "a NUL in a value": ([LENGTH, "x-a: a\0b"], BODY),
    "a CR in a value": ([LENGTH, "x-a: a\rb: c"], BODY),
    "a chunk of a signed size": ([CHUNKED], b"+%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "a chunk of no size": ([CHUNKED], b"\r\n%s\r\n0\r\n\r\n" % BODY),
    "a chunk that is longer than it says": ([CHUNKED], b"5\r\n%s\r\n0\r\n\r\n" % BODY),
    "a chunk of too many digits": ([CHUNKED], b"%s\r\n%s\r\n" % (b"f" * 17, BODY)),
    "a target with a space": (["x-a: b", LENGTH], BODY),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_body_whose_end_is_not_clear_is_refused(house: GatewayHouse, name: str) -> None:
    """Whatever stands before the gateway may read it otherwise: nothing of it is sent on."""
    lines, body = AMBIGUOUS[name]
    target = "/v1/chat/ completions" if name == "a target with a space" else PATH
    answer = said(house, head(house, *lines, "connection: close", target=target) + body)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert house.stub.requests == []


def test_a_second_request_in_a_body_is_none(house: GatewayHouse) -> None:
    """What the head counts as the body is the body; what follows it is asked with a token alone."""
    hidden = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{LENGTH}\r\n\r\n".encode() + BODY
    )
    answer = said(house, head(house, LENGTH) + BODY + hidden)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.count(b"HTTP/1.1 421") == 1
    assert len(house.stub.requests) == 1


def test_chunks_are_read_whole_and_sent_with_a_length(house: GatewayHouse) -> None:
    """Their extensions go nowhere."""
    pieces = b"%x;a=%s\r\n%s\r\n" % (5, b"b" * 5000, BODY[:5]) + chunked(BODY[5:])
    answer = said(house, head(house, CHUNKED, "connection: close") + pieces + b"0;c\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200"), answer
    (sent,) = house.stub.requests
    assert sent.body.startswith(BODY[:-1])
    assert sent.header("transfer-encoding") is None
    assert sent.header("content-length") == str(len(sent.body))


@pytest.mark.parametrize(
    "trailer",
    [
        "x-earmark-at-most: 0.0000001",
        "x-earmark-dry-run: true",
        "x-earmark-odd: 1",
        "content-encoding: gzip",
        "host: evil.example",
        "x-client: 1",
    ],
)
def test_what_follows_a_body_is_no_header(house: GatewayHouse, trailer: str) -> None:
    """A proxy that checks and replaces headers passes trailers as they are: they say nothing."""
    end = f"0\r\n{trailer}\r\n\r\n".encode()
    answer = said(house, head(house, CHUNKED, "connection: close") + chunked(BODY) + end)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    (sent,) = house.stub.requests
    assert sent.header(trailer.partition(":")[0]) != trailer.partition(": ")[2]


def test_a_token_that_follows_a_body_opens_nothing(house: GatewayHouse) -> None:
    """As any other header that comes there."""
    own = urlsplit(house.url).netloc
    first = f"POST {PATH} HTTP/1.1\r\nhost: {own}\r\n{CHUNKED}\r\nconnection: close\r\n\r\n"
    end = f"0\r\nauthorization: Bearer {house.token}\r\n\r\n"
    answer = said(house, first.encode() + chunked(BODY) + end.encode())
    assert answer.startswith(b"HTTP/1.1 401"), answer
    assert house.stub.requests == []


@pytest.mark.parametrize(
    "lines",
    [
        [f"x-long: {'x' * 70_000}"],
        [f"x-{number}: {'y' * 20}" for number in range(4000)],
        ["x: " for _ in range(20_000)],
    ],
    ids=["long", "many", "empty"],
)
def test_a_head_has_a_size(house: GatewayHouse, lines: list[str]) -> None:
    """Of 64 kB, however it is made up."""
    answer = said(house, head(house, *lines, LENGTH, "connection: close") + BODY)
    assert answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")) or not answer
    assert house.stub.requests == []


def test_a_long_target_has_a_size(house: GatewayHouse) -> None:
    """As a head has."""
    end = f"{LENGTH}\r\nconnection: close"
    answer = said(house, head(house, end, target=f"{PATH}?beta={'x' * 70_000}") + BODY)
    assert not answer.startswith(b"HTTP/1.1 200")
    assert house.stub.requests == []


HOSTS: Final = {
    "none": [],
    "two": ["{own}", "{own}"],
    "two different": ["{own}", "evil.example"],
    "another": ["evil.example"],
    "a name that leads here": ["127.0.0.1.nip.io"],
    "another with the port": ["evil.example:{port}"],
    "a name within": ["localhost.evil.example"],
    "a user": ["localhost@evil.example"],
    "a path": ["127.0.0.1/../evil.example"],
    "a list": ["{own}, evil.example"],
    "no number": ["127.0.0.1:x"],
    "another way to write the address": ["2130706433"],
    "an empty one": [""],
    "with a dot": ["127.0.0.1."],
    "any address": ["0.0.0.0"],  # noqa: S104 - a name in a header
}


@pytest.mark.parametrize("hosts", HOSTS.values(), ids=HOSTS)
def test_another_host_is_answered_nothing(house: GatewayHouse, hosts: list[str]) -> None:
    """A page of another site, whose name leads here by DNS, reads nothing even with a token."""
    place = urlsplit(house.url)
    for what in ("GET /v1/earmark/balance", "GET /v1/models", f"POST {PATH}"):
        body = BODY if "POST" in what else b""
        lines = [
            f"{what} HTTP/1.1",
            *(f"host: {each.format(own=place.netloc, port=place.port)}" for each in hosts),
            f"authorization: Bearer {house.token}",
            "connection: close",
            *([LENGTH] if body else []),
        ]
        answer = said(house, "\r\n".join([*lines, "", ""]).encode() + body)
        assert answer.split(b" ")[1] in {b"400", b"421"}, answer
        assert b"acme" not in answer
    assert house.stub.requests == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80"])
def test_its_own_names_are_answered_on_any_port(house: GatewayHouse, host: str) -> None:
    """A port that was forwarded is another one than it listens on."""
    answer = said(house, head(house, LENGTH, "connection: close", host=host) + BODY)
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", [PATH, "/v1/earmark/balance", "/v1/models", "/api/hello", "/"])
def test_a_page_of_another_site_is_allowed_nothing(house: GatewayHouse, path: str) -> None:
    """Its preflight is refused, and no answer has a header that lets it read."""
    asks = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
        "access-control-request-private-network": "true",
    }
    with house.client() as client:
        for method in ("OPTIONS", "GET", "POST", "HEAD"):
            reply = client.request(method, path, headers=asks)
            if method == "OPTIONS":
                assert reply.status_code == 404
            assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/v1/chat/completions",
        "http://user:pw@evil.example:9/v1/chat/completions",
        "//evil.example/v1/chat/completions",
        "evil.example:80",
        "*",
        "/v1/chat/completions#/x",
        "/v1/../v1/chat/completions",
        "/v1/chat/completions;x=1",
        "/v1/chat/completions%00",
    ],
)
def test_a_target_decides_no_host(house: GatewayHouse, target: str) -> None:
    """Where a request goes is the configuration's alone; most of these are no path at all."""
    answer = said(house, head(house, LENGTH, "connection: close", target=target) + BODY)
    for sent in house.stub.requests:
        assert sent.path == PATH
        assert sent.header("host") == urlsplit(house.stub.url).netloc
    assert b"200" in answer[:15] or house.stub.requests == []
    assert not said(
        house,
        head(house, "connection: close", target="evil.example:443").replace(b"POST", b"CONNECT"),
    ).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
def test_no_redirect_is_followed(house: GatewayHouse, status: int) -> None:
    """Not to another host, not to the same: the key and the prompt go where they were sent."""
    other = house.stub.url.replace("127.0.0.1", "localhost")
    body = b"" if status == 304 else b"x"
    with house.client() as client:
        for place in (f"{other}/steal", PATH, "//x/", "file:///x"):
            house.stub.answer(Answer(status=status, headers=[("location", place)], body=body))
            for reply in (client.post(PATH, json=ASK), client.get("/v1/models")):
                assert reply.status_code == 502
                assert "location" not in reply.headers
                assert KEYS["OPENAI_API_KEY"] not in reply.text
    assert [sent.path for sent in house.stub.requests] == [PATH, "/v1/models"] * 4


FORWARDED: Final = {
    "x-forwarded-host": "evil.example",
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-proto": "http",
    "forwarded": "host=evil.example",
    "x-original-url": "/v1/files",
    "x-rewrite-url": "/v1/files",
    "x-http-method-override": "DELETE",
    "x-host": "evil.example",
    "proxy": "http://evil.example",
    "proxy-authorization": "Basic eDp5",
    "cookie": "a=1",
    "via": "1.1 x",
    "te": "trailers",
    "expect": "100-continue",
    "api-key": "sk-personal",
}


@pytest.mark.parametrize("name", FORWARDED)
def test_a_header_that_would_lead_elsewhere_is_not_sent(house: GatewayHouse, name: str) -> None:
    """It would have the provider, or what stands before it, take the request for another one."""
    lines = [f"{name}: {FORWARDED[name]}", LENGTH, "connection: close"]
    answer = said(house, head(house, *lines) + BODY)
    assert b"HTTP/1.1 200" in answer, answer
    (sent,) = house.stub.requests
    assert sent.header(name) is None
    assert (sent.path, sent.header("host")) == (PATH, urlsplit(house.stub.url).netloc)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o-mini\r\nx-evil: 1",
        "gpt-4o-mini\nHost: evil.example",
        "../../v1/files",
        "http://evil.example/gpt-4o-mini",
        "openai/../anthropic/x",
        "gpt-4o-mini?key=1",
        "gpt-4o-mini#x",
        "gpt-4o-mini\u0000",
        "\uff47pt-4o-mini",
        "gpt-4o-mini%0d%0ax-evil:1",
    ],
)
def test_a_model_s_name_is_a_name_and_nothing_else(house: GatewayHouse, model: str) -> None:
    """In a body, and in a path where it is encoded: it adds no header, and is one part of it."""
    quoted = "".join(f"%{byte:02x}" for byte in model.encode())
    house.post(PATH, {**ASK, "model": model})
    for verb in ("generateContent", "countTokens"):
        house.post(f"/v1beta/models/{quoted}:{verb}", {"contents": [{"parts": [{"text": "x"}]}]})
    house.get(f"/v1beta/models/{quoted}")
    for sent in house.stub.requests:
        assert sent.header("x-evil") is None
        assert sent.header("host") == urlsplit(house.stub.url).netloc
        assert sent.path.startswith("/v1beta/models/")
        assert not {"?", "#", ".."} & set(sent.path.replace("..", "\0").split("/")[-1]), sent.path
        assert sent.path.count("/") == 3, sent.path


@pytest.mark.parametrize("path", ["acme/agent\r\nx-evil: 1", "acme/agent/ü", "acme/agent/a b"])
def test_a_budget_s_name_adds_no_header(house: GatewayHouse, path: str) -> None:
    """Neither to what is sent nor to what is answered."""
    raw = head(house, "x-earmark-budget: ", LENGTH, "connection: close")
    raw = raw.replace(b"x-earmark-budget: ", b"x-earmark-budget: " + path.encode())
    answer = said(house, raw + BODY)
    assert b"x-evil" not in answer.lower().partition(b"\r\n\r\n")[0]
    assert all(sent.header("x-evil") in {None, "1"} for sent in house.stub.requests)
    assert not answer.startswith(b"HTTP/1.1 200") or "\r\n" in path


@pytest.mark.parametrize(
    "charset", ["utf-7", "utf-16", "UTF-16LE", '"latin-1"', "utf-8; charset=utf-7"]
)
def test_a_body_in_another_charset_is_not_sent(house: GatewayHouse, charset: str) -> None:
    """A provider that reads by it could read another body than was bounded."""
    kind = f"application/json; charset={charset}"
    assert house.post(PATH, ASK, content_type=kind).status_code == 415
    assert house.stub.requests == []
    assert house.post(PATH, ASK, content_type="application/json; charset=UTF-8").status_code == 200


@pytest.mark.parametrize(
    "coding", ["gzip", "br", "zstd", "deflate", "x-gzip", "gzip, identity", "x"]
)
def test_an_encoded_body_is_not_read(house: GatewayHouse, coding: str) -> None:
    """It may become any size, and what it asks for is not what was bounded."""
    assert house.post(PATH, b"\x1f\x8b", content_encoding=coding).status_code == 415
    assert house.stub.requests == []


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_an_encoded_reply_is_not_unpacked(house: GatewayHouse, coding: str) -> None:
    """Though it was not asked for: it passes as it came, and its hold counts as spent."""
    bomb = b"\x1f\x8b\x08\x00" + b"\0" * 4096
    house.stub.answer(Answer(body=bomb, headers=[("content-encoding", coding)]))
    with house.client() as client, client.stream("POST", PATH, json=ASK) as reply:
        assert b"".join(reply.iter_raw()) == bomb
        assert reply.headers["content-encoding"] == coding
        key = reply.headers["x-earmark-key"]
    assert house.stub.requests[0].header("accept-encoding") == "identity"
    assert str(house.ledger.reservation(key).state) == "presumed"
