"""Stages behind a URL, on a real HTTP server: what is sent, what is read, what it costs."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest

from earmark.admission.call import Grant, Reply
from earmark.errors import CallFailed, InvalidStage
from earmark.money import Money
from earmark.stages.kinds.kind import Tools
from earmark.stages.kinds.remote import ANSWER_LIMIT_BYTES, remote_stage
from support.last_resort import LAST_RESORT_S


async def _quiet(_: int) -> None:
    """Nothing grows."""


class Server:
    """A remote that answers as told and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.location = ""
        self.body: Any = {"ok": True, "data": {"output": "out"}}
        self.asked: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.released = threading.Event()
        self.released.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if self.path != outer.path:
                    # A client of somebody else's, whose own server had this port before.
                    self.send_error(404)
                    return
                size = int(self.headers["Content-Length"])
                outer.asked.append((json.loads(self.rfile.read(size)), dict(self.headers)))
                outer.released.wait(LAST_RESORT_S)
                body = (
                    outer.body if isinstance(outer.body, bytes) else json.dumps(outer.body).encode()
                )
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(body)))
                if outer.location:
                    self.send_header("Location", outer.location)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.path = f"/stage/{uuid4()}"
        self.url = f"http://127.0.0.1:{self._server.server_port}{self.path}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A remote."""
    made = Server()
    yield made
    made.close()


def post(url: str, value: Any = None, *, cost: str | None = "0.10", timeout: float = 30.0) -> Reply:
    """Call the remote stage at *url* once."""

    async def main() -> Reply:
        tools = Tools()
        grant = Grant(
            max_output_tokens=None, timeout_s=timeout, available=Money("0.10"), produced=_quiet
        )
        try:
            return await remote_stage("r", url, cost=cost).call(value, tools).send(grant)
        finally:
            await tools.aclose()

    return asyncio.run(main())


def fail(url: str, **options: Any) -> CallFailed:
    """Call the remote stage, which must fail."""
    with pytest.raises(CallFailed) as caught:
        post(url, **options)
    return caught.value


def test_input_and_remaining_budget_are_sent(server: Server) -> None:
    """A remote gets the input, and what it may spend in the body and in a header."""
    reply = post(server.url, {"text": "ü"})
    ((body, headers),) = server.asked
    assert body == {"input": {"text": "ü"}, "budget_usd": "0.1"}
    assert headers["Earmark-Budget-Usd"] == "0.1"
    assert reply.value == "out"


@pytest.mark.parametrize(
    ("data", "cost"),
    [
        ({"spent_usd": "0.0123"}, Money("0.0123")),
        ({"spent_usd": "0"}, Money()),
        ({"spent_cents": 3}, Money("0.03")),
        ({"spent_cents": 0}, Money()),
        ({"spent_usd": "0.5", "spent_cents": 1}, Money("0.5")),
        ({}, None),
        ({"spent_usd": 0.5}, None),
        ({"spent_usd": "-1"}, None),
        ({"spent_usd": "much"}, None),
        ({"spent_cents": -1}, None),
        ({"spent_cents": 0.5}, None),
        ({"spent_cents": True}, None),
        ({"spent_cents": 10**30}, None),
    ],
    ids=str,
)
def test_what_the_remote_reports_is_its_cost(server: Server, data: Any, cost: Any) -> None:
    """A report is believed in full; no report, or one that makes no sense, is an unknown cost."""
    server.body = {"ok": True, "data": {"output": 1, **data}}
    reply = post(server.url)
    assert (reply.value, reply.cost) == (1, cost)
    assert bool(reply.note) == (cost is None)


def test_cost_beside_the_data_is_read_too(server: Server) -> None:
    """A remote may report at the top of its answer."""
    server.body = {"ok": True, "data": {"output": 1}, "spent_usd": "0.02"}
    assert post(server.url).cost == Money("0.02")


