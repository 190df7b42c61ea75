"""A streamed reply of the Responses API.

Source: OpenAI API reference, "Streaming events" of the Responses API, and the event types of the
`openai` SDK 3.57, 2026-11.
"""

from collections.abc import Iterator, Mapping
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

_TERMINAL: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
#: Where a delta goes: the member of its item, the event's index into that member's list, and the
#: member that grows; without a list the item's own member grows.
_DELTAS: Final = {
    "response.output_text.delta": ("content", "content_index", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
    "response.function_call_arguments.delta": ("", "", "arguments"),
    "response.mcp_call_arguments.delta": ("", "", "arguments"),
    "response.custom_tool_call_input.delta": ("", "", "input"),
    "response.code_interpreter_call_code.delta": ("", "", "code"),
}
#: The types of the parts that a delta starts, where no event did.
_PART_TYPES: Final = {
    "response.output_text.delta": "output_text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning_text",
    "response.reasoning_summary_text.delta": "summary_text",
}
_ITEM_TYPES: Final = {
    "response.output_text.delta": "message",
    "response.refusal.delta": "message",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "function_call",
    "response.mcp_call_arguments.delta": "mcp_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
    "response.code_interpreter_call_code.delta": "code_interpreter_call",
}
#: What a tool wrote into an item, not the model.
_TOOL_OUTPUT: Final = frozenset({"output", "outputs", "results", "result"})


class ResponseStream(ReplyStream):
    """Adds up the events of a response; see `ReplyStream`."""

    usage_paths: ClassVar[tuple[tuple[str, ...], ...]] = (("usage",), ("response", "usage"))

    def __init__(
        self, choices: int = 1, input_tokens: int = 0, encoding: str | None = None
    ) -> None:
        super().__init__(choices, input_tokens, encoding)
        self._response: dict[str, Any] = {}
        self._items: dict[int, _Item] = {}
        self._indices: dict[str, int] = {}
        self._previous: list[Any] = []
        self._number = -1

    @property
    def finished(self) -> bool:
        """Whether `response.completed`, `.incomplete`, `.failed` or `.cancelled` came."""
        return self._ended

    def _reply(self) -> dict[str, Any]:
        """Return the `response` object."""
        body = {**self._response, "output": [*self._previous, *self._output()]}
        return {**body, "usage": self._usage} if self._final_usage else body

    def _output(self) -> list[Any]:
        """Return the output, which is what its items add up to where it has less.

        A server may leave out of the last event what it has sent before.
        """
        added = [self._items[index].value() for index in sorted(self._items)]
        sent = items(self._response.get("output"))
        return list(sent) if len(sent) >= len(added) else added

    def closing_events(self, reason: EndReason = "max_output_tokens") -> list[ClosingEvent]:
        """Return the end of each open part and item, and `response.incomplete` with the usage."""
        if self._ended:
            return []
        events: list[dict[str, Any]] = []
        if not self._response:
            events.append({"type": "response.created", "response": self._empty()})
        for index in sorted(self._items):
            events += self._items[index].closing(index)
        usage = self._total()
        response = {
            **self._empty(),
            **self._reply(),
            "status": "incomplete",
            "incomplete_details": {"reason": reason},
            "output": [self._items[index].value(cut=True) for index in sorted(self._items)],
            "usage": usage,
        }
        events.append({"type": "response.incomplete", "response": response})
        return [
            (str(event["type"]), {**event, "sequence_number": self._number + number})
            for number, event in enumerate(events, 1)
        ]

    def _empty(self) -> dict[str, Any]:
        return {
            "id": "",
            "object": "response",
            "created_at": 0,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": "",
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
        }

    def _total(self) -> dict[str, Any]:
        input_tokens = count_of(self._usage.get("input_tokens")) or self._input_tokens
        output_tokens = self.produced_tokens
        return {
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
            **self._usage,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }

    @property
    def _reported(self) -> int:
        return count_of(self._usage.get("output_tokens"))

    def _starts_new_reply(self, event: Mapping[str, Any], name: str) -> bool:
        identity = mapping(event.get("response")).get("id")
        is_start = event.get("type", name) == "response.created"
        has_begun = bool(self._response or self._items)
        if not self._is_new_identity(identity) and not (is_start and has_begun and not identity):
            return False
        self._previous += self._output()
        self._response = {"model": self._response.get("model")}
        self._items, self._indices = {}, {}
        return True

    def _add(self, event: Mapping[str, Any], name: str) -> StreamPiece:
        kind = str(event.get("type") or name)
        self._number = max(self._number, index_of(event.get("sequence_number")))
        response = mapping(event.get("response"))
        if response:
            # The tier is the one asked for at first, and at the end the one that is billed.
            both = merged_names(self._response, response, ("model",))
            self._response = {**self._response, **response, **both}
        if kind in {"error", "response.failed"}:
            self.failure = event
        if kind in _TERMINAL:
            self._ended = True
            for index, each in enumerate(items(response.get("output"))):
                self._generated += self._item(index).raise_to(mapping(each))
            return NO_PIECE
        index = self._index(event)
        return NO_PIECE if index is None else self._add_to_item(kind, event, index)

    def _index(self, event: Mapping[str, Any]) -> int | None:
        """Return where in the output an event's item stands; `None` if it has none.

        llama.cpp names an item by its id alone, in the order they begin.
        """
        identity = event.get("item_id") or mapping(event.get("item")).get("id")
        if "output_index" not in event and not identity and "item" not in event:
            return None
        known = self._indices.get(str(identity)) if identity else None
        index = index_of(event.get("output_index"), len(self._items) if known is None else known)
        if identity:
            self._indices[str(identity)] = index
        return index

    def _add_to_item(self, kind: str, event: Mapping[str, Any], index: int) -> StreamPiece:
        item = self._item(index)
        delta = event.get("delta")
        if kind in {"response.output_item.added", "response.output_item.done"}:
            item.set(mapping(event.get("item")), is_done=kind.endswith("done"))
            self._generated += item.raise_to(mapping(event.get("item")))
        elif kind in _DELTAS and isinstance(delta, str):
            item.grow(kind, event, delta)
            self._generated += item.count(generated_tokens(delta, self._encoding))
            if kind == "response.output_text.delta" and delta:
                return StreamPiece({0: delta})
        elif kind.endswith(("_part.added", "_part.done")):
            item.set_part(event, is_done=kind.endswith("done"))
        elif kind.endswith(".delta"):
            # Of a tool or a modality not known here: output all the same, as far as it is seen.
            self._generated += item.count(generated_tokens(delta))
        return NO_PIECE

    def _item(self, index: int) -> "_Item":
        return self._items.setdefault(index, _Item(self._encoding))


class _Item:
    """One item of the output, from its start, or from its first delta where that is missing."""

    def __init__(self, encoding: str | None) -> None:
        self._encoding = encoding
        self._item: dict[str, Any] = {}
        self._is_done = False
        self._parts: dict[tuple[str, int], dict[str, Any]] = {}
        self._done_parts: set[tuple[str, int]] = set()
        self._texts: dict[tuple[str, int, str], list[str]] = {}
        self._counted = 0

    def set(self, item: Mapping[str, Any], *, is_done: bool) -> None:
        """Add the item as it starts, or as it is in the end."""
        if not self._is_done:
            self._is_done = is_done and bool(item)
            self._item = dict(item) if self._is_done else {**self._item, **item}

    def set_part(self, event: Mapping[str, Any], *, is_done: bool) -> None:
        """Add a part as it starts, or as it is in the end."""
        member = "summary" if "summary_index" in event else "content"
        at = (member, index_of(event.get("summary_index", event.get("content_index"))))
        self._parts[at] = {**self._parts.get(at, {}), **mapping(event.get("part"))}
        if is_done:
            self._done_parts.add(at)

    def grow(self, kind: str, event: Mapping[str, Any], delta: str) -> None:
        """Add a piece of text."""
        self._item.setdefault("type", _ITEM_TYPES[kind])
        member, index, name = _DELTAS[kind]
        at = index_of(event.get(index))
        if member and (member, at) not in self._parts:
            self._parts[member, at] = {"type": _PART_TYPES[kind]}
        self._texts.setdefault((member, at, name), []).append(delta)

    def count(self, tokens: int) -> int:
        """Count generated tokens; return by how many there are more."""
        more = tokens + (0 if self._counted else PART_TOKENS)
        self._counted += more
        return more

    def raise_to(self, item: Mapping[str, Any]) -> int:
        """Count what a whole item holds where that is more; return by how many."""
        written = {name: item[name] for name in item if name not in _TOOL_OUTPUT}
        more = PART_TOKENS + generated_tokens(written, self._encoding) - self._counted
        self._counted += max(0, more)
        return max(0, more)

    def value(self, *, cut: bool = False) -> dict[str, Any]:
        """Return the item as a response holds it; as incomplete if it was *cut*."""
        if self._is_done:
            return self._item
        item = {**self._item, "status": "incomplete"} if cut else dict(self._item)
        for (member, _, name), texts in self._texts.items():
            if not member:
                item[name] = "".join(texts)
        for member in ("content", "summary"):
            parts = [self._part(at) for at in sorted(self._parts) if at[0] == member]
            if parts:
                item[member] = parts
        return item

    def closing(self, index: int) -> Iterator[dict[str, Any]]:
        """Yield the events that end the item, without numbers."""
        if self._is_done:
            return
        identity = {"item_id": self._item.get("id", ""), "output_index": index}
        for at in sorted(self._parts):
            if at not in self._done_parts:
                yield from self._end_of_part(at, identity)
        yield {
            "type": "response.output_item.done",
            "output_index": index,
            "item": self.value(cut=True),
        }

    def _end_of_part(
        self, at: tuple[str, int], identity: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        member, index = at
        part = self._part(at)
        name = "refusal" if "refusal" in part else "text"
        where = {**identity, f"{member}_index": index}
        text = {"type": _TEXT_DONE.get(str(part.get("type")), ""), name: part.get(name, "")}
        if part.get("type") == "output_text":
            text["logprobs"] = []
        if text["type"]:
            yield {**where, **text}
        kind = "reasoning_summary_part" if member == "summary" else "content_part"
        yield {**where, "type": f"response.{kind}.done", "part": part}

    def _part(self, at: tuple[str, int]) -> dict[str, Any]:
        part = dict(self._parts[at])
        for (member, index, name), texts in self._texts.items():
            if (member, index) == at and at not in self._done_parts:
                part[name] = "".join(texts)
        if part.get("type") == "output_text":
            empty: dict[str, Any] = {"annotations": [], "text": ""}
            part = {**empty, **part}
        return part


_TEXT_DONE: Final = {
    "output_text": "response.output_text.done",
    "refusal": "response.refusal.done",
    "reasoning_text": "response.reasoning_text.done",
    "summary_text": "response.reasoning_summary_text.done",
}
