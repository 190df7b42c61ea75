"""Clients of a gateway that cost next to nothing: plain sockets, one thread, one `epoll`."""

import json
import select
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from benchmarks.figure import quantile
from earmark.clock import NANOS_PER_SECOND

#: Seconds without an answer after which the rest is given up.
PATIENCE_S: Final = 60.0
#: How often what is to happen meanwhile is seen to.
_BETWEEN_S: Final = 0.05
_CHUNKED: Final = b"transfer-encoding: chunked"
_LENGTH: Final = b"content-length: "
_CHUNKS_END: Final = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a gateway answers, and what its clients say."""

    url: str
    pid: int = 0
    """Of its process; 0 where nobody asks."""
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def request(self, body: bytes, path: str = "") -> bytes:
        """Return a request with *body* as its bytes."""
        lines = [
            f"POST {path or self.path} HTTP/1.1",
            f"host: {urlsplit(self.url).netloc}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Answers:
    """What came back."""

    statuses: dict[int, int] = field(default_factory=dict[int, int])
    """How many of each; 0 for a connection that was closed before its answer ended."""
    times_ns: list[int] = field(default_factory=list[int])
    """Of each answer, from its request on."""
    took_ns: int = 0
    last: bytes = b""
    """The last answer, whole."""

    def note(self, found: bytes, took_ns: int) -> None:
        """Count the answer *found*, empty for one that broke off."""
        status = int(found[9:12]) if found else 0
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.times_ns.append(took_ns)
        self.last = found

    @property
    def done(self) -> int:
        """How many succeeded."""
        return self.statuses.get(200, 0)

    @property
    def count(self) -> int:
        """How many came, whatever they say."""
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Successes per second."""
        return self.done * NANOS_PER_SECOND / self.took_ns

    @property
    def p50_ns(self) -> int:
        """The time within which half of them came."""
        return quantile(sorted(self.times_ns), 0.5)


class _Client:
    """One connection."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self.socket = socket.create_connection((place.hostname, place.port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parts: list[bytes] = []
        self._end = -1
        """How many bytes the answer has; -1 while that is not known, -2 if it comes in chunks."""
        self._size = 0
        self.began = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        self._parts, self._size, self._end = [], 0, -1
        self.began = perf_counter_ns()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Return the answer if it is whole; empty if the connection was closed before."""
        try:
            data = self.socket.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            return b""
        self._parts.append(data)
        self._size += len(data)
        if self._end == -1:
            whole = b"".join(self._parts)
            self._parts = [whole]
            head, found, _ = whole.partition(b"\r\n\r\n")
            if found:
                self._end = _end_of(head)
        if self._end == -2:
            end = len(_CHUNKS_END)
            tail = data if len(data) >= end else b"".join(self._parts[-end:])
            return b"".join(self._parts) if tail.endswith(_CHUNKS_END) else None
        return b"".join(self._parts) if 0 <= self._end <= self._size else None


def _end_of(head: bytes) -> int:
    lower = head.lower()
    if _CHUNKED in lower:
        return -2
    length = int(lower.partition(_LENGTH)[2].partition(b"\r\n")[0] or b"0")
    return len(head) + 4 + length


def ask(
    url: str,
    request: bytes,
    *,
    connections: int,
    seconds: float = 0.0,
    each: int = 1,
    between: Callable[[Answers], bool] | None = None,
) -> Answers:
    """Send *request* again and again on so many connections; return what came back.

    Args:
        url: Where to.
        request: Its bytes.
        connections: How many are open at a time, each with one request under way.
        seconds: For how long new ones are sent.
        each: How many are sent on each connection at least.
        between: Called every twentieth of a second; what is under way is left once it is true.
    """
    with ExitStack() as stack:
        poll = stack.enter_context(closing(select.epoll()))
        load = _Load(request=request, each=each, poll=poll)
        for _ in range(connections):
            load.add(stack.enter_context(_Client(url)))
        return load.run(seconds, between)


class _Load:
    """Connections, and how far each of them is."""

    def __init__(self, *, request: bytes, each: int, poll: select.epoll) -> None:
        self._request = request
        self._each = each
        self._poll = poll
        self._clients: dict[int, _Client] = {}
        self._left: dict[int, int] = {}
        self._ends = 0
        self._answers = Answers()

    def add(self, client: "_Client") -> None:
        number = client.socket.fileno()
        self._poll.register(number, select.EPOLLIN)
        self._clients[number], self._left[number] = client, self._each

    def run(self, seconds: float, between: Callable[[Answers], bool] | None) -> Answers:
        began = heard = perf_counter_ns()
        self._ends = began + int(seconds * NANOS_PER_SECOND)
        for client in self._clients.values():
            client.send(self._request)
        while self._left:
            events = self._poll.poll(_BETWEEN_S if between else PATIENCE_S)
            now = perf_counter_ns()
            heard = now if events else heard
            given_up = now - heard > PATIENCE_S * NANOS_PER_SECOND
            if given_up or (between and between(self._answers)):
                break
            for number, _ in events:
                self._receive(number)
        self._answers.took_ns = perf_counter_ns() - began
        return self._answers

    def _receive(self, number: int) -> None:
        client = self._clients[number]
        found = client.receive()
        if found is None:
            return
        now = perf_counter_ns()
        self._answers.note(found, now - client.began)
        self._left[number] -= 1
        if found and (self._left[number] > 0 or now < self._ends):
            client.send(self._request)
        else:
            self._poll.unregister(number)
            del self._left[number]


def get_json(door: Door, path: str, told: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
    """Return the JSON that *path* answers; posts *told* where that is given."""
    body = b"" if told is None else json.dumps(told).encode()
    request = door.request(body, path)
    if told is None:
        request = request.replace(b"POST", b"GET", 1)
    answers = ask(door.url, request, connections=1)
    if answers.done != 1:
        raise RuntimeError(f"{path}: {answers.statuses} {answers.last[:300]!r}")
    body = answers.last.partition(b"\r\n\r\n")[2]
    return json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])


# A process, as the system sees it -----------------------------------------------------------------


def cpu_ns(pid: int) -> int:
    """Return the processor time that the threads of a process have taken."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks.iterdir())


def memory(pid: int, which: str = "VmRSS") -> int:
    """Return the bytes of memory that a process has; `VmHWM` for the most it ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the system does not say {which}")
