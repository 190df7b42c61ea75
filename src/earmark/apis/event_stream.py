"""Server-sent events: from the bytes of a response, cut anywhere, to its events. Pure.

Source: WHATWG HTML, "Server-sent events", "Parsing an event stream", 2026-11. One departure: an
event that the end of the stream cuts off before its blank line is returned too, because servers
leave that line out; half an event is no JSON and is noticed where it is read.
"""

import codecs
import re
from dataclasses import dataclass, field
from typing import Final

from earmark.errors import InvalidUsage

#: The most characters kept of one event; generated images come in events of several million.
LARGEST_EVENT: Final = 64 << 20
#: Of an event without one; source: the same, "dispatch the event".
DEFAULT_NAME: Final = "message"

_LINE_END: Final = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: the name of its `event` field, `message` without one, and its data."""

    name: str
    data: str


@dataclass(slots=True)
class EventDecoder:
    """Decodes one response; keeps what is not a whole event yet."""

    largest: int = LARGEST_EVENT
    _text: codecs.IncrementalDecoder = field(
        # The stream is UTF-8 whatever its headers say, and may begin with a byte order mark.
        default_factory=lambda: codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    )
    _after_cr: bool = False
    _line: list[str] = field(default_factory=list[str])
    """The pieces of the line that has not ended."""
    _name: str = ""
    _line_size: int = 0
    _data: list[str] = field(default_factory=list[str])
    _data_size: int = 0

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Return the events that end in *chunk*.

        Raises:
            InvalidUsage: One event is larger than `largest`.
        """
        return self._lines(self._text.decode(chunk))

    def end(self) -> list[ServerEvent]:
        """Return the event that the end of the stream cut off, if there is one."""
        text = self._text.decode(b"", final=True)
        return [*self._lines(text), *self._lines("\n\n")]

    def _lines(self, text: str) -> list[ServerEvent]:
        if self._after_cr and text:
            # A line ends in CR LF too, and the two may come in two chunks.
            text = text.removeprefix("\n")
            self._after_cr = False
        if not text:
            return []
        self._after_cr = text.endswith("\r")
        *ended, rest = _LINE_END.split(text)
        found: list[ServerEvent] = []
        for line in ended:
            event = self._take("".join((*self._line, line)))
            self._line.clear()
            self._line_size = 0
            if event is not None:
                found.append(event)
        if rest:
            self._line.append(rest)
            self._line_size += len(rest)
        if self._data_size + self._line_size > self.largest:
            raise InvalidUsage(detail=f"one event is larger than {self.largest} characters")
        return found

    def _take(self, line: str) -> ServerEvent | None:
        """Add a whole line; return the event that it ends."""
        if not line:
            event = ServerEvent(self._name or DEFAULT_NAME, "\n".join(self._data))
            self._name, self._data_size = "", 0
            self._data.clear()
            return event if event.data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_size += len(value)
        elif name == "event":
            self._name = value
        return None
