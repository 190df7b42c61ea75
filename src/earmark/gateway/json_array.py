"""A stream that is one JSON array: its bytes as they came, and what each element says. Pure.

So Gemini's streamGenerateContent answers where it is not asked for events.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from earmark.apis.event_stream import LARGEST_EVENT
from earmark.apis.streams import ClosingEvent
from earmark.errors import InvalidUsage
from earmark.gateway.events import RawEvent, decoded_event
from earmark.gateway.key_mask import masked

_MARK: Final = re.compile(rb'["\\\[\]{}]')
_NO_SPACE: Final = re.compile(rb"[^ \t\r\n]")


class ArraySplitter:
    """Divides the bytes of one array into its elements; together they are the same bytes."""

    def __init__(self, secret: bytes = b"") -> None:
        """Put asterisks in the place of *secret*, wherever an element holds it."""
        self._secret = secret
        self._rest = bytearray()
        self._spaces = 0
        """How many bytes of space the rest is known to begin with."""
        self._depth = 0
        self._searched: int = 0
        """Until where the rest was looked through."""
        self._in_text = False
        self._is_other = False
        """Whether it is no array: then it passes uncounted, and its hold is presumed."""

    def feed(self, chunk: bytes) -> Iterator[RawEvent]:
        """Yield the elements that end in *chunk*, each with what is before it, and the array's end.

        What is no array passes as one part, which says nothing.

        Raises:
            InvalidUsage: An element is larger than an event may be.
        """
        self._rest += chunk  # in place: an element in many chunks is not copied at each
        if self._is_other or (not self._depth and self._begins_otherwise()):
            self._is_other = True
            yield RawEvent(self._take_rest(), None)
            return
        begin = 0
        while (mark := _MARK.search(self._rest, self._searched)) is not None:
            at = mark.start()
            if mark[0] == b"\\" and at + 1 == len(self._rest):
                break  # what it escapes is still to come
            self._searched = at + (2 if mark[0] == b"\\" else 1)
            if self._ends_part(mark[0]):
                yield self._part(masked(bytes(self._rest[begin : self._searched]), self._secret))
                begin = self._searched
        else:
            self._searched = len(self._rest)
        if begin:
            del self._rest[:begin]
            self._searched -= begin
            self._spaces = 0
        if len(self._rest) > LARGEST_EVENT:
            raise InvalidUsage(detail=f"an element is larger than {LARGEST_EVENT} bytes")

    def _begins_otherwise(self) -> bool:
        """Return whether the rest begins with anything but an array, after its space."""
        begun = _NO_SPACE.search(self._rest, self._spaces)
        self._spaces = len(self._rest) if begun is None else begun.start()
        return begun is not None and begun[0] != b"["

    def _take_rest(self) -> bytes:
        rest = masked(bytes(self._rest), self._secret)
        self._rest.clear()
        return rest

    def _ends_part(self, mark: bytes) -> bool:
        """Return whether an element ends at *mark*, or the array."""
        if mark == b'"':
            self._in_text = not self._in_text
        elif self._in_text or mark == b"\\":
            return False
        elif mark in b"[{":
            self._depth += 1
        else:
            self._depth -= 1
            return self._depth <= 1
        return False

    def _part(self, raw: bytes) -> RawEvent:
        if self._depth < 1:
            return RawEvent(raw, None, ends_stream=True)
        # Before its brace stands what divides it from the one before.
        element = raw[raw.index(b"{") :] if b"{" in raw else raw
        return RawEvent(raw, decoded_event(element.decode("utf-8", "replace")))

    def end(self) -> Iterator[RawEvent]:
        """Yield what came after the last whole element."""
        if rest := self._take_rest():
            yield RawEvent(rest, None)


def encoded_elements(events: list[ClosingEvent]) -> bytes:
    """Return *events* as the last elements of an array that has some already, and its end."""
    return b"".join(b",\r\n" + json.dumps(data).encode() for _, data in events) + b"]"
