"""A streamed reply of the Messages API.

Source: Claude API reference, "Streaming messages", and the event types of the `anthropic` SDK 2.14,
2026-11: the usage of `message_delta` is cumulative, what it leaves out stands.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from earmark.apis.stream_parts import (
    NO_PIECE,
    PART_TOKENS,
    ClosingEvent,
    EndReason,
    ReplyStream,
    StreamPiece,
    count_of,
    generated_tokens,
    index_of,
    merged_names,
)
from earmark.pricing.json_values import items, mapping

_FINISH: Final[Mapping[EndReason, str]] = {
    "max_output_tokens": "max_tokens",
    "content_filter": "refusal",
}
#: The deltas whose text grows: the type of their block, and the member they add to.
_GROWING: Final = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("tool_use", "partial_json"),
    "compaction_delta": ("compaction", "content"),
}
#: Blocks that a server tool wrote and no model generated.
_RESULT: Final = "_tool_result"


class MessageStream(ReplyStream):
    """Adds up the events of a message; see `ReplyStream`."""

    usage_paths: ClassVar[tuple[tuple[str, ...], ...]] = (("usage",), ("message", "usage"))

    def __init__(
        self, choices: int = 1, input_tokens: int = 0, encoding: str | None = None
    ) -> None:
        super().__init__(choices, input_tokens, encoding)
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._previous: list[dict[str, Any]] = []
        self._output_counted = False

    @property
    def finished(self) -> bool:
        """Whether the stop reason was sent, after which only `message_stop` comes."""
        return bool(self._message.get("stop_reason")) or self._ended

    def _reply(self) -> dict[str, Any]:
        """Return the `message` object."""
        body = {**self._message, "content": [*self._previous, *self._content()]}
        # The usage at the start counts the input: as a bill it would be too little.
        return (
            {**body, "usage": self._usage} if self._output_counted and self._final_usage else body
        )

    def partial_reply(self) -> dict[str, Any]:
        """Return the `message` object with the usage it began with, which counts the input."""
        return {**self.reply(), "usage": self._usage} if self._usage else self.reply()

    def closing_events(self, reason: EndReason = "max_output_tokens") -> list[ClosingEvent]:
        """Return the stop of each open block, the stop reason with the usage, `message_stop`."""
        if self._ended:
            return []
        events: list[dict[str, Any]] = []
        if not self._message:
            events.append({"type": "message_start", "message": self._empty_message()})
        if not self._message.get("stop_reason"):
            events += [
                {"type": "content_block_stop", "index": index}
                for index in sorted(self._blocks)
                if self._blocks[index].is_open
            ]
            delta = {"stop_reason": _FINISH[reason], "stop_sequence": None}
            usage = {**self._usage, "output_tokens": self.produced_tokens}
            events.append({"type": "message_delta", "delta": delta, "usage": usage})
        events.append({"type": "message_stop"})
        return [(str(event["type"]), event) for event in events]

    def _empty_message(self) -> dict[str, Any]:
        return {
            "id": "",
            "type": "message",
            "role": "assistant",
            "model": "",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": self._input_tokens, "output_tokens": 0},
        }

    @property
    def _reported(self) -> int:
        return count_of(self._usage.get("output_tokens"))

    def _starts_new_reply(self, event: Mapping[str, Any], name: str) -> bool:
        if event.get("type", name) != "message_start":
            return False
        identity = mapping(event.get("message")).get("id")
        has_begun = bool(self._message or self._blocks)
        if not has_begun or (identity and identity == self._message.get("id")):
            return False
        self._previous += self._content()
        self._message, self._blocks = {"model": self._message.get("model")}, {}
        return True

    def _content(self) -> list[dict[str, Any]]:
        return [self._blocks[index].value() for index in sorted(self._blocks)]

    def _add(self, event: Mapping[str, Any], name: str) -> StreamPiece:
        index = index_of(event.get("index"))
        match event.get("type", name):
            case "message_start":
                self._start(mapping(event.get("message")))
            case "content_block_start":
                self._block(index).start(mapping(event.get("content_block")))
            case "content_block_delta":
                text = self._block(index).add(mapping(event.get("delta")))
                self._generated += self._blocks[index].counted()
                return StreamPiece({0: text}) if text else NO_PIECE
            case "content_block_stop" if index in self._blocks:
                self._blocks[index].is_open = False
            case "message_delta":
                self._end(event)
            case "message_stop":
                self._ended = True
            case "error":
                self.failure = event
            case _:
                return NO_PIECE
        if index in self._blocks:
            self._generated += self._blocks[index].counted()
        return NO_PIECE

    def _start(self, message: Mapping[str, Any]) -> None:
        # Only `message_delta` says why the message stopped, whatever a server sends here.
        both = merged_names(self._message, message, ("model",))
        self._message = {**message, **both, "stop_reason": self._message.get("stop_reason")}
        self._message.pop("usage", None)

    def _block(self, index: int) -> "_Block":
        return self._blocks.setdefault(index, _Block())

    def _end(self, event: Mapping[str, Any]) -> None:
        for member, value in mapping(event.get("delta")).items():
            if value is not None or member not in self._message:
                self._message[member] = value
        for member in ("context_management", "input_transformations"):
            if event.get(member) is not None:
                self._message[member] = event[member]
        self._output_counted |= mapping(event.get("usage")).get("output_tokens") is not None


class _Block:
    """One content block, from its start, or from its first delta where that is missing."""

    def __init__(self) -> None:
        self.is_open = True
        self._content: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}
        self._citations: list[Any] = []
        self._uncounted = PART_TOKENS

    def start(self, block: Mapping[str, Any]) -> None:
        self._content = {**self._content, **block}
        if not str(block.get("type")).endswith(_RESULT):
            self._uncounted += generated_tokens(block)

    def add(self, delta: Mapping[str, Any]) -> str:
        """Add a delta; return its visible text."""
        kind, grows = _GROWING.get(str(delta.get("type")), ("", ""))
        if kind:
            self._content.setdefault("type", kind)
        self._uncounted += generated_tokens(delta)
        for member, value in delta.items():
            if member == "type" or value is None:
                continue
            if member == "citation":
                self._citations.append(value)
            elif member == grows and isinstance(value, str):
                self._texts.setdefault(member, []).append(value)
            else:
                self._content[member] = value
        text = delta.get("text")
        return text if kind == "text" and isinstance(text, str) else ""

    def counted(self) -> int:
        """Return the tokens generated since the last time."""
        counted, self._uncounted = self._uncounted, 0
        return counted

    def value(self) -> dict[str, Any]:
        """Return the block as a message that is not streamed holds it."""
        grown = {name: "".join(texts) for name, texts in self._texts.items()}
        written = grown.pop("partial_json", "")
        content = dict(self._content)
        for name, text in grown.items():
            content[name] = str(content.get(name) or "") + text
        if self._citations:
            content["citations"] = [*items(content.get("citations")), *self._citations]
        if written:
            content["input"] = _json_or_text(written)
        return content


def _json_or_text(written: str) -> Any:  # noqa: ANN401 - a JSON value
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        # Cut off by `max_tokens`: the bill is right all the same, and the text may be of use.
        return written
