"""A stream that passes on: its bytes as they came, and the events that the whole decoder finds."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.apis.counters import larger_members
from earmark.apis.event_stream import EventDecoder
from earmark.gateway.events import EventSplitter, RawEvent
from earmark.gateway.json_array import ArraySplitter

#: Of every form: one line of data, as most are, and what only the decoder reads.
EVENTS = (
    b'data: {"a": 1}\n\n', b"data: [DONE]\n\n", b"data: \xc3\xa9\n\n", b'data: {"a":1,"a":2}\n\n',
    b"data:{}\n\n", b'event: ping\ndata: {"b": 2}\n\n', b": a comment\n\n", b"data: \n\n",
    b'data: {"a":\ndata: 1}\n\n', b'data: {"a": 1}\r\n\r\n', b"data: a\rdata: b\n\n",
    b"data: \xff\n\n", b"\xef\xbb\xbfdata: {}\n\n", b"event: x\n\n", b"id: 1\n\n",
)  # fmt: skip


def decoded(text: str) -> object:
    """Return what the text of an event says."""
    try:
        return json.loads(text, object_pairs_hook=larger_members)
    except ValueError:
        return text


@given(st.lists(st.sampled_from(EVENTS), max_size=8), st.lists(st.integers(0, 200), max_size=4))
def test_events_are_those_of_the_whole_decoder_wherever_the_stream_is_cut(
    events: list[bytes], cuts: list[int]
) -> None:
    """In any order, cut anywhere: the same data and names, and not one byte is changed."""
    whole = b"".join(events)
    ends = [*sorted(min(each, len(whole)) for each in cuts), len(whole)]
    splitter, found = EventSplitter(), list[RawEvent]()
    for begin, end in zip([0, *ends], ends, strict=False):
        found += splitter.feed(whole[begin:end])
    found += splitter.end()
    assert b"".join(each.raw for each in found) == whole
    decoder = EventDecoder()
    expected = [*decoder.feed(whole), *decoder.end()]
    assert [(each.data, each.name) for each in found if each.data is not None] == [
        (decoded(each.data), each.name) for each in expected
    ]


@pytest.mark.parametrize(
    ("splitter", "begin"),
    [(EventSplitter(), b"data: "), (ArraySplitter(), b'[{"a": "'), (ArraySplitter(), b" ")],
)
def test_what_waits_for_its_end_is_not_copied_at_each_chunk(
    splitter: EventSplitter | ArraySplitter, begin: bytes
) -> None:
    """Else the work is the square of an event's size, on the loop that answers everybody."""
    waiting = begin + begin[-1:].replace(b'"', b"x") * (8 << 20)
    assert list(splitter.feed(waiting)) == []
    tracemalloc.start()
    try:
        list(splitter.feed(b" "))  # there may be no room for it yet
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(100):
            assert list(splitter.feed(b" ")) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - kept < len(waiting) // 2
