"""Whole replies of each API, and the same replies as the events of a stream, split in any way."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st

Event = tuple[str, Any]
"""The `event:` field and the data."""


class Split:
    """How a reply is cut into events: here in the simplest way, whole and in order."""

    def pieces(self, text: str) -> list[str]:
        """Cut a text; empty pieces are allowed."""
        return [text]

    def interleaved(self, sequences: Sequence[list[Any]]) -> list[Any]:
        """Mix sequences, keeping the order within each."""
        return [each for sequence in sequences for each in sequence]

    def one_of(self, choices: Sequence[Any]) -> Any:
        """Choose a manner of sending."""
        return choices[0]


class DrawnSplit(Split):
    """Cut in any way that Hypothesis draws."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self._draw = draw

    def pieces(self, text: str) -> list[str]:
        """Cut a text."""
        cuts = sorted(self._draw(st.lists(st.integers(0, len(text)), max_size=5)))
        return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def interleaved(self, sequences: Sequence[list[Any]]) -> list[Any]:
        """Mix sequences."""
        order: list[int] = self._draw(
            st.permutations([n for n, each in enumerate(sequences) for _ in each])
        )
        rest = [iter(each) for each in sequences]
        return [next(rest[n]) for n in order]

    def one_of(self, choices: Sequence[Any]) -> Any:
        """Choose a manner."""
        return self._draw(st.sampled_from(choices))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a model wrote, whatever the API."""

    texts: Sequence[str]
    """A text for each choice."""
    reasoning: str = ""
    tools: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Names and arguments, of the first choice."""
    input_tokens: int = 5
    output_tokens: int = 7
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """More counters of the usage."""

    @property
    def generated(self) -> str:
        """Everything the model wrote, in one text."""
        tools = "".join(f"{name}{json.dumps(args)}" for name, args in self.tools)
        return "".join(self.texts) + self.reasoning + tools


# Chat Completions --------------------------------------------------------------------------------

_CHAT: Final = {"id": "chatcmpl-1", "created": 7, "model": "m-2026", "system_fingerprint": "fp"}


def chat_usage(content: Content) -> dict[str, Any]:
    """Return the usage object."""
    total = content.input_tokens + content.output_tokens
    return {
        "prompt_tokens": content.input_tokens,
        "completion_tokens": content.output_tokens,
        "total_tokens": total,
        **content.extra,
    }


