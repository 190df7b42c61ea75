"""What the reply streams of all APIs share: counted output and merged deltas."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, cast

from earmark.apis.counters import larger_counts, summed_counts
from earmark.apis.reply_cost import SEVERAL_REPLIES, same_model
from earmark.pricing.json_values import items, mapping
from earmark.pricing.tokens import byte_bound, count_piece
from earmark.pricing.usage import tier_name

#: Why a stream is ended before its reply is complete, in the Responses API's own words.
EndReason = Literal["max_output_tokens", "content_filter"]
#: An event to send: its `event:` field, empty where the API names none, and its data.
ClosingEvent = tuple[str, dict[str, Any] | str]

#: The data of the event that ends a stream of the Chat Completions API.
DONE: Final = "[DONE]"
#: What may be generated around one block, tool call or choice without being sent: special tokens,
#: the name of the format. Harmony, OpenAI's published format, writes up to 9 (gpt-oss, 2026-11).
PART_TOKENS: Final = 16

#: Members of an event that the server writes and no model generates.
_LABELS: Final = frozenset(
    {"type", "role", "id", "index", "item_id", "call_id", "object", "status"}
)
#: Members whose whole JSON is generated, keys included, where they are objects.
_GENERATED_JSON: Final = frozenset({"args", "arguments", "input"})
#: Members whose string is what the model wrote, token by token: a tokenizer counts it. Base64 of
#: sound and encrypted reasoning are none.
_WRITTEN: Final = frozenset(
    {"content", "text", "refusal", "arguments", "input", "code", "reasoning", "reasoning_content"}
)
#: Strings of a delta that are sent once, or repeated, and never in pieces.
_SENT_WHOLE: Final = frozenset({"role", "type", "id", "name", "format"})
#: Where a usage, or a reply, names the tier that is billed.
TIERS: Final = ("service_tier", "serviceTier", "speed", "trafficType", "inference_geo")
_BOTH: Final = " and "
#: Deltas nested deeper are kept as they came.
_DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class StreamPiece:
    """What one event added to the reply."""

    texts: Mapping[int, str] = field(default_factory=dict[int, str])
    """The visible text, by choice."""
    is_usage_only: bool = False
    """Whether the event is the usage chunk of a chat stream, `choices: []`, and nothing else."""


NO_PIECE: Final = StreamPiece()


class ReplyStream(ABC):
    """Adds up the events of one streamed reply; pure, and linear in the bytes fed.

    No event raises anything: what cannot be read is left out of the text, and what counts is kept
    for `read_reply`.
    """

    #: Where an event of this API may hold its usage.
    usage_paths: ClassVar[tuple[tuple[str, ...], ...]] = (("usage",),)

    failure: Mapping[str, Any] | None
    """The API's own error event, `response.failed` included, if one came."""
    pieces: int
    """How many events carried output."""

    def __init__(
        self, choices: int = 1, input_tokens: int = 0, encoding: str | None = None
    ) -> None:
        self.failure = None
        self.pieces = 0
        self._choice_count = max(1, choices)
        self._input_tokens = input_tokens
        self._encoding = encoding
        self._usage: dict[str, Any] = {}
        self._previous_usage: dict[str, Any] = {}
        self._latest_usage: dict[str, Any] = {}
        self._has_several_replies = False
        self._identity = ""
        self._generated = 0
        self._counted_at = 0
        self._ended = False

    def feed(self, event: object, name: str = "") -> StreamPiece:
        """Add one decoded event; return what it added.

        Args:
            event: The decoded data: an object; `[DONE]`; or, where an API streams one JSON array,
                a list of events. Anything else adds nothing.
            name: The event's `event:` field.
        """
        if isinstance(event, Mapping):
            return self._feed(cast("Mapping[str, Any]", event), name)
        if event == DONE:
            self._ended = True
        texts: dict[int, str] = {}
        for each in items(event):
            if isinstance(each, Mapping):
                for choice, text in self._feed(cast("Any", each), name).texts.items():
                    texts[choice] = texts.get(choice, "") + text
        return StreamPiece(texts) if texts else NO_PIECE

    @property
    def produced_tokens(self) -> int:
        """An upper bound of the output tokens until now, as far as they can be seen.

        Where the tokenizer is known, the text of each event is counted with it, apart from the
        others. Of one token an event, as the makers of these models send them, that is exact. An
        event of several counts as the tokenizer writes its text; where the model has chosen other
        tokens than that, they are more.

        Else, and for signatures, sound and encrypted reasoning, bytes are counted: a byte-level
        token has at least one. Never less than the reported usage. Reasoning that is not sent is
        not seen.
        """
        return max(self._generated, self._reported)

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether the reply ended as its API promises; nothing but usage may follow."""

    def reply(self) -> dict[str, Any]:
        """Return what the events add up to, in the API's form of a reply that is not streamed.

        Of two counts of one counter the larger stands. `usage` is left out where the output was
        never counted, or more of it came after the last count. Where the events are of several
        replies, as those of a client that began its stream anew, it is the sum of what they count,
        and `SEVERAL_REPLIES` says so.
        """
        body = self._reply()
        if not self._has_several_replies:
            return body
        return {**body, self.usage_paths[0][0]: self._usage, SEVERAL_REPLIES: True}

    def partial_reply(self) -> dict[str, Any]:
        """Return `reply()` with every counter that came, also where the output was never counted.

        What it costs is the least that a reply cut here can cost, and no bill.
        """
        body = self.reply()
        return {**body, self.usage_paths[0][0]: self._usage} if self._usage else body

    @abstractmethod
    def closing_events(self, reason: EndReason = "max_output_tokens") -> list[ClosingEvent]:
        """Return the events that end the stream now, so that clients read it as cut and complete.

        Open blocks, a finish of `length`, `max_tokens` or `incomplete`, the usage, the end: only
        what the stream itself has not sent. Output that the API has not counted is reported as
        `produced_tokens`. A chat stream's usage chunk is among them: leave it out where the client
        did not ask for one.
        """

    def _feed(self, event: Mapping[str, Any], name: str) -> StreamPiece:
        if self._starts_new_reply(event, name):
            self._has_several_replies = True
            self._ended = False
            self._previous_usage, self._latest_usage = self._usage, {}
        counts = False
        for path in self.usage_paths:
            found: Any = event
            for step in path:
                found = mapping(found).get(step)
            if found:
                self._count(mapping(found))
                counts = True
        if self._ended:
            # Nothing may follow. What does is no part of the reply, and may be billed.
            late = [event.get(member) for member in ("choices", "delta", "candidates")]
            after = generated_tokens(late, self._encoding)
            self._generated += after
            self._counted_at += after
            return NO_PIECE
        before = self._generated
        piece = self._add(event, name)
        self.pieces += self._generated > before
        if counts:
            self._counted_at = self._generated
        return piece

    def _count(self, usage: Mapping[str, Any]) -> None:
        before, earlier = self._latest_usage, self._previous_usage
        latest = larger_counts(before, usage)
        latest |= merged_names(before, latest, TIERS)
        self._usage = self._latest_usage = latest
        if earlier:
            self._usage = summed_counts(earlier, latest) | merged_names(earlier, latest, TIERS)

    def _is_new_identity(self, identity: object) -> bool:
        """Whether *identity*, the id of an event's reply, differs from the ids before it."""
        if not isinstance(identity, str) or not identity:
            return False
        before, self._identity = self._identity, identity
        return before not in {"", identity}

    @property
    def _final_usage(self) -> dict[str, Any]:
        """The usage; empty where the reply went on after it, for then it is that of a part."""
        is_of_part = self.finished and self._generated > self._counted_at
        return {} if is_of_part else self._usage

    @abstractmethod
    def _reply(self) -> dict[str, Any]:
        """Return what the events add up to, as `reply` does of one reply."""

    @abstractmethod
    def _starts_new_reply(self, event: Mapping[str, Any], name: str) -> bool:
        """Whether an event starts another reply; if so, the stream's state is reset for it."""

    @abstractmethod
    def _add(self, event: Mapping[str, Any], name: str) -> StreamPiece:
        """Add an event that is not late; its usage was counted."""

    @property
    @abstractmethod
    def _reported(self) -> int:
        """The output tokens of the usage until now."""


