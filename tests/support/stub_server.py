"""A small HTTP server that plays scenes: real usage bodies, and every way a provider can fail.

It keeps its own bill, so that a ledger can be compared with what a provider would charge.
"""

import json
import socket
import struct
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

from support.last_resort import LAST_RESORT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What happens to one request."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[bytes] | None = None
    """An event stream instead of a body."""
    billed: Mapping[str, Any] | None = None
    """What the provider charges, whatever it then says."""
    dies: Literal["never", "before", "after", "midway"] = "never"
    """Drops the connection: before it bills, after it, or after the last event of a stream."""
    waits: threading.Event | None = None
    """Holds the answer back until somebody sets it; the bill is written before."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: Mapping[str, Any]


class StubServer:
    """Plays its scenes in order, the last one again and again."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = [Scene(status=500)]
        self.requests: list[Received] = []
        self.bill: list[Mapping[str, Any]] = []
        self.arrived = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def play(self, *scenes: Scene) -> Self:
        """Play these scenes from now on; forget what came before."""
        self.scenes = list(scenes)
        self.requests.clear()
        self.bill.clear()
        self.arrived.clear()
        return self

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def next_scene(self, received: Received) -> Scene:
        """Take note of a request and return what happens to it."""
        self.requests.append(received)
        return self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]

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


def _handler(stub: StubServer) -> type[BaseHTTPRequestHandler]:
    # http.server makes a handler for each connection, and gives it nothing but the connection.
    return type("Handler", (_Handler,), {"stub": stub})


class _Handler(BaseHTTPRequestHandler):
    stub: StubServer
    protocol_version = "HTTP/1.1"
    # Headers and body are two packets, and waiting to merge them takes 40 ms.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        body = json.loads(self.rfile.read(length) or b"{}")
        scene = self.stub.next_scene(
            Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        )
        if scene.dies == "before":
            self._drop()
            return
        if scene.billed is not None:
            self.stub.bill.append(scene.billed)
        self.stub.arrived.set()
        if scene.waits is not None:
            scene.waits.wait(LAST_RESORT_S)
        if scene.dies == "after":
            self._drop()
        elif scene.events is None:
            self._answer(scene)
        else:
            self._stream(scene)

    def _answer(self, scene: Scene) -> None:
        self.send_response(scene.status)
        for name, value in {"content-type": "application/json", **scene.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(scene.body)))
        self.end_headers()
        self.wfile.write(scene.body)

    def _stream(self, scene: Scene) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in scene.events or ():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        if scene.dies == "midway":
            self._drop()
        else:
            self.wfile.write(b"0\r\n\r\n")

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
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


# Bodies in the forms the providers document ------------------------------------------------------


def completion(
    usage: Mapping[str, Any] | None,
    *,
    model: str = "m",
    texts: Sequence[str] = ("ok",),
    **more: Any,
) -> bytes:
    """Return a Chat Completions body."""
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
            for index, text in enumerate(texts)
        ],
        **more,
    }
    return json.dumps(body if usage is None else {**body, "usage": usage}).encode()


def chunks(
    pieces: Sequence[str],
    usage: Mapping[str, Any] | None,
    *,
    model: str = "m",
    finish: str | None = "stop",
) -> list[bytes]:
    """Return the events of a Chat Completions stream; without *finish* it ends half-way."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    deltas = [{"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in pieces]
    bodies: list[dict[str, Any]] = [{**head, "choices": [delta]} for delta in deltas]
    if finish is None:
        return [_event(body) for body in bodies]
    bodies.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage is not None:
        bodies.append({**head, "choices": [], "usage": usage})
    return [*(_event(body) for body in bodies), b"data: [DONE]\n\n"]


def message(usage: Mapping[str, Any] | None, *, model: str = "m", text: str = "ok") -> bytes:
    """Return a Messages API body."""
    body: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
    }
    return json.dumps(body if usage is None else {**body, "usage": usage}).encode()


def events(
    pieces: Sequence[str],
    start: Mapping[str, Any],
    end: Mapping[str, Any] | None,
    *,
    model: str = "m",
    ends: bool = True,
) -> list[bytes]:
    """Return the events of a Messages API stream; *start* and *end* are its two usage blocks."""
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
    bodies: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**head, "content": [], "usage": start}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": piece},
            }
            for piece in pieces
        ),
    ]
    if ends:
        last: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
        bodies += [
            {"type": "content_block_stop", "index": 0},
            last if end is None else {**last, "usage": end},
            {"type": "message_stop"},
        ]
    return [_event(body, str(body["type"])) for body in bodies]


def error(status: int, words: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Scene:
    """Return a scene in which the API rejects the request in its error form."""
    return Scene(
        status=status,
        body=json.dumps({"error": {"message": "key sk-1, prompt: hush", **words}}).encode(),
        headers=headers or {},
    )


def _event(body: Mapping[str, Any], name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(body)}\n\n".encode()


@contextmanager
def watched(events: list[bytes]) -> Generator[tuple[str, threading.Event]]:
    """Serve one endless stream that begins with *events*; the event is set when its client goes."""
    gone = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(LAST_RESORT_S)
                head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
                connection.sendall(head + b"".join(events))
                while connection.recv(1 << 16):
                    pass
                gone.set()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", gone
        thread.join(LAST_RESORT_S)
