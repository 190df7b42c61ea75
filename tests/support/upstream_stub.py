"""A provider behind a gateway: a real server whose next answer is set from outside, with a bill.

It writes down every request as it came, byte for byte, and what each would have cost: at the rates
of its models, for the tokens that its answer says it used, whatever becomes of the answer.
"""

import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

from support.last_resort import LAST_RESORT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one request is answered."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),)
    body: bytes = b""
    events: Sequence[bytes] | None = None
    """A stream of events instead of a body."""
    waits: Mapping[int, threading.Event] = field(default_factory=dict[int, threading.Event])
    """Before the event of that number, waits for an event to be set; -1: before the head."""
    ends: Literal["whole", "cut", "reset", "never_begun"] = "whole"
    """`cut`: the stream breaks off without its end; `reset`: so does the connection; `never_begun`:
    the connection is closed before the head."""
    length: int | None = None
    """A content-length that is not the body's; the connection is closed after the body."""
    cost: Decimal = Decimal(0)
    """What it is billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A request as it came in."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header; None where there is none."""
        return next((value for each, value in self.headers if each.lower() == name), None)

    @property
    def json(self) -> dict[str, Any]:
        """The body, decoded."""
        return json.loads(self.body)


class UpstreamStub:
    """Answers what `answers` makes of each request; set it at any time."""

    def __init__(self) -> None:
        self.answers: Callable[[Arrived], Answer] = lambda _: Answer(status=500)
        self.requests: list[Arrived] = []
        self.billed: list[Decimal] = []
        self.arrived = threading.Semaphore(0)
        """Released for each request that came."""
        self.left = threading.Event()
        """Set once a client closed its connection before its answer ended."""
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def answer(self, *answers: Answer) -> None:
        """Give these answers in order, the last one again and again."""
        waiting = list(answers)
        self.answers = lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def bill(self) -> Decimal:
        """What all requests until now cost."""
        return sum(self.billed, Decimal(0))

    def take(self, arrived: Arrived) -> Answer:
        """Write a request down, and what it costs."""
        with self._lock:
            self.requests.append(arrived)
            answer = self.answers(arrived)
            self.billed.append(answer.cost)
        self.arrived.release()
        return answer

    def wait_for_request(self) -> None:
        """Return once a request came, for each call another one."""
        assert self.arrived.acquire(timeout=LAST_RESORT_S), "no request came"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


class _Handler(BaseHTTPRequestHandler):
    stub: UpstreamStub
    protocol_version = "HTTP/1.1"
    # Headers and body are two packets, and waiting to merge them takes 40 ms.
    disable_nagle_algorithm = True

    def _take(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        arrived = Arrived(
            method=self.command,
            path=self.path,
            headers=self.headers.items(),
            body=self.rfile.read(length),
        )
        answer = self.stub.take(arrived)
        self._wait(answer, -1)
        if answer.ends == "never_begun":
            self._drop()
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.events is None:
            stated = len(answer.body) if answer.length is None else answer.length
            self.send_header("content-length", str(stated))
            self.end_headers()
            self.close_connection |= answer.length is not None
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._stream(answer)

    do_POST = do_GET = do_HEAD = do_DELETE = _take  # noqa: N815 - the base's names

    def _stream(self, answer: Answer) -> None:
        for number, event in enumerate(answer.events or ()):
            self._wait(answer, number)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        if answer.ends == "reset":
            self._drop()
        elif answer.ends == "cut":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _wait(self, answer: Answer, number: int) -> None:
        gate = answer.waits.get(number)
        if gate is not None and not self._left_before(gate):
            self.stub.left.set()
            raise ConnectionError

    def _left_before(self, gate: threading.Event) -> bool:
        """Return whether *gate* was set; not where the client closed its connection before."""
        self.connection.settimeout(0.01)
        try:
            while not gate.is_set():
                try:
                    if not self.connection.recv(1, socket.MSG_PEEK):
                        return False
                except TimeoutError:
                    continue
                except OSError:
                    return False
                return gate.wait(LAST_RESORT_S)
        finally:
            self.connection.settimeout(None)
        return True

    def _drop(self) -> None:
        # Sends a reset, as a dying host does, so that the client cannot take it for an end.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            # The client went away, or `_drop` closed the connection under the handler.
            self.stub.left.set()
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


# Answers, and what they cost ----------------------------------------------------------------------

STREAM = (("content-type", "text/event-stream"),)


def cost(tokens_in: int, tokens_out: int, *, rates: tuple[str, str]) -> Decimal:
    """Return what so many tokens cost at *rates*, in USD per million."""
    million = Decimal(1_000_000)
    return (tokens_in * Decimal(rates[0]) + tokens_out * Decimal(rates[1])) / million


def event(data: Mapping[str, Any] | str, name: str = "") -> bytes:
    """Return one event as it is sent."""
    text = data if isinstance(data, str) else json.dumps(data)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode()
