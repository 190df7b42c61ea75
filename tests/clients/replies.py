"""Replies of a provider in the form of each model API, whole or as events, as long as wanted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from support.upstream_stub import STREAM, Arrived, event

Api = Literal["openai", "openai-responses", "anthropic", "gemini"]
PIECES: Final = ("One ", "two ", "three.")
_PLACES: Final[Mapping[str, Api]] = {
    "/chat/completions": "openai",
    "/responses": "openai-responses",
    "/messages": "anthropic",
    ":generateContent": "gemini",
    ":streamGenerateContent": "gemini",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks for, as far as a reply depends on it."""

    api: Api
    model: str
    stream: bool
    most_tokens: int
    """The most that it lets the reply have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered."""

    pieces: Sequence[str] = PIECES
    tokens: tuple[int, int] | None
    """What its usage says, in and out; `None` leaves the usage out."""
    model: str


def asked_by(arrived: Arrived) -> Asked | None:
    """Return what a request asks for; `None` where it is for no model's reply."""
    place = arrived.path.partition("?")[0]
    api = next((api for end, api in _PLACES.items() if place.endswith(end)), None)
    if arrived.method != "POST" or api is None:
        return None
    body = arrived.json
    config = body.get("generationConfig") or {}
    limits = [
        *(body.get(name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")),
        config.get("maxOutputTokens"),
    ]
    return Asked(
        api=api,
        model=body.get("model") or place.rpartition("/models/")[2].partition(":")[0],
        stream=bool(body.get("stream")) or "streamGenerate" in place,
        most_tokens=min(int(each) for each in limits if each is not None),
    )


def body_of(asked: Asked, reply: Reply) -> bytes:
    """Return the reply in one piece."""
    return json.dumps(_WHOLE[asked.api](reply, "".join(reply.pieces))).encode()


def events_of(asked: Asked, reply: Reply) -> list[bytes]:
    """Return the reply as events."""
    return [
        event(data, str(data.get("type", "")) if isinstance(data, dict) else "")
        for data in _EVENTS[asked.api](reply)
    ]


def headers_of(asked: Asked) -> Sequence[tuple[str, str]]:
    """Return the headers of the reply."""
    return STREAM if asked.stream else (("content-type", "application/json"),)


def error_of(api: Api, status: int) -> bytes:
    """Return the API's own error object."""
    words = f"the provider answers {status}"
    kind = {429: "rate_limit_error", 529: "overloaded_error"}.get(status, "api_error")
    if api == "gemini":
        google = {429: "RESOURCE_EXHAUSTED"}.get(status, "UNAVAILABLE")
        return json.dumps({"error": {"code": status, "message": words, "status": google}}).encode()
    error = {"type": kind, "message": words}
    return json.dumps({"type": "error", "error": error}).encode()


def _usage(reply: Reply, inside: str, out: str, total: str = "") -> dict[str, Any]:
    if reply.tokens is None:
        return {}
    usage = dict(zip((inside, out), reply.tokens, strict=True))
    return usage | ({total: sum(reply.tokens)} if total else {})


def _chat_usage(reply: Reply) -> dict[str, Any]:
    usage = _usage(reply, "prompt_tokens", "completion_tokens", "total_tokens")
    return {"usage": usage} if usage else {}


def _chat(reply: Reply, text: str) -> dict[str, Any]:
    said = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": reply.model,
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
        **_chat_usage(reply),
    }


def _chat_events(reply: Reply) -> list[Any]:
    head: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": reply.model,
    }
    deltas = [
        *(({"role": "assistant", "content": piece}, None) for piece in reply.pieces),
        ({}, "stop"),
    ]
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in deltas
    ]
    usage = _chat_usage(reply)
    return [*chunks, *([{**head, "choices": [], **usage}] if usage else []), "[DONE]"]


def _message(reply: Reply, text: str) -> dict[str, Any]:
    usage = _usage(reply, "input_tokens", "output_tokens")
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": "end_turn" if text else None,
        "stop_sequence": None,
        **({"usage": usage} if usage else {}),
    }


def _message_events(reply: Reply) -> list[Any]:
    usage = _usage(reply, "input_tokens", "output_tokens")
    start = _message(reply, "")
    if usage:
        start["usage"] = {**usage, "output_tokens": 1}
    last = {"stop_reason": "end_turn", "stop_sequence": None}
    block = {"type": "text", "text": ""}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": piece},
            }
            for piece in reply.pieces
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": last, **({"usage": usage} if usage else {})},
        {"type": "message_stop"},
    ]


def _response(reply: Reply, text: str) -> dict[str, Any]:
    usage = _usage(reply, "input_tokens", "output_tokens", "total_tokens")
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": reply.model,
        "status": "completed",
        "tools": [],
        "tool_choice": "auto",
        "error": None,
        "parallel_tool_calls": True,
        "output": [_output_item(text)],
        **({"usage": usage} if usage else {}),
    }


def _output_item(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "content": [part],
        "status": "completed",
    }


def _response_events(reply: Reply) -> list[Any]:
    text = "".join(reply.pieces)
    whole = _response(reply, text)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    item = _output_item(text)
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": []}
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "content": [], "status": "in_progress"},
        },
        {"type": "response.content_part.added", **place, "part": empty},
        *(
            {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
            for piece in reply.pieces
        ),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": item["content"][0]},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return [{**each, "sequence_number": number} for number, each in enumerate(told)]


def _gemini(reply: Reply, text: str, finish: str | None = "STOP") -> dict[str, Any]:
    usage = _usage(reply, "promptTokenCount", "candidatesTokenCount", "totalTokenCount")
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": [{"text": text}]},
        "index": 0,
    }
    return {
        "candidates": [candidate | ({"finishReason": finish} if finish else {})],
        "modelVersion": reply.model,
        **({"usageMetadata": usage} if usage and finish else {}),
    }


def _gemini_events(reply: Reply) -> list[Any]:
    *first, last = reply.pieces
    return [*(_gemini(reply, piece, None) for piece in first), _gemini(reply, last)]


_WHOLE: Final = {
    "openai": _chat,
    "openai-responses": _response,
    "anthropic": _message,
    "gemini": _gemini,
}
_EVENTS: Final = {
    "openai": _chat_events,
    "openai-responses": _response_events,
    "anthropic": _message_events,
    "gemini": _gemini_events,
}
