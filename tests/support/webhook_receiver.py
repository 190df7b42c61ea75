"""A receiver of webhooks: a real server that checks each signature as a stranger would."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from support.last_resort import LAST_RESORT_S

SECRET = bytes(range(24))


@dataclass(frozen=True, slots=True)
class Post:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes
    signed: bool
    """Whether its signature is that of the shared secret."""

    @property
    def event(self) -> Any:
        """The body as the JSON it is."""
        return json.loads(self.body)


@dataclass(slots=True)
class Receiver:
    """Accepts what is posted to it, or answers as it is told."""

    answers: list[tuple[int, Mapping[str, str]]] = field(
        default_factory=list[tuple[int, Mapping[str, str]]]
    )
    """Status and headers of the next answers; then 204."""
    posts: list[Post] = field(default_factory=list[Post])
    arrived: threading.Event = field(default_factory=threading.Event)
    holds: threading.Event | None = None
    """While given and not set, answers wait for it."""
    _http: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._http is not None
        return self._http.server_port

    @property
    def url(self) -> str:
        """The address to post to."""
        return f"http://127.0.0.1:{self.port}/hooks/T0KEN"

    def ids(self) -> list[str]:
        """Return the ids of the events in the order they came."""
        return [post.event["id"] for post in self.posts]

    def start(self, port: int = 0) -> Self:
        """Listen, at *port* if it is given."""
        handler = type("Handler", (_Handler,), {"receiver": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Listen no more: who connects is refused."""
        assert self._http is not None
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.holds is not None:
            self.holds.set()
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        self.receiver.posts.append(Post(self.path, headers, body, _is_signed(headers, body)))
        self.receiver.arrived.set()
        if self.receiver.holds is not None:
            self.receiver.holds.wait(LAST_RESORT_S)
        status, more = self.receiver.answers.pop(0) if self.receiver.answers else (204, {})
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def handle(self) -> None:
        """Serve a connection; a client that goes away is nothing to print."""
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's word
        """Print nothing."""


def _is_signed(headers: Mapping[str, str], body: bytes) -> bool:
    content = b".".join(
        (
            headers.get("webhook-id", "").encode(),
            headers.get("webhook-timestamp", "").encode(),
            body,
        )
    )
    wanted = base64.b64encode(hmac.new(SECRET, content, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in headers.get("webhook-signature", "").split(" ")
