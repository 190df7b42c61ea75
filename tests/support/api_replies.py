"""Short replies in the form of each model API, streamed or not, for clients that are recorded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

TEXT: Final = "hi"
JSON_TYPE: Final = "application/json"
STREAM_TYPE: Final = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered to one request."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that is answered once, so that the client sends its result."""

    name: str
    arguments: Mapping[str, Any] | str
    """A text calls a custom tool of the Responses API."""


def reply_to(method: str, path: str, body: Mapping[str, Any], call: ToolCall | None) -> Reply:
    """Return a plausible reply to a client's request; a GET of `/responses` is told to use POST."""
    place = path.partition("?")[0]
    reply = _json({})
    if place.endswith("/responses") and method == "GET":
        reply = _json({"error": {"message": "websockets are not supported"}}, status=426)
    elif method != "POST":
        reply = _json({"data": [], "object": "list", "has_more": False})
    elif place.endswith("/messages/count_tokens"):
        reply = _json({"input_tokens": 10})
    elif place.endswith((":generateContent", ":streamGenerateContent")):
        reply = _gemini(streams="stream" in place)
    for end, answer in _ANSWERS.items():
        if method == "POST" and place.endswith(end):
            reply = answer(body, call)
    return reply


def _message(body: Mapping[str, Any], call: ToolCall | None) -> Reply:
    block: dict[str, Any] = {"type": "text", "text": TEXT}
    pieces = {"type": "text_delta", "text": TEXT}
    empty: dict[str, Any] = {"type": "text", "text": ""}
    if call is not None:
        empty = {"type": "tool_use", "id": "toolu_1", "name": call.name, "input": {}}
        block = {**empty, "input": call.arguments}
        pieces = {"type": "input_json_delta", "partial_json": json.dumps(call.arguments)}
    head: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", ""),
        "stop_sequence": None,
    }
    stop = "end_turn" if call is None else "tool_use"
    usage = {"input_tokens": 10, "output_tokens": 2}
    if not body.get("stream"):
        return _json({**head, "content": [block], "stop_reason": stop, "usage": usage})
    start = {**head, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    return _named_events(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": pieces},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage},
        {"type": "message_stop"},
    )


def _response(body: Mapping[str, Any], call: ToolCall | None) -> Reply:
    part = {"type": "output_text", "text": TEXT, "annotations": []}
    item: dict[str, Any] = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    if call is not None and isinstance(call.arguments, str):
        item = {
            "type": "custom_tool_call",
            "id": "ctc_1",
            "call_id": "call_1",
            "name": call.name,
            "input": call.arguments,
            "status": "completed",
        }
    elif call is not None:
        item = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": call.name,
            "arguments": json.dumps(call.arguments),
            "status": "completed",
        }
    response: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": body.get("model", ""),
        "status": "completed",
        "output": [item],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "usage": {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12},
    }
    if not body.get("stream"):
        return _json(response)
    started = {**response, "status": "in_progress", "output": [], "usage": None}
    return _named_events(
        {"type": "response.created", "sequence_number": 0, "response": started},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "sequence_number": 3, "response": response},
    )


def _completion(body: Mapping[str, Any], call: ToolCall | None) -> Reply:
    message: dict[str, Any] = {"role": "assistant", "content": TEXT}
    if call is not None:
        function = {"name": call.name, "arguments": json.dumps(call.arguments)}
        called = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": called}
    finish = "stop" if call is None else "tool_calls"
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    head = {"id": "chatcmpl-1", "created": 1, "model": body.get("model", "")}
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish}
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        return _json(whole)
    head["object"] = "chat.completion.chunk"
    chunks: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": usage})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return Reply(200, STREAM_TYPE, "".join([*lines, "data: [DONE]\n\n"]).encode())


def _gemini(*, streams: bool) -> Reply:
    whole = {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": TEXT}]}, "finishReason": "STOP"}
        ],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12},
    }
    if streams:
        return Reply(200, STREAM_TYPE, f"data: {json.dumps(whole)}\r\n\r\n".encode())
    return _json(whole)


def _json(body: Mapping[str, Any], *, status: int = 200) -> Reply:
    return Reply(status, JSON_TYPE, json.dumps(body).encode())


def _named_events(*events: Mapping[str, Any]) -> Reply:
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    return Reply(200, STREAM_TYPE, "".join(lines).encode())


_ANSWERS: Final[Mapping[str, Callable[[Mapping[str, Any], ToolCall | None], Reply]]] = {
    "/messages": _message,
    "/responses": _response,
    "/chat/completions": _completion,
}
