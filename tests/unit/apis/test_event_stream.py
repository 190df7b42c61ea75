"""Server-sent events: the same events however a network cuts the bytes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pkgutil import resolve_name

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.apis.event_stream import EventDecoder, ServerEvent
from earmark.errors import InvalidUsage


def decoded(*chunks: bytes, largest: int = 1000) -> list[ServerEvent]:
    """Return the events of a whole response that came in *chunks*."""
    decoder = EventDecoder(largest=largest)
    found = [event for chunk in chunks for event in decoder.feed(chunk)]
    return [*found, *decoder.end()]


def cut(text: bytes, places: list[int]) -> list[bytes]:
    """Return *text* cut at *places*."""
    at = sorted({place % (len(text) + 1) for place in places})
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]


BYTES = [
    (b"data: a\n\n", [("message", "a")]),
    (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [("message", each) for each in "abc"]),
    ("\ufeffevent: e\ndata: é\n\n".encode(), [("e", "é")]),
    (b"data: a\ndata:b\ndata:  c\n\n", [("message", "a\nb\n c")]),
    (b": comment\n\n:\nevent: p\n\nid: 7\nretry: 9\nx\ndata\n\ndata: a\n\n", [("message", "a")]),
    (b"event: e\ndata: a\n\ndata: b\n\n", [("e", "a"), ("message", "b")]),
    (b"data: a\n\ndata: b", [("message", "a"), ("message", "b")]),
    (b"data: a\r", [("message", "a")]),
    ("data: \u2028 \x85 \v\n\n".encode(), [("message", "\u2028 \x85 \v")]),
    (b"data: \xff\n\n", [("message", "\ufffd")]),
    (b"", []),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), BYTES)
@given(places=st.lists(st.integers(0, 200)))
def test_an_event_is_whole_wherever_it_was_cut(
    sent: bytes, expected: list[tuple[str, str]], places: list[int]
) -> None:
    """Line ends of three kinds, a byte order mark, comments and letters of two bytes survive."""
    events = [ServerEvent(*each) for each in expected]
    assert decoded(*cut(sent, places)) == events
    assert decoded(*(bytes([byte]) for byte in sent)) == events


@given(
    sent=st.lists(st.sampled_from(["data", "event", "id", ":", " ", "é", "\n", "\r\n", "x"])).map(
        lambda parts: ("".join(parts) + "\n\n").encode()
    ),
    places=st.lists(st.integers(0, 200)),
)
def test_what_the_clients_of_openai_and_httpx_read_is_read(sent: bytes, places: list[int]) -> None:
    """Two other decoders see the same events with data in the same bytes."""
    chunks = cut(sent, places)
    sse_decoder = resolve_name("openai._streaming.SSEDecoder")

    def of_openai() -> Iterator[ServerEvent]:
        for event in sse_decoder().iter_bytes(iter(chunks)):
            yield ServerEvent(event.event or "message", event.data)

    async def of_httpx() -> list[ServerEvent]:
        async def body() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        response = httpx2.Response(
            200,
            headers={"content-type": "text/event-stream"},
            content=body(),
            request=httpx2.Request("GET", "http://stub"),
        )
        return [ServerEvent(each.event, each.data) async for each in httpx2.EventSource(response)]

    found = decoded(*chunks)
    assert found == [each for each in of_openai() if each.data]
    assert found == [each for each in asyncio.run(of_httpx()) if each.data]


def test_an_event_without_an_end_is_given_up() -> None:
    """A server that never ends its event does not fill the memory, in one line or in many."""
    for endless in (
        [b"data: " + b"x" * 20],
        [b"data: " + b"x" * 8, b"x" * 8],
        [b"data: xxx\n"] * 5,
    ):
        with pytest.raises(InvalidUsage, match="larger than 10"):
            decoded(*endless, largest=10)
    assert len(decoded(*[b"data: xxxx\n\n"] * 9, largest=10)) == 9
