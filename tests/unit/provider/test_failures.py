"""What a failed call may have cost: one table for every API, over real sockets."""

import asyncio
import json
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from earmark.apis.failures import Rejection, http_failure
from earmark.clock import SystemClock
from earmark.errors import CallFailed
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import SpokenApi, open_provider
from support.calls import ask, grant, send
from support.split_replies import DIALECTS, Content
from support.stub_server import Scene, StubServer, error, events

BOOK = PriceBook({"stub/m": {"input_mtok": "1", "output_mtok": "10"}})
APIS: tuple[SpokenApi, ...] = ("openai", "openai-responses", "anthropic", "gemini")


def fail(api: SpokenApi, url: str, *, timeout_s: float = 20.0, stream: bool = False) -> CallFailed:
    """Return how one call to *url* fails."""
    provider = open_provider(
        "stub", api=api, book=BOOK, clock=SystemClock(), base_url=url, api_key="sk-top-secret"
    )
    asked = ask("stub/m", "hush hush", stream=stream)
    with pytest.raises(CallFailed) as raised:
        send(provider, asked, grant(timeout_s=timeout_s))
    return raised.value


def play(stub: StubServer, scene: Scene, *, url: str = "", **more: object) -> list[CallFailed]:
    """Return how a scene fails each API's call."""
    failures: list[CallFailed] = []
    for api in APIS:
        stub.play(scene)
        failures.append(fail(api, url or stub.url, **more))  # pyright: ignore[reportArgumentType]
        assert len(stub.requests) == 1, "one call is one attempt"
    return failures


