"""A streamed reply of streamGenerateContent, as server-sent events or as one JSON array.

Source: Gemini API reference, "models.streamGenerateContent", "GenerateContentResponse" and
"UsageMetadata", 2026-11: each event is a whole response object, its usage is that until then.
"""

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
    "max_output_tokens": "MAX_TOKENS",
    "content_filter": "SAFETY",
}
#: Parts of a reply that Google's tools wrote and no model generated.
_TOOL_OUTPUT: Final = frozenset({"codeExecutionResult", "toolResponse", "functionResponse"})


class GenerateContentStream(ReplyStream):
    """Adds up the responses of a stream; see `ReplyStream`."""

    usage_paths: ClassVar[tuple[tuple[str, ...], ...]] = (("usageMetadata",),)

    def __init__(
        self, choices: int = 1, input_tokens: int = 0, encoding: str | None = None
    ) -> None:
        super().__init__(choices, input_tokens, encoding)
        self._head: dict[str, Any] = {}
        self._candidates: dict[int, _Candidate] = {}

    @property
    def finished(self) -> bool:
        """Whether every candidate has its finish reason, or the prompt was blocked."""
        ended = [candidate.finish for candidate in self._candidates.values()]
        blocked = mapping(self._head.get("promptFeedback")).get("blockReason")
        return bool(blocked) or (len(ended) >= self._choice_count and all(ended))

    def _reply(self) -> dict[str, Any]:
        """Return the response object."""
        body = dict(self._head)
        if self._candidates:
            body["candidates"] = [
                self._candidates[index].value(index) for index in sorted(self._candidates)
            ]
        return {**body, "usageMetadata": self._usage} if self._final_usage else body

    def closing_events(self, reason: EndReason = "max_output_tokens") -> list[ClosingEvent]:
        """Return one response with the finish reason of each open candidate, and the usage."""
        if self.finished:
            return []
        indices = sorted({*range(self._choice_count), *self._candidates})
        open_ = [
            index
            for index in indices
            if index not in self._candidates or not self._candidates[index].finish
        ]
        ends: list[dict[str, Any]] = [
            {
                "content": {"role": "model", "parts": [{"text": ""}]},
                "finishReason": _FINISH[reason],
                "index": index,
            }
            for index in open_
        ]
        head = {name: self._head[name] for name in _HEAD if name in self._head}
        return [("", {"candidates": ends, "usageMetadata": self._total(), **head})]

    def _total(self) -> dict[str, Any]:
        prompt = count_of(self._usage.get("promptTokenCount")) or self._input_tokens
        tool = count_of(self._usage.get("toolUsePromptTokenCount"))
        thoughts = count_of(self._usage.get("thoughtsTokenCount"))
        produced = self.produced_tokens
        return {
            **self._usage,
            "promptTokenCount": prompt,
            "candidatesTokenCount": produced - thoughts,
            "totalTokenCount": prompt + tool + produced,
        }

    @property
    def _reported(self) -> int:
        return count_of(self._usage.get("candidatesTokenCount")) + count_of(
            self._usage.get("thoughtsTokenCount")
        )

    def _starts_new_reply(self, event: Mapping[str, Any], name: str) -> bool:
        del name
        if self._is_new_identity(event.get("responseId")):
            return True
        if self._identity or self._has_several_replies:
            return False
        # Without a name, what comes after the end of a candidate shows it.
        sent = enumerate(items(event.get("candidates")))
        known = (self._candidates.get(index_of(mapping(each).get("index"), n)) for n, each in sent)
        return any(each is not None and each.finish for each in known)

    def _add(self, event: Mapping[str, Any], name: str) -> StreamPiece:
        if event.get("error") or name == "error":
            self.failure = event
        both = merged_names(self._head, event, ("modelVersion",))
        for member, value in event.items():
            if value is not None and member not in _NOT_HEAD:
                self._head[member] = both.get(member, value)
        texts: dict[int, str] = {}
        for number, each in enumerate(items(event.get("candidates"))):
            found = mapping(each)
            index = index_of(found.get("index"), number)
            candidate = self._candidates.setdefault(index, _Candidate())
            before = candidate.generated
            text = candidate.add(found)
            self._generated += candidate.generated - before
            if text:
                texts[index] = texts.get(index, "") + text
        return StreamPiece(texts) if texts else NO_PIECE


_HEAD: Final = ("modelVersion", "responseId")
_NOT_HEAD: Final = frozenset({"candidates", "usageMetadata", "error"})


class _Candidate:
    def __init__(self) -> None:
        self.finish: str | None = None
        self.generated = 0
        self._role = "model"
        self._parts: list[_ContentPart] = []
        self._rest: dict[str, Any] = {}

    def add(self, candidate: Mapping[str, Any]) -> str:
        """Add one candidate of a response; return its visible text."""
        finish = candidate.get("finishReason")
        if isinstance(finish, str) and finish and finish != "FINISH_REASON_UNSPECIFIED":
            self.finish = finish
        content = mapping(candidate.get("content"))
        self._role = str(content.get("role") or self._role)
        visible = "".join(self._add_part(mapping(part)) for part in items(content.get("parts")))
        for member, value in candidate.items():
            if member == "groundingMetadata":
                self._rest[member] = _grounding(mapping(self._rest.get(member)), mapping(value))
            elif member not in {"content", "finishReason", "index"} and value is not None:
                self._rest[member] = value
        return visible

    def value(self, index: int) -> dict[str, Any]:
        """Return the candidate as a response that is not streamed holds it."""
        parts = [part.value() for part in self._parts]
        candidate = {"content": {"role": self._role, "parts": parts}, **self._rest, "index": index}
        return {**candidate, "finishReason": self.finish} if self.finish else candidate

    def _add_part(self, part: Mapping[str, Any]) -> str:
        generated = {name: part[name] for name in part if name not in _TOOL_OUTPUT}
        text = part.get("text")
        joins = bool(self._parts) and self._parts[-1].takes(part)
        if joins:
            self._parts[-1].texts.append(str(text))
        else:
            self._parts.append(_ContentPart(part))
            self.generated += PART_TOKENS
        self.generated += generated_tokens(generated)
        return text if isinstance(text, str) and not part.get("thought") else ""


class _ContentPart:
    """A part, and the texts that follow it in later events."""

    def __init__(self, part: Mapping[str, Any]) -> None:
        self._part = part
        text = part.get("text")
        self.texts = [text] if isinstance(text, str) else []

    def takes(self, part: Mapping[str, Any]) -> bool:
        """Whether *part* is more text of this one: both are nothing but text, or but thought."""
        both = (self._part, part)
        return all(isinstance(each.get("text"), str) for each in both) and (
            _besides_text(self._part) == _besides_text(part)
        )

    def value(self) -> dict[str, Any]:
        return {**self._part, "text": "".join(self.texts)} if self.texts else dict(self._part)


def _besides_text(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "text" and value}


def _grounding(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the later metadata with the queries of both: each distinct one is billed."""
    queries = [*items(before.get("webSearchQueries")), *items(after.get("webSearchQueries"))]
    merged = {**before, **after}
    if queries:
        merged["webSearchQueries"] = list({str(query): query for query in queries}.values())
    return merged