def test_remote_declared_free_that_reports_nothing_cost_nothing(server: Server) -> None:
    """A declared cost of 0 is known, so that nothing is presumed."""
    assert post(server.url, cost="0").cost == Money()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"ok": False, "error": "no coins"}, "no coins"),
        ({"ok": False, "error": {"code": "E7", "message": "no coins"}}, "E7: no coins"),
        ({"ok": False, "error": {"message": "no coins"}}, "no coins"),
        ({"ok": False, "error": {"why": 1}}, '{"why":1}'),
        ({"ok": False}, "it reported a failure and gave no reason"),
        ({"ok": True}, "the answer has no data.output"),
        ({"ok": True, "output": 1}, "the answer has no data.output"),
        ([1], "the answer is not a JSON object"),
        (b"<html>", "the answer is not JSON"),
        (b'{"data": {"output": NaN}}', "the answer is not JSON: NaN is not JSON"),
    ],
    ids=str,
)
def test_failure_of_the_remote_is_read_properly(server: Server, body: Any, detail: str) -> None:
    """Errors as text, as objects, or as nonsense give one clear reason; the cost is unknown."""
    server.body = body
    failure = fail(server.url)
    assert failure.detail.startswith(detail)
    assert (failure.billed, failure.retryable) == ("unknown", True)


def test_failure_that_reports_its_cost_is_charged_that(server: Server) -> None:
    """A remote that failed halfway is charged what it says it spent."""
    server.body = {"ok": False, "error": "halfway", "data": {"spent_usd": "0.04"}}
    failure = fail(server.url)
    assert (failure.billed, failure.cost) == ("yes", Money("0.04"))


@pytest.mark.parametrize(
    ("status", "billed", "retryable"),
    [
        (400, "no", False),
        (401, "no", False),
        (402, "unknown", False),
        (404, "no", False),
        (429, "no", True),
        (500, "unknown", True),
        (503, "unknown", True),
        (302, "unknown", False),
    ],
)
def test_http_status_decides(server: Server, status: int, billed: str, retryable: Any) -> None:
    """An answer with a status that is no success is a failure, even if its body says ok."""
    server.status = status
    failure = fail(server.url)
    assert (failure.billed, failure.retryable, failure.status) == (billed, retryable, status)
    assert failure.detail.startswith(f"HTTP {status}")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_remote_does_not_pass_its_input_on(server: Server, status: int) -> None:
    """A redirect is no answer: the address that it names is never asked."""
    elsewhere = Server()
    try:
        server.status, server.location = status, elsewhere.url
        assert fail(server.url).status == status
        assert (len(server.asked), elsewhere.asked) == (1, [])
    finally:
        elsewhere.close()


def test_remote_that_is_not_there_costs_nothing(server: Server) -> None:
    """What was never reached was not billed, and may be tried again."""
    server.close()
    failure = fail(server.url)
    assert (failure.billed, failure.retryable) == ("no", True)


def test_remote_that_does_not_answer_may_have_cost_anything(server: Server) -> None:
    """After the time-out nobody knows what the remote did."""
    server.released.clear()
    failure = fail(server.url, timeout=2)
    assert (failure.billed, failure.retryable) == ("unknown", True)


def test_endless_answer_is_cut(server: Server) -> None:
    """A remote cannot fill the memory."""
    server.body = b"x" * (ANSWER_LIMIT_BYTES + 1)
    assert "more than" in fail(server.url).detail


@pytest.mark.parametrize("url", ["ftp://x/y", "http://", "file:///etc/passwd", "", "x"])
def test_only_http_addresses_are_called(url: str) -> None:
    """Anything else is refused where the stage is declared."""
    with pytest.raises(InvalidStage):
        remote_stage("r", url)


def test_password_in_an_address_is_not_shown() -> None:
    """What an address may hold of secrets stays out of errors."""
    with pytest.raises(InvalidStage) as caught:
        remote_stage("r", "ftp://me:hunter2@host/x?key=hunter2")
    assert "hunter2" not in str(caught.value)


def test_calls_share_one_connection_pool(server: Server) -> None:
    """All remote stages of a run use one client, closed at its end."""

    async def main() -> Any:
        tools = Tools()
        made = remote_stage("r", server.url)
        grant = Grant(max_output_tokens=None, timeout_s=30.0, available=Money(), produced=_quiet)
        sends: list[Callable[[], Any]] = [lambda: made.call(1, tools).send(grant)] * 3
        await asyncio.gather(*(each() for each in sends))
        client = tools.http(lambda: pytest.fail("made twice"))
        await tools.aclose()
        return client.is_closed

    assert asyncio.run(main()) is True
