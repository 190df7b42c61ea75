"""The provider behind the gateways that are measured: raw sockets, and a bill of its own.

    python -m benchmarks.gateway_upstream

Serves chat completions on a free port, which it prints, and answers at once, or as it is told by
`POST /control`. A completion costs one US dollar: 100 tokens of output at `OUTPUT_USD` a million.
It is billed when its request has arrived, whatever becomes of the answer.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MODEL: Final = "gpt-4o-mini"
TOKENS: Final = 100
"""Of output, in each answer; of input 12, which cost nothing."""
OUTPUT_USD: Final = 10_000
#: Of the free endpoint, by which a gateway's requests are measured that hold nothing.
FREE: Final = "input_tokens"

_USAGE: Final = {"prompt_tokens": 12, "completion_tokens": TOKENS, "total_tokens": 12 + TOKENS}
_BASE: Final[Mapping[str, Any]] = {"id": "chatcmpl-1", "created": 1700000000, "model": MODEL}
_WHOLE: Final = json.dumps(
    {
        **_BASE,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Mars."},
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    }
).encode()


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


_ANSWER: Final = _answer(_WHOLE)
_STREAM: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _chunk(data: Mapping[str, Any] | str) -> bytes:
    text = data if isinstance(data, str) else json.dumps({**_BASE, **data})
    event = f"data: {text}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


def _delta(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return _chunk({"object": "chat.completion.chunk", "choices": [choice]})


_DELTA: Final = _delta(" word")
_END: Final = b"".join(
    [
        _delta("", "stop"),
        _chunk({"object": "chat.completion.chunk", "choices": [], "usage": _USAGE}),
        _chunk("[DONE]"),
        b"0\r\n\r\n",
    ]
)


@dataclass(slots=True)
class Bill:
    """What it did, and what it does next."""

    calls: int = 0
    """Completions that were asked for: a dollar each."""
    holds: bool = False
    """Whether answers wait until they are released."""
    chunks: int = 10
    pause_s: float = 0.0
    """Before each chunk of a stream."""
    waiting: "list[UpstreamConnection]" = field(default_factory=list)

    def control(self, told: Mapping[str, Any]) -> None:
        """Do as *told* from now on."""
        self.chunks = told.get("chunks", self.chunks)
        self.pause_s = told.get("pause_s", self.pause_s)
        self.holds = told.get("holds", self.holds)
        self.calls = told.get("calls", self.calls)
        if not self.holds:
            released, self.waiting = self.waiting, []
            for each in released:
                each.answer()


class UpstreamConnection(asyncio.Protocol):
    """One connection: one request after another."""

    def __init__(self, bill: Bill) -> None:
        self._bill = bill
        self._received = b""
        self._left = 0
        self._streams = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read on; answer a request that is complete."""
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = _length(head)
        if length is None:
            if not rest.endswith(b"0\r\n\r\n"):
                return
        elif len(rest) < length:
            return
        self._received = b""
        self._take(head, rest)

    def _take(self, head: bytes, body: bytes) -> None:
        line = head.partition(b"\r\n")[0]
        if line.startswith((b"GET /bill", b"POST /control")):
            if body:
                self._bill.control(json.loads(body))
            told = {"calls": self._bill.calls, "waiting": len(self._bill.waiting)}
            self._transport.write(_answer(json.dumps(told).encode()))
            return
        if FREE.encode() in line:
            self._transport.write(_ANSWER)
            return
        self._bill.calls += 1
        self._streams = b'"stream":true' in body or b'"stream": true' in body
        if self._bill.holds:
            self._bill.waiting.append(self)
        else:
            self.answer()

    def answer(self) -> None:
        """Answer the request that came."""
        if not self._streams:
            self._transport.write(_ANSWER)
            return
        self._left = self._bill.chunks
        self._transport.write(_STREAM)
        self._next()

    def _next(self) -> None:
        if self._transport.is_closing():
            return
        if not self._left:
            self._transport.write(_END)
            return
        self._left -= 1
        self._transport.write(_DELTA)
        asyncio.get_running_loop().call_later(self._bill.pause_s, self._next)


def _length(head: bytes) -> int | None:
    """Return the length of a request's body; `None` where it comes in chunks."""
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return None
    text = lower.partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
    return int(text or b"0")


async def _serve() -> None:
    bill = Bill()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: UpstreamConnection(bill), "127.0.0.1", 0, backlog=4096
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