#: status, the error's words -> billed, retryable
STATUSES: list[tuple[int, dict[str, str], str, bool]] = [
    (400, {"type": "invalid_request_error"}, "no", False),
    (400, {"code": "content_filter"}, "unknown", False),
    (401, {"type": "authentication_error"}, "no", False),
    (402, {"type": "billing_error"}, "no", False),
    (403, {"type": "permission_error"}, "no", False),
    (404, {"code": "model_not_found"}, "no", False),
    (405, {}, "no", False),
    (408, {"type": "timeout"}, "unknown", True),
    (409, {"type": "conflict_error"}, "no", True),
    (413, {"type": "request_too_large"}, "no", False),
    (418, {"type": "teapot"}, "unknown", False),
    (422, {"type": "unprocessable"}, "no", False),
    (429, {"type": "rate_limit_error"}, "no", True),
    (429, {"code": "insufficient_quota"}, "no", False),
    (500, {"type": "api_error"}, "unknown", True),
    (502, {}, "unknown", True),
    (503, {"type": "overloaded"}, "no", True),
    (503, {"status": "UNAVAILABLE"}, "no", True),
    (503, {}, "unknown", True),
    (504, {"type": "timeout_error"}, "unknown", True),
    (529, {"type": "overloaded_error"}, "no", True),
]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_status_says_whether_the_call_was_billed(
    stub: StubServer,
    api: SpokenApi,
    stream: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Rejections before any work cost nothing; whatever may have worked is of unknown cost."""
    stub.play(*(error(status, words) for status, words, _, _ in STATUSES))
    base_url = stub.url
    opened = open_provider("stub", api=api, book=BOOK, clock=SystemClock(), base_url=base_url)

    async def fail_all() -> list[tuple[int | None, str, bool]]:
        seen: list[tuple[int | None, str, bool]] = []
        for _ in STATUSES:
            with pytest.raises(CallFailed) as raised:
                await opened.call(ask("stub/m", stream=stream)).send(grant())
            seen.append((raised.value.status, raised.value.billed, raised.value.retryable))
        await opened.aclose()
        return seen

    assert asyncio.run(fail_all()) == [(status, *known) for status, _, *known in STATUSES]
    assert len(stub.requests) == len(STATUSES), "one call is one attempt"


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_gets_neither_key_nor_prompt(
    stub: StubServer,
    api: SpokenApi,
    stream: bool,  # noqa: FBT001 - a column of the table
    status: int,
) -> None:
    """A reply does not decide which server gets them: nobody else is asked, and the call fails."""
    with StubServer() as elsewhere:
        elsewhere.play(Scene(status=500))
        stub.play(Scene(status=status, headers={"location": f"{elsewhere.url}/v1/messages"}))
        base_url = stub.url
        opened = open_provider(
            "stub", api=api, book=BOOK, clock=SystemClock(), base_url=base_url, api_key="sk-mine"
        )

        async def fail() -> CallFailed:
            with pytest.raises(CallFailed) as raised:
                await opened.call(ask("stub/m", stream=stream)).send(grant())
            await opened.aclose()
            return raised.value

        failed = asyncio.run(fail())
        assert (failed.status, failed.billed, failed.retryable) == (status, "unknown", False)
        assert (len(stub.requests), elsewhere.requests) == (1, [])


@pytest.mark.parametrize(
    ("host", "billed"),
    [
        ("acme.openai.azure.com", "unknown"),
        ("ACME.openai.AZURE.com", "unknown"),
        ("acme.openai.azure.com:8443", "unknown"),
        ("acme.openai.azure.com.", "unknown"),
        ("acme.openai.azure.us", "unknown"),
        ("azure.com.example", "no"),
        ("notazure.com", "no"),
    ],
)
def test_a_400_of_azure_may_have_been_billed(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch, host: str, billed: str
) -> None:
    """Its filter reads the input, however its name is written; its host is asked over a proxy."""
    monkeypatch.setenv("HTTP_PROXY", stub.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for failed in play(stub, error(400, {"code": "BadRequest"}), url=f"http://{host}"):
        assert failed.billed == billed
    headers: dict[str, str] = {}
    how = Rejection(provider="p", host=host, status=400, headers=headers, body="")
    assert http_failure(how).billed == billed


def test_a_proxy_answering_in_the_place_of_the_api_proves_nothing(stub: StubServer) -> None:
    """A gateway's own 503 page can follow a request that reached the provider."""
    page = Scene(status=503, body=b"upstream reset", headers={"content-type": "text/plain"})
    for failed in play(stub, page):
        assert failed.billed == "unknown"


def test_a_failure_names_no_key_and_no_prompt(stub: StubServer) -> None:
    """The provider's message can repeat what it was sent, so only its codes are passed on."""
    for failed in play(stub, error(400, {"type": "invalid_request_error"})):
        shown = f"{failed!r} {failed} {failed.__cause__!r}"
        assert "invalid_request_error" in shown
        assert "HTTP 400" in shown
        for secret in ("sk-", "hush", "authorization"):
            assert secret not in shown
    for failed in play(stub, error(400, {"type": "a prompt in the wrong place", "code": "x y"})):
        assert "prompt" not in str(failed)


def test_a_short_wait_is_passed_on_and_a_long_one_is_no_retry(stub: StubServer) -> None:
    """A provider's short `Retry-After` is exposed; an hour's makes the call not worth retrying."""
    words = {"type": "rate_limit_error"}
    for failed in play(stub, error(429, words, {"retry-after": "2"})):
        assert failed.retry_after == 2.0
        assert failed.retryable
        assert "wait 2 s" in str(failed)
    for failed in play(stub, error(429, words, {"retry-after": "3600"})):
        assert failed.retry_after is None
        assert not failed.retryable
    for failed in play(stub, error(429, words, {"x-should-retry": "false"})):
        assert not failed.retryable


def test_what_was_never_sent_was_never_billed() -> None:
    """Nobody listening, no such host, no address at all: the call cost nothing."""
    for api in APIS:
        for url in (f"http://127.0.0.1:{_unused_port()}", "http://nowhere.invalid"):
            failed = fail(api, url)
            assert failed.billed == "no"
            assert failed.retryable
            assert "cannot be reached" in str(failed)


def test_a_failed_tls_handshake_was_never_billed() -> None:
    """A server that does not speak TLS never saw the request."""
    for api in APIS:
        with _listener(b"HTTP/1.0 400 no TLS here\r\n\r\n") as port:
            assert fail(api, f"https://127.0.0.1:{port}").billed == "no"


def test_a_server_that_dies_leaves_the_cost_unknown(stub: StubServer) -> None:
    """Whether it died before or after it billed cannot be told apart from here."""
    for dies in ("before", "after"):
        billed = {"tokens": 1}
        for failed in play(stub, Scene(dies=dies, billed=billed)):
            assert failed.billed == "unknown"
            assert stub.bill == ([billed] if dies == "after" else [])


#: Five thousand tokens in are on the bill before anything is written: 0.005 USD.
COUNTED = {"input_tokens": 5000, "output_tokens": 1, "dream_tokens": 7}
BEGUN = events(["half a sen"], COUNTED, None, ends=False)
PARTS: dict[str, Scene] = {
    "lost": Scene(events=BEGUN, dies="midway"),
    "ended early": Scene(events=BEGUN),
    "no JSON": Scene(events=[*BEGUN, b"data: {\n\n"]),
    "broken off": Scene(
        events=[
            *BEGUN,
            b'event: error\ndata: {"type": "error", "error": {"type": "overloaded"}}\n\n',
        ]
    ),
    "refused": Scene(
        body=json.dumps({"model": "m", "id": "msg_1", "content": None, "usage": COUNTED}).encode()
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_failed_reply_keeps_the_counters_that_came(stub: StubServer, part: str) -> None:
    """A stream cut after its first usage, or a reply that is none, costs at least what it says."""
    scene = PARTS[part]
    stub.play(scene)
    failed = fail("anthropic", stub.url, stream=scene.events is not None)
    assert (failed.billed, failed.cost) == ("unknown", None)
    assert Money("0.005") < failed.known_cost < Money("0.006")
    assert failed.usage.get("input_tokens") == 5000
    assert failed.unknown == ("dream_tokens = 7",)
    assert (failed.model, failed.request_id) == ("m", "msg_1")


def test_an_answer_that_comes_too_late_leaves_the_cost_unknown(stub: StubServer) -> None:
    """A call that timed out is on the provider's bill all the same."""
    for api in APIS:
        held = threading.Event()
        stub.play(Scene(body=b"{}", waits=held, billed={"tokens": 1}))
        try:
            failed = fail(api, stub.url, timeout_s=2)
        finally:
            held.set()
        assert failed.billed == "unknown"
        assert stub.bill == [{"tokens": 1}]


def test_a_rejected_key_says_which_provider_to_look_at(stub: StubServer) -> None:
    """The sentence says what to do next."""
    for failed in play(stub, error(401, {"type": "authentication_error"})):
        assert "check the API key of provider 'stub'" in str(failed)


def test_an_error_survives_a_process_boundary(stub: StubServer) -> None:
    """A failure can be pickled with all it knows."""
    import pickle

    for failed in play(stub, error(429, {"type": "rate_limit_error"}, {"retry-after": "1"})):
        copy = pickle.loads(pickle.dumps(failed))  # noqa: S301 - our own bytes
        assert (copy.billed, copy.status, copy.retry_after) == ("no", 429, 1.0)


def test_a_provider_answers_again_after_a_failure(stub: StubServer) -> None:
    """One failed call does not spoil the next."""
    for api in APIS:
        body = json.dumps(DIALECTS[api].body(Content(texts=["ok"]))).encode()
        stub.play(error(500, {"type": "api_error"}), Scene(body=body))
        fail(api, stub.url)
        opened = open_provider("stub", api=api, book=BOOK, clock=SystemClock(), base_url=stub.url)
        assert send(opened, ask("stub/m")).value == "ok"


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _listener(answer: bytes) -> Generator[int]:
    """Listen for one connection, answer with plain bytes, hang up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join()
