"""A stream of events that passes on: its bytes as they came, and what they say. Pure."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from earmark.apis.counters import larger_members
from earmark.apis.event_stream import DEFAULT_NAME, LARGEST_EVENT, EventDecoder, ServerEvent
from earmark.apis.stream_parts import DONE
from earmark.apis.streams import ClosingEvent
from earmark.errors import InvalidUsage
from earmark.gateway.key_mask import masked
from earmark.pricing.json_values import mapping

#: An empty line, as every provider ends its events; a line's end is LF, CR LF or CR.
_END: Final = re.compile(rb"\n\r?\n|\r\r")
_LONGEST_END: Final = 3
_JSON: Final = json.JSONDecoder(object_pairs_hook=larger_members)
_DATA: Final = b"data: "
#: Types of the event that ends a stream of the Messages and of the Responses API; Gemini has none.
_LAST: Final = frozenset(
    {"message_stop", "response.completed", "response.incomplete", "response.failed"}
)


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One event: the bytes that it came in, and what they say."""

    raw: bytes
    data: object
    """Decoded JSON, or the text as it is; `None` for a comment, which says nothing."""
    name: str = ""
    ends_stream: bool = False
    """Whether its client takes it for the end of the stream, whatever it says."""


class EventSplitter:
    """Divides the bytes of one response into events; together they are the same bytes."""

    def __init__(self, secret: bytes = b"") -> None:
        """Put asterisks in the place of *secret*, wherever an event holds it."""
        self._secret = secret
        self._rest = bytearray()
        self._decoder = EventDecoder()
        self._has_begun = False

    def feed(self, chunk: bytes) -> Iterator[RawEvent]:
        """Yield the events that end in *chunk*.

        Raises:
            InvalidUsage: One is larger than an event may be.
        """
        data = self._rest
        begin, searched = 0, max(0, len(data) - _LONGEST_END)
        data += chunk  # in place: an event in many chunks is not copied at each
        while (end := _END.search(data, searched)) is not None:
            raw = masked(bytes(data[begin : end.end()]), self._secret)
            if self._has_begun and (plain := _plain_event(raw)) is not None:
                yield plain
            else:
                # A byte order mark may begin the stream.
                self._has_begun = True
                yield from _events(raw, self._decoder.feed(raw))
            begin = searched = end.end()
        del data[:begin]
        if len(self._rest) > LARGEST_EVENT:
            raise InvalidUsage(detail=f"an event is larger than {LARGEST_EVENT} bytes")

    def end(self) -> Iterator[RawEvent]:
        """Yield what came after the last event."""
        rest = masked(bytes(self._rest), self._secret)
        self._rest.clear()
        if rest:
            yield from _events(rest, [*self._decoder.feed(rest), *self._decoder.end()])


def _plain_event(raw: bytes) -> RawEvent | None:
    """Return the event of one line of data, as most are, at a fraction of the decoder's time."""
    end = len(raw) - 2
    if not raw.startswith(_DATA) or raw.find(b"\n") != end or b"\r" in raw:
        return None
    if not len(_DATA) < end <= LARGEST_EVENT:
        return None
    try:
        return RawEvent(raw, decoded_event(raw[len(_DATA) : end].decode()), DEFAULT_NAME)
    except UnicodeDecodeError:
        return None


def _events(raw: bytes, found: list[ServerEvent]) -> Iterator[RawEvent]:
    """Yield what *raw* says: one event nearly always; more where its lines end in several ways."""
    if not found:
        yield RawEvent(raw, None)
    for number, event in enumerate(found):
        yield RawEvent(b"" if number else raw, decoded_event(event.data), event.name)


def is_last(data: object) -> bool:
    """Return whether a client takes the event that says *data* for the end of its stream."""
    return data == DONE or mapping(data).get("type") in _LAST


def encoded(events: list[ClosingEvent]) -> bytes:
    """Return *events* as they are sent."""
    lines: list[str] = []
    for name, data in events:
        if name:
            lines.append(f"event: {name}\n")
        text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
        lines.append(f"data: {text}\n\n")
    return "".join(lines).encode()


def decoded_event(text: str) -> object:
    """Return the JSON of one event, or *text* where it is none; of a name's values the larger."""
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError):
        return text