def merged_names(
    before: Mapping[str, Any], after: Mapping[str, Any], members: Iterable[str]
) -> dict[str, str]:
    """Return those *members*, models or tiers, that two events name differently.

    Both names are joined, which has no price: it is unknown which one is billed. A name and its
    dated form are the same; `auto` is not a tier yet.
    """
    found: dict[str, str] = {}
    for member in members:
        first, then = before.get(member), after.get(member)
        if isinstance(first, str) and isinstance(then, str) and first != then:
            found[member] = _merge_names(first, then)
    return found


def _merge_names(first: str, then: str) -> str:
    if not first or tier_name(first) in {"auto", tier_name(then)} or same_model(first, then):
        return then
    if not then or _BOTH in first or tier_name(then) == "auto" or same_model(then, first):
        return first
    return f"{first}{_BOTH}{then}"


def generated_tokens(value: object, encoding: str | None = None) -> int:
    """Return the most tokens of every string in *value* that a model may have generated.

    Each is counted by its bytes; what the model wrote, with its tokenizer where that is known.
    """
    if isinstance(value, str):
        return count_piece(value, encoding)
    total = 0
    pending: list[tuple[object, bool, str | None]] = [(value, False, None)]
    while pending:
        each, is_json, tokenizer = pending.pop()
        if isinstance(each, str):
            total += _string(each, is_json, tokenizer)
        elif isinstance(each, Mapping):
            for name, inner in mapping(cast("object", each)).items():
                if is_json:
                    total += _json_text(str(name)) + 2
                if is_json or name not in _LABELS:
                    written = encoding if name in _WRITTEN and not is_json else None
                    pending.append((inner, is_json or name in _GENERATED_JSON, written))
        elif isinstance(each, list | tuple):
            pending += [(inner, is_json, None) for inner in items(cast("object", each))]
            total += 2 * is_json
        elif is_json:
            total += _digits(each)
    return total


