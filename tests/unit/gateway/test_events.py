"""A stream that passes on: its bytes as they came, and the events that the whole decoder finds."""

import json

from hypothesis import given
from hypothesis import strategies as st

from earmark.apis.counters import larger_members
from earmark.apis.event_stream import EventDecoder
from earmark.gateway.events import EventSplitter, RawEvent

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
