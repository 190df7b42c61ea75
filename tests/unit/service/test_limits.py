"""The edge: known hosts only, strict browsers, bodies of a size."""

import asyncio
import json
from typing import Any

import pytest

from earmark.service.limits import CONTENT_POLICY
from support.last_resort import LAST_RESORT_S
from support.service_house import House, house


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8321", "localhost:1", "LOCALHOST", "[::1]", "[::1]:8321"]
)
def test_this_machines_own_names_are_answered(shared: House, host: str) -> None:
    """With or without a port, in whatever case."""
    assert shared.ask("get", "/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1", "::2"],
)
def test_another_host_is_not_answered(shared: House, host: str) -> None:
    """A page of another site that makes its name lead here gets nothing: 421, or 400."""
    answer = shared.ask("get", "/v1/tasks", headers={"Host": host})
    assert answer.status_code in {400, 421}
    assert "items" not in answer.json()


@pytest.mark.parametrize(
    "host", ["", "a b", "x@127.0.0.1", "127.0.0.1/x", "127.0.0.1:port", "[::1", "127.0.0.1,evil"]
)
def test_a_host_that_is_none_is_bad_input(shared: House, host: str) -> None:
    """What cannot be read as one host and a port is answered by 400 or 421."""
    answer = shared.ask("get", "/v1/tasks", headers={"Host": host})
    assert answer.status_code in {400, 421}
    assert answer.headers["content-type"] == "application/problem+json"


def test_headers_that_contradict_each_other_are_refused(shared: House) -> None:
    """Two tokens, or two keys of one request: the first is not taken for the one that is meant."""
    own, other = (("Authorization", f"Bearer {shared.secrets[each]}") for each in ("read", "admin"))
    for more in (
        (own, other),
        (other, own),
        (own, ("Idempotency-Key", "a"), ("Idempotency-Key", "b")),
    ):
        answer = shared.client.get("/v1/tasks", headers=list(more))
        assert (answer.status_code, answer.json()["code"]) == (400, "repeated_header")
    assert shared.client.get("/v1/tasks", headers=[own, own]).is_success


def test_further_hosts_are_answered_where_the_settings_name_them() -> None:
    """By name, by ending, or every one."""
    with house(allowed_hosts=["books.example", "*.acme.example"]) as opened:
        for host in ("books.example", "a.acme.example:80", "b.a.acme.example"):
            assert opened.ask("get", "/v1/tasks", headers={"Host": host}).is_success
        for host in ("acme.example", "notacme.example", "a.books.example"):
            opened.no(421, "get", "/v1/tasks", headers={"Host": host})
    with house(allowed_hosts=["*"]) as opened:
        assert opened.ask("get", "/v1/tasks", headers={"Host": "any.example"}).is_success


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/livez", "127.0.0.1"),
        ("/v1/tasks", "127.0.0.1"),
        ("/v1/tasks/nope", "127.0.0.1"),
        ("/nowhere", "127.0.0.1"),
        ("/openapi.json", "127.0.0.1"),
        ("/metrics", "127.0.0.1"),
        ("/v1/tasks", "evil.example"),
    ],
)
def test_every_answer_tells_browsers_to_be_strict(shared: House, path: str, host: str) -> None:
    """Nothing inline, nothing from elsewhere, no frame around it, nothing kept, nothing guessed."""
    headers = shared.ask("get", path, headers={"Host": host}).headers
    assert headers["content-security-policy"] == CONTENT_POLICY
    assert "unsafe-inline" not in CONTENT_POLICY
    assert "frame-ancestors 'none'" in CONTENT_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_a_body_has_at_most_a_mebibyte(shared: House) -> None:
    """More is refused, told its length or not; the service goes on."""
    big = b'{"title": "' + b"x" * (1 << 20) + b'"}'
    kind = {"Content-Type": "application/json"}
    assert shared.no(413, "post", "/v1/tasks", content=big, headers=kind)["code"] == "too_large"
    pieces = iter([big[:1000], big[1000:]])
    shared.no(413, "post", "/v1/tasks", content=pieces, headers=kind)
    shared.no(413, "post", "/v1/tasks", content=big, headers=kind, key="k")
    shared.ok("post", "/v1/tasks", json={"title": "small", "description": "x" * 200_000})


@pytest.mark.parametrize(
    ("path", "status"),
    [("/livez", 200), ("/", 200), ("/v1/tasks", 200), ("/v1/events", 200), ("/v1/no", 404)],
)
def test_what_can_be_got_can_be_asked_for_without_its_body(
    shared: House, path: str, status: int
) -> None:
    """Monitors send HEAD: the head of the answer to GET and nothing more, of a stream too."""
    answer = shared.ask("head", path)
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers["content-type"]
    assert shared.service.event_streams.streams == 0


def test_a_probe_is_answered_under_any_name(shared: House) -> None:
    """Orchestrators ask by a machine's address; health needs a token there, too."""
    told = {"Host": "10.0.0.7:8321"}
    for path in ("/livez", "/readyz"):
        answer = shared.ask("get", path, scope=None, headers=told)
        assert (answer.status_code, "budget" in answer.json()) == (200, False), path
    shared.no(401, "get", "/health", scope=None, headers=told)
    assert shared.ask("get", "/health", scope="read", headers=told).status_code == 200
    shared.no(421, "get", "/metrics", headers=told)


@pytest.mark.parametrize("drips", [False, True], ids=["stops", "drips"])
def test_a_body_that_does_not_arrive_is_answered_with_408(*, drips: bool) -> None:
    """After its total time, whether it stops or goes on byte by byte; nothing was done."""
    said: list[Any] = []
    begun = asyncio.Event()

    async def receive() -> Any:
        if begun.is_set():
            await (asyncio.sleep(0) if drips else asyncio.Event().wait())
        begun.set()
        return {"type": "http.request", "body": b"", "more_body": True}

    async def send(message: Any) -> None:
        said.append(message)

    async def ask(app: Any, secret: str) -> None:
        head = {"host": "127.0.0.1", "authorization": f"Bearer {secret}"}
        scope = {
            "type": "http", "method": "POST", "path": "/v1/tasks", "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in head.items()],
        }  # fmt: skip
        async with asyncio.timeout(LAST_RESORT_S):
            await app(scope, receive, send)

    with house(body_timeout="20ms") as opened:
        asyncio.run(ask(opened.app, opened.secrets["spend"]))
        assert (said[0]["status"], json.loads(said[1]["body"])["code"]) == (408, "too_slow")
        assert opened.workspace.board.last_event() == 0
