"""A server that answers the Chat Completions and the Messages API as models do, for nothing."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from support.stub_server import chunks, completion, events, message

ANSWER: Final = ("Mars", ", or", " Venus", ".")


class ModelServer:
    """Answers with one sentence, and counts 12 tokens in and 6 out.

    A chat whose tools have not been called yet is answered by a call of the first one.
    """

    def __init__(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def variables(self) -> dict[str, str]:
        """Return the environment in which the official SDKs come here."""
        url = f"http://127.0.0.1:{self._http.server_port}"
        return {
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": "none",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "none",
        }

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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        if self.path.endswith("/count_tokens"):
            self._send(b'{"input_tokens": 12}', "application/json")
            return
        api = _messages if "messages" in self.path else _chat
        whole, stream = api(asked["model"])
        if asked.get("tools") and asked["messages"][-1]["role"] == "user":
            whole = _with_tool_call(whole, asked["tools"][0]["function"])
        if asked.get("stream"):
            self._send(stream, "text/event-stream")
        else:
            self._send(whole, "application/json")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


def _chat(model: str) -> tuple[bytes, bytes]:
    """Return the reply as a body and as a stream."""
    usage = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
    whole = completion(usage, model=model, texts=["".join(ANSWER)])
    return whole, b"".join(chunks(ANSWER, usage, model=model))


def _with_tool_call(whole: bytes, function: dict[str, Any]) -> bytes:
    """Return a chat reply that calls *function* with "Mars" for each of its parameters."""
    reply = json.loads(whole)
    arguments = dict.fromkeys(function["parameters"]["properties"], "Mars")
    called = {"name": function["name"], "arguments": json.dumps(arguments)}
    reply["choices"][0]["finish_reason"] = "tool_calls"
    reply["choices"][0]["message"] |= {
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": called}],
    }
    return json.dumps(reply).encode()


def _messages(model: str) -> tuple[bytes, bytes]:
    usage = {"input_tokens": 12, "output_tokens": 6}
    start = {"input_tokens": 12, "output_tokens": 1}
    whole = message(usage, model=model, text="".join(ANSWER))
    return whole, b"".join(events(ANSWER, start, {"output_tokens": 6}, model=model))
