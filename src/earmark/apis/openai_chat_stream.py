"""A streamed reply of the Chat Completions API.

Source: OpenAI API reference, "Chat completion chunk object" and "Create chat completion",
`stream_options`, 2026-11; of compatible servers: Groq (`x_groq`), OpenRouter (`error` in a chunk).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from earmark.apis.stream_parts import (
    DONE,
    NO_PIECE,
    PART_TOKENS,
    TIERS,
    ClosingEvent,
    EndReason,
    MergedDeltas,
    ReplyStream,
    StreamPiece,
    count_of,
    generated_tokens,
    index_of,
    merged_names,
)
from earmark.pricing.json_values import items, mapping

_FINISH: Final[Mapping[EndReason, str]] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
#: Members of a chunk that are no part of the reply's head.
_NOT_HEAD: Final = frozenset({"choices", "usage", "object", "error", "x_groq"})


class ChatStream(ReplyStream):
    """Adds up chat completion chunks; see `ReplyStream`."""

    usage_paths: ClassVar[tuple[tuple[str, ...], ...]] = (("usage",), ("x_groq", "usage"))

    def __init__(
        self, choices: int = 1, input_tokens: int = 0, encoding: str | None = None
    ) -> None:
        super().__init__(choices, input_tokens, encoding)
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    @property
    def finished(self) -> bool:
        """Whether every choice has its finish reason."""
        ended = [choice.finish for choice in self._choices.values()]
        return len(ended) >= self._choice_count and all(ended)

    def _reply(self) -> dict[str, Any]:
        """Return the `chat.completion` object."""
        choices = [self._choices[index].value(index) for index in sorted(self._choices)]
        body = {**self._head, "object": "chat.completion", "choices": choices}
        return {**body, "usage": self._usage} if self._final_usage else body

    def closing_events(self, reason: EndReason = "max_output_tokens") -> list[ClosingEvent]:
        """Return a chunk with a finish reason for each open choice, the usage and `[DONE]`."""
        if self._ended:
            return []
        head = {
            "id": "",
            "created": 0,
            "model": "",
            **self._head,
            "object": "chat.completion.chunk",
        }
        indices = sorted({*range(self._choice_count), *self._choices})
        open_ = [at for at in indices if at not in self._choices or not self._choices[at].finish]
        chunks: list[ClosingEvent] = [
            ("", {**head, "choices": [self._end_of(index, _FINISH[reason])], "usage": None})
            for index in open_
        ]
        if open_ or not self._usage:
            chunks.append(("", {**head, "choices": [], "usage": self._total()}))
        return [*chunks, ("", DONE)]

    def _end_of(self, index: int, finish: str) -> dict[str, Any]:
        delta = {} if index in self._choices else {"role": "assistant", "content": ""}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}

    def _total(self) -> dict[str, Any]:
        prompt = count_of(self._usage.get("prompt_tokens")) or self._input_tokens
        completion = self.produced_tokens
        return {
            **self._usage,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    @property
    def _reported(self) -> int:
        output = count_of(self._usage.get("completion_tokens"))
        beyond_input = count_of(self._usage.get("total_tokens")) - count_of(
            self._usage.get("prompt_tokens")
        )
        return max(output, beyond_input)

    def _starts_new_reply(self, event: Mapping[str, Any], name: str) -> bool:
        del name
        return self._is_new_identity(event.get("id"))

    def _add(self, event: Mapping[str, Any], name: str) -> StreamPiece:
        if event.get("error") or name == "error":
            self.failure = event
        both = merged_names(self._head, event, ("model", *TIERS))
        for member, value in event.items():
            if value is not None and member not in _NOT_HEAD:
                self._head[member] = both.get(member, value)
        choices = items(event.get("choices"))
        if not choices:
            is_usage_only = "choices" in event and bool(event.get("usage"))
            return StreamPiece(is_usage_only=True) if is_usage_only else NO_PIECE
        texts: dict[int, str] = {}
        for number, each in enumerate(choices):
            index = index_of(mapping(each).get("index"), number)
            choice = self._choices.setdefault(index, _Choice(self._encoding))
            before = choice.generated
            text = choice.add(mapping(each))
            self._generated += choice.generated - before
            if text:
                texts[index] = texts.get(index, "") + text
        return StreamPiece(texts) if texts else NO_PIECE


class _Choice:
    def __init__(self, encoding: str | None) -> None:
        self._encoding = encoding
        self.finish: str | None = None
        self.generated = 0
        self._texts: list[str] = []
        self._message = MergedDeltas()
        self._rest = MergedDeltas()
        self._tools = 0

    def add(self, choice: Mapping[str, Any]) -> str:
        """Add one choice of a chunk; return its visible text."""
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            self.finish = finish
        # Some servers send a whole message instead of a delta, or with it.
        delta = mapping(choice.get("delta" if "delta" in choice else "message"))
        self._count(delta)
        content = delta.get("content")
        if isinstance(content, str):
            self._texts.append(content)
            delta = {name: value for name, value in delta.items() if name != "content"}
        if "tool_calls" in delta:
            delta = {**delta, "tool_calls": self._indexed(items(delta["tool_calls"]))}
        self._message.add(delta)
        rest = {name: choice[name] for name in choice if name not in _DELTA}
        if rest:
            self._rest.add(rest)
        return _visible(content)

    def value(self, index: int) -> dict[str, Any]:
        """Return the choice as a reply that is not streamed holds it."""
        message: dict[str, Any] = {"role": "assistant", "content": None, **self._message.value()}
        text = "".join(self._texts)
        parts = items(message["content"])
        if parts:
            # Mistral's reasoning models send their reasoning as parts, and then text.
            text_parts = [{"type": "text", "text": text}] if text else []
            message["content"] = [*parts, *text_parts]
        elif self._texts:
            message["content"] = text
        calls = [mapping(call) for call in items(message.get("tool_calls"))]
        if calls:
            message["tool_calls"] = [
                {"type": "function", **{name: call[name] for name in call if name != "index"}}
                for call in calls
            ]
        rest = self._rest.value()
        return {"index": index, "message": message, **rest, "finish_reason": self.finish}

    def _count(self, delta: Mapping[str, Any]) -> None:
        if not self.generated and any(value for name, value in delta.items() if name != "role"):
            self.generated = PART_TOKENS
        self.generated += generated_tokens(delta, self._encoding)

    def _indexed(self, deltas: Sequence[Any]) -> list[dict[str, Any]]:
        """Return a delta's tool calls with the index of each, which some servers leave out."""
        calls: list[dict[str, Any]] = []
        for call in deltas:
            entry = dict(mapping(call))
            is_new = bool(entry.get("id") or mapping(entry.get("function")).get("name"))
            entry["index"] = index_of(
                entry.get("index"), self._tools if is_new else max(0, self._tools - 1)
            )
            if entry["index"] >= self._tools:
                self.generated += PART_TOKENS
                self._tools = entry["index"] + 1
            calls.append(entry)
        return calls


#: Members of a choice that are read by name.
_DELTA: Final = frozenset({"index", "delta", "message", "finish_reason"})


def _visible(content: object) -> str:
    """Return the text of a delta's content."""
    if isinstance(content, str):
        return content
    parts = [mapping(part) for part in items(content)]
    return "".join(str(part.get("text")) for part in parts if part.get("type") == "text")