def _string(text: str, is_json: bool, tokenizer: str | None) -> int:  # noqa: FBT001 - private
    if tokenizer is not None:
        return count_piece(text, tokenizer)
    return _json_text(text) if is_json else byte_bound(text)


def _json_text(text: str) -> int:
    """Return the bytes of a JSON string with its quotes, which may have been written in escapes."""
    return max(byte_bound(text) + 2, len(json.dumps(text)))


def _digits(value: object) -> int:
    """Return the characters of a JSON number or constant, at least."""
    return value.bit_length() // 3 + 2 if isinstance(value, int) else 32


def index_of(value: object, otherwise: int = 0) -> int:
    """Return *value* if it is an index, else *otherwise*."""
    return value if isinstance(value, int) and value >= 0 else otherwise


def count_of(value: object) -> int:
    """Return *value* if it is a count of tokens, else 0."""
    return value if isinstance(value, int) and value > 0 else 0


class MergedDeltas:
    """A JSON object put together from deltas: strings grow, objects and lists are merged.

    Entries of a list that have an `index` are merged by it, others are added at its end.
    """

    def __init__(self) -> None:
        self._members: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._members)

    def add(self, delta: Mapping[str, Any], depth: int = 0) -> None:
        """Merge one delta."""
        for name, value in delta.items():
            if isinstance(value, str) and name not in _SENT_WHOLE:
                self._text(name).append(value)
            elif isinstance(value, Mapping) and depth < _DEEPEST:
                self._object(name).add(cast("Mapping[str, Any]", value), depth + 1)
            elif isinstance(value, list) and depth < _DEEPEST:
                self._list(name).extend(items(cast("object", value)), depth + 1)
            elif value or name not in self._members:
                self._members[name] = value

    def value(self) -> dict[str, Any]:
        """Return the object."""
        return {name: _value(each) for name, each in self._members.items()}

    def _text(self, name: str) -> "_Text":
        found = self._members.get(name)
        if not isinstance(found, _Text):
            found = self._members[name] = _Text()
        return found

    def _object(self, name: str) -> "MergedDeltas":
        found = self._members.get(name)
        if not isinstance(found, MergedDeltas):
            found = self._members[name] = MergedDeltas()
        return found

    def _list(self, name: str) -> "_Entries":
        found = self._members.get(name)
        if not isinstance(found, _Entries):
            found = self._members[name] = _Entries()
        return found


class _Text(list[str]):
    """The pieces of a string: joined once, at the end."""


class _Entries:
    """The entries of a list by their index."""

    def __init__(self) -> None:
        self._entries: dict[int, Any] = {}
        self._end = 0

    def extend(self, entries: Sequence[Any], depth: int) -> None:
        for each in entries:
            entry = mapping(each)
            at = index_of(entry.get("index"), self._end)
            self._end = max(self._end, at + 1)
            if not entry:
                self._entries[at] = each
                continue
            before = self._entries.get(at)
            if not isinstance(before, MergedDeltas):
                before = self._entries[at] = MergedDeltas()
            before.add(entry, depth)

    def values(self) -> Iterator[Any]:
        return (_value(self._entries[at]) for at in sorted(self._entries))


def _value(member: object) -> Any:  # noqa: ANN401 - a JSON value
    match member:
        case _Text():
            return "".join(member)
        case MergedDeltas():
            return member.value()
        case _Entries():
            return list(member.values())
        case _:
            return member