def chat_body(content: Content) -> dict[str, Any]:
    """Return a `chat.completion`."""
    choices: list[dict[str, Any]] = []
    for index, text in enumerate(content.texts):
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if content.reasoning and not index:
            message["reasoning_content"] = content.reasoning
        if content.tools and not index:
            message["tool_calls"] = [
                {
                    "id": f"call_{n}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for n, (name, arguments) in enumerate(content.tools)
            ]
        choices.append({"index": index, "message": message, "finish_reason": "stop"})
    return {**_CHAT, "object": "chat.completion", "choices": choices, "usage": chat_usage(content)}


def chat_events(content: Content, split: Split) -> list[Event]:
    """Return the chunks: usage at the end, repeated, null in between, or with the last choice."""
    by_choice = [_chat_choice(content, index, split) for index in range(len(content.texts))]
    deltas = split.interleaved(by_choice)
    head = {**_CHAT, "object": "chat.completion.chunk"}
    usage = chat_usage(content)
    manner = split.one_of(["at the end", "null before", "repeated", "with the last"])
    chunks: list[dict[str, Any]] = [{**head, "choices": [delta]} for delta in deltas]
    if manner == "null before":
        chunks = [{**chunk, "usage": None} for chunk in chunks]
    elif manner == "repeated":
        growing = {**usage, "completion_tokens": 0, "total_tokens": usage["prompt_tokens"]}
        chunks = [{**chunk, "usage": growing} for chunk in chunks]
    if manner == "with the last":
        chunks[-1]["usage"] = usage
    else:
        chunks.append({**head, "choices": [], "usage": usage})
    return [*(("", chunk) for chunk in chunks), ("", "[DONE]")]


def _chat_choice(content: Content, index: int, split: Split) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if not index:
        deltas += [{"reasoning_content": part} for part in split.pieces(content.reasoning) if part]
    deltas += [{"content": part} for part in split.pieces(content.texts[index])]
    for number, (name, arguments) in enumerate(content.tools if not index else ()):
        start = {"id": f"call_{number}", "type": "function"}
        first = {**start, "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [{"index": number, **first}]})
        deltas += [
            {"tool_calls": [{"index": number, "function": {"arguments": part}}]}
            for part in split.pieces(json.dumps(arguments))
        ]
    choices = [{"index": index, "delta": delta, "finish_reason": None} for delta in deltas]
    return [*choices, {"index": index, "delta": {}, "finish_reason": "stop"}]


# Messages ----------------------------------------------------------------------------------------

_MESSAGE: Final = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m-2026"}


def message_usage(content: Content) -> dict[str, Any]:
    """Return the usage object."""
    return {
        "input_tokens": content.input_tokens,
        "output_tokens": content.output_tokens,
        **content.extra,
    }


def _blocks(content: Content) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if content.reasoning:
        blocks.append({"type": "thinking", "thinking": content.reasoning, "signature": "c2ln"})
    blocks.append({"type": "text", "text": content.texts[0]})
    blocks += [
        {"type": "tool_use", "id": f"toolu_{n}", "name": name, "input": arguments}
        for n, (name, arguments) in enumerate(content.tools)
    ]
    return blocks


def message_body(content: Content) -> dict[str, Any]:
    """Return a `message`."""
    return {
        **_MESSAGE,
        "content": _blocks(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": message_usage(content),
    }


def message_events(content: Content, split: Split) -> list[Event]:
    """Return the events: blocks may interleave, counters may stand at the start or be repeated."""
    usage = message_usage(content)
    start = {**usage, "output_tokens": 1}
    end = split.one_of(
        [
            usage,
            {"output_tokens": usage["output_tokens"]},
            {**usage, "input_tokens": 0},
            {**usage, **dict.fromkeys(content.extra)},
        ]
    )
    empty: list[Any] = []
    message = {**_MESSAGE, "content": empty, "stop_reason": None, "stop_sequence": None}
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    by_block = [list(_block_events(n, b, split)) for n, b in enumerate(_blocks(content))]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": start}},
        {"type": "ping"},
        *split.interleaved(by_block),
        {"type": "message_delta", "delta": delta, "usage": end},
        {"type": "message_stop"},
    ]
    return [(str(event["type"]), event) for event in events]


def _block_events(index: int, block: dict[str, Any], split: Split) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    member, delta = {
        "text": ("text", "text_delta"),
        "thinking": ("thinking", "thinking_delta"),
        "tool_use": ("partial_json", "input_json_delta"),
    }[kind]
    empty: dict[str, Any] = {"text": ""} if kind == "text" else {"thinking": "", "signature": ""}
    if kind == "tool_use":
        empty = {"id": block["id"], "name": block["name"], "input": {}}
    head = {"index": index}
    yield {**head, "type": "content_block_start", "content_block": {"type": kind, **empty}}
    text = json.dumps(block["input"]) if kind == "tool_use" else block[member]
    for part in split.pieces(text):
        yield {**head, "type": "content_block_delta", "delta": {"type": delta, member: part}}
    if kind == "thinking":
        signature = {"type": "signature_delta", "signature": block["signature"]}
        yield {**head, "type": "content_block_delta", "delta": signature}
    yield {**head, "type": "content_block_stop"}


# Responses ---------------------------------------------------------------------------------------

_RESPONSE: Final = {"id": "resp_1", "object": "response", "created_at": 7, "model": "m-2026"}


def response_usage(content: Content) -> dict[str, Any]:
    """Return the usage object."""
    return {**message_usage(content), "total_tokens": content.input_tokens + content.output_tokens}


def _output(content: Content) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = []
    if content.reasoning:
        summary = [{"type": "summary_text", "text": content.reasoning}]
        output.append({"id": "rs_1", "type": "reasoning", "summary": summary})
    text: dict[str, Any] = {"type": "output_text", "text": content.texts[0], "annotations": []}
    message: dict[str, Any] = {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    output.append({"id": "msg_1", **message})
    output += [
        {
            "id": f"fc_{n}",
            "type": "function_call",
            "call_id": f"call_{n}",
            "name": name,
            "arguments": json.dumps(arguments),
            "status": "completed",
        }
        for n, (name, arguments) in enumerate(content.tools)
    ]
    return output


def response_body(content: Content) -> dict[str, Any]:
    """Return a `response`."""
    more = {"status": "completed", "error": None, "incomplete_details": None}
    return {**_RESPONSE, **more, "output": _output(content), "usage": response_usage(content)}


def response_events(content: Content, split: Split) -> list[Event]:
    """Return the events: items may interleave; the last event may lack the output."""
    body = response_body(content)
    empty: dict[str, Any] = {"output": []}
    started = {**body, **empty, "status": "in_progress", "usage": None}
    by_item = [list(_item_events(n, each, split)) for n, each in enumerate(body["output"])]
    last = {**body, **empty} if split.one_of([False, True]) else body
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
        *split.interleaved(by_item),
        {"type": "response.completed", "response": last},
    ]
    return [(str(event["type"]), {**event, "sequence_number": n}) for n, event in enumerate(events)]


def _item_events(index: int, item: dict[str, Any], split: Split) -> Iterator[dict[str, Any]]:
    head: dict[str, Any] = {"output_index": index, "item_id": item["id"]}
    kind = item["type"]
    empty: dict[str, Any] = {"arguments": ""} if kind == "function_call" else {}
    member = {"message": "content", "reasoning": "summary"}.get(kind)
    if member:
        empty = {member: []}
    running = {**item, "status": "in_progress", **empty}
    yield {"type": "response.output_item.added", "output_index": index, "item": running}
    if member:
        name = "reasoning_summary" if member == "summary" else "content"
        text = "reasoning_summary_text" if member == "summary" else "output_text"
        where = {**head, f"{member}_index": 0}
        part = item[member][0]
        yield {**where, "type": f"response.{name}_part.added", "part": {**part, "text": ""}}
        for piece in split.pieces(part["text"]):
            yield {**where, "type": f"response.{text}.delta", "delta": piece}
        yield {**where, "type": f"response.{text}.done", "text": part["text"]}
        yield {**where, "type": f"response.{name}_part.done", "part": part}
    else:
        for piece in split.pieces(item["arguments"]):
            yield {**head, "type": "response.function_call_arguments.delta", "delta": piece}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


# Gemini ------------------------------------------------------------------------------------------

_GEMINI: Final = {"modelVersion": "m-2026", "responseId": "r1"}


def gemini_usage(content: Content) -> dict[str, Any]:
    """Return the usage object."""
    return {
        "promptTokenCount": content.input_tokens,
        "candidatesTokenCount": content.output_tokens,
        "totalTokenCount": content.input_tokens + content.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": content.input_tokens}],
        **content.extra,
    }


def gemini_body(content: Content) -> dict[str, Any]:
    """Return a `GenerateContentResponse`."""
    candidates = [
        {
            "index": index,
            "content": {"role": "model", "parts": _gemini_parts(content, index)},
            "finishReason": "STOP",
        }
        for index in range(len(content.texts))
    ]
    return {**_GEMINI, "candidates": candidates, "usageMetadata": gemini_usage(content)}


def _gemini_parts(content: Content, index: int) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if content.reasoning and not index:
        parts.append({"text": content.reasoning, "thought": True})
    if content.texts[index]:
        parts.append({"text": content.texts[index]})
    tools = content.tools if not index else ()
    return parts + [{"functionCall": {"name": name, "args": args}} for name, args in tools]


def gemini_events(content: Content, split: Split) -> list[Event]:
    """Return the responses: one part each; as events, or as the array of a stream without `alt`."""
    candidates: list[list[dict[str, Any]]] = []
    for index in range(len(content.texts)):
        parts: list[dict[str, Any]] = []
        for part in _gemini_parts(content, index):
            texts = split.pieces(part["text"]) if "text" in part else []
            parts += [{**part, "text": text} for text in texts if text] if texts else [part]
        each = [{"index": index, "content": {"role": "model", "parts": [part]}} for part in parts]
        end = {"index": index, "finishReason": "STOP"}
        candidates.append([*each, end])
    usage = gemini_usage(content)
    early = {**usage, "candidatesTokenCount": 0, "totalTokenCount": usage["promptTokenCount"]}
    responses: list[dict[str, Any]] = [
        {**_GEMINI, "candidates": [each], "usageMetadata": early}
        for each in split.interleaved(candidates)
    ]
    responses[-1]["usageMetadata"] = usage
    if split.one_of([False, True]):
        return [("", responses)]
    return [("", each) for each in responses]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one API writes a reply: whole, and as events."""

    body: Callable[[Content], dict[str, Any]]
    events: Callable[[Content, Split], list[Event]]
    many_choices: bool


DIALECTS: Final = {
    "openai": Dialect(chat_body, chat_events, many_choices=True),
    "openai-responses": Dialect(response_body, response_events, many_choices=False),
    "anthropic": Dialect(message_body, message_events, many_choices=False),
    "gemini": Dialect(gemini_body, gemini_events, many_choices=True),
}

_JSON: Final = st.dictionaries(
    st.text(max_size=4), st.text(max_size=6) | st.integers(-9, 10**6) | st.booleans(), max_size=3
)


@st.composite
def contents(draw: Callable[..., Any], *, many_choices: bool) -> Content:
    """Draw what a model wrote."""
    texts = draw(st.lists(st.text(max_size=12), min_size=1, max_size=3 if many_choices else 1))
    return Content(
        texts=texts,
        reasoning=draw(st.text(max_size=8)),
        tools=draw(st.lists(st.tuples(st.text(min_size=1, max_size=5), _JSON), max_size=2)),
        input_tokens=draw(st.integers(1, 10**6)),
        output_tokens=draw(st.integers(1, 10**6)),
    )
