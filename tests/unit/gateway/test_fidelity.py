"""Bytes pass as they were written, both ways: only what is spliced in differs."""

import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.gateway.events import EventSplitter
from support.gateway_house import GatewayHouse, gateway_house
from support.stub_server import chunks, completion
from support.upstream_stub import STREAM, Answer

EXAMPLES: Final = 1000 if "EARMARK_FIRE_SECONDS" in os.environ else 40
USAGE: Final = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
REPLY: Final = Answer(body=completion(USAGE, model="gpt-4o-mini"))
#: What makes the bound hold, where the client did not write it.
SPLICED: Final = frozenset({"max_tokens", "max_completion_tokens", "service_tier"})
ALLOWED: Final[dict[str, Any]] = {"apis": {"openai": {"options": {"knob": "text"}}}}


@pytest.fixture(scope="module")
def house() -> Iterator[GatewayHouse]:
    """A gateway with plenty of money, that lets an option pass which no table lists."""
    with gateway_house("1000000 usd total", **ALLOWED) as opened:
        opened.stub.answer(REPLY)
        yield opened


@pytest.fixture(scope="module")
def client(house: GatewayHouse) -> Iterator[httpx2.Client]:
    """A client that keeps its connection."""
    with house.client() as made:
        yield made


def post(client: httpx2.Client, body: bytes, **headers: str) -> httpx2.Response:
    """Post a chat request."""
    own = {"content-type": "application/json", **headers}
    return client.post("/v1/chat/completions", content=body, headers=own)


# JSON as no encoder of ours writes it -------------------------------------------------------------

SPACE: Final = st.sampled_from(["", "", " ", "\n", "\t ", "\r\n"])
NUMBERS: Final = st.sampled_from(
    [
        *("0", "-0", "-0.0", "1.0", "1.00e0", "1E+2", "1e400", "-1e400", "1e-400", "0.1000"),
        *("12345678901234567890123", "9007199254740993", "1.7976931348623157e309", "5e-324"),
    ]
)
ESCAPED: Final = st.sampled_from(
    [
        *(r'"\u00e9"', r'"\ud83d\ude00"', r'"\/\b\f"', r'"\u0000"', r'"\u007f\u2028"', '""'),
        *('"\u2028\ufeff\u00e9😀"', '"]}\\"{[,:"', '"\\\\"', '"e\u0301"', r'"\"max_tokens\":1,"'),
    ]
)


def _text(text: str, *, plain: bool) -> str:
    return json.dumps(text, ensure_ascii=not plain)


#: Text that UTF-8 can hold, in either spelling.
TEXTS: Final = st.builds(
    _text, st.text(st.characters(codec="utf-8"), max_size=8), plain=st.booleans()
)


def _listed(items: Sequence[str], space: str) -> str:
    return f"[{space}{f'{space},'.join(items)}{space}]"


def _object(members: dict[str, str], space: str, *, plain: bool) -> str:
    written = (
        f"{space}{json.dumps(name, ensure_ascii=not plain)}{space}:{space}{value}"
        for name, value in members.items()
    )
    return f"{{{f'{space},'.join(written)}{space}}}"


NAMES: Final = st.text(st.characters(codec="utf-8"), max_size=5)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.dictionaries(NAMES, inner, max_size=3)
    return st.builds(_listed, st.lists(inner, max_size=3), SPACE) | st.builds(
        _object, members, SPACE, plain=st.booleans()
    )


VALUES: Final = st.recursive(
    st.sampled_from(["true", "false", "null"]) | NUMBERS | ESCAPED | TEXTS, _nested, max_leaves=6
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a chat request, its members in any order, with a value of any form in one of them."""
    text = draw(ESCAPED | TEXTS)
    members = {
        "model": draw(st.sampled_from(['"gpt-4o-mini"', r'"\u0067pt-4o-mini"'])),
        "messages": f'[{draw(SPACE)}{{"content":{text},"role" :"user"}}]',
        "knob": draw(VALUES),
        "temperature": draw(st.sampled_from(["0", "1.0", "0.10", "1e0", "-0"])),
    }
    names = draw(st.permutations(list(members)))
    kept = {name: members[name] for name in names}
    whole = _object(kept, draw(SPACE), plain=True)
    return f"{draw(SPACE)}{whole}{draw(SPACE)}".encode()


def spliced_in(written: bytes, sent: bytes) -> bytes:
    """Return the one piece by which *sent* is longer; whatever else differs is an error."""
    size = len(sent) - len(written)
    for at in range(len(written) + 1):
        if sent[:at] == written[:at] and sent[at + size :] == written[at:]:
            piece = sent[at : at + size]
            if not piece or piece[:1] == b",":
                return piece
    raise AssertionError((written, sent))


@settings(max_examples=EXAMPLES)
@given(written=bodies())
def test_a_body_of_any_form_passes_byte_for_byte(
    house: GatewayHouse, client: httpx2.Client, written: bytes
) -> None:
    """Numbers, escapes, spaces, the order of members, an option that is only allowed."""
    house.stub.requests.clear()
    reply = post(client, written)
    assert reply.status_code == 200, reply.text
    piece = spliced_in(written, house.stub.requests[0].body)
    added = json.loads(b"{" + piece[1:] + b"}")
    assert added.keys() <= SPLICED
    assert "max_tokens" in added or "max_completion_tokens" in added


@settings(max_examples=EXAMPLES)
@given(value=VALUES, space=SPACE)
def test_a_limit_is_lowered_in_its_place(
    house: GatewayHouse, client: httpx2.Client, value: str, space: str
) -> None:
    """The digits of the client's own limit are replaced, and nothing else is."""
    messages = '[{"role":"user","content":"hi"}]'
    head = f'{{"knob":{value},"model":"gpt-4o-mini",{space}"max_tokens" :{space}'
    written = f'{head}15001{space},"messages":{messages},"service_tier":"default"}}'.encode()
    house.stub.requests.clear()
    reply = post(client, written, **{"x-earmark-at-most": "0.004"})
    assert reply.status_code == 200, reply.text
    sent = house.stub.requests[0].body
    limit = reply.headers["x-earmark-max-tokens"].encode()
    assert sent == re.sub(rb"15001(?=\s*,\"messages\")", limit, written)


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"model":"gpt-4o-mini","model":"gpt-4o-mini","messages":[]}',
        rb'{"model":"gpt-4o-mini","\u006dodel":"gpt-5","messages":[]}',
        b'{"model":"gpt-4o-mini","messages":[{"role":"user","role":"user","content":"x"}]}',
        b'{"model":"gpt-4o-mini","knob":NaN,"messages":[]}',
        b'{"model":"gpt-4o-mini","knob":-Infinity,"messages":[]}',
        b'{"model":"gpt-4o-mini","knob":01,"messages":[]}',
        b'\xef\xbb\xbf{"model":"gpt-4o-mini","messages":[]}',
        rb'{"model":"gpt-4o-mini","knob":"\ud83d","messages":[]}',
        b'{"model":"gpt-4o-mini","messages":[]}{"model":"gpt-5"}',
        b'{"model":"gpt-4o-mini","messages":[],}',
    ],
)
def test_what_two_programs_may_read_differently_does_not_pass(
    house: GatewayHouse, wrong: bytes
) -> None:
    """Members that come twice, what JSON has not, half a character: nothing of it is sent."""
    house.stub.requests.clear()
    assert house.post("/v1/chat/completions", wrong).status_code == 400
    assert house.stub.requests == []


# Streams ------------------------------------------------------------------------------------------

EXTRAS: Final = st.sampled_from(
    [
        *(["event: ping", 'data: {"type": "ping"}'], [": keep-alive"], ["retry: 5"], ["id: 7"]),
        *(
            ['data: {"type":"unknown_event","x":1.0e0}'],
            ["event: odd", "data"],
            ["data:[1,", "data: 2]"],
        ),
        *([": \u00e9😀"], ["data: no JSON"], ["unknown: field", ": and a comment"]),
    ]
)
ENDS: Final = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Return a chat stream with other events in it, its lines' ends mixed, cut anywhere."""
    own = [
        each.decode().rstrip("\n").split("\n")
        for each in chunks(["Ma", "rs"], USAGE, model="gpt-4o-mini")
    ]
    *before, done = own
    lines = [[*draw(st.lists(EXTRAS, max_size=2)), each] for each in before]
    found = ["\ufeff"] if draw(st.booleans()) else []
    for event in [each for group in lines for each in group] + [done]:
        end = draw(ENDS)
        found.append("".join(f"{line}{end}" for line in event) + end)
    whole = "".join(found).encode()
    cuts = sorted(draw(st.sets(st.integers(1, len(whole) - 1), max_size=30)))
    return [whole[at:to] for at, to in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@settings(max_examples=EXAMPLES)
@given(pieces=streams())
def test_a_stream_of_any_form_passes_byte_for_byte(
    house: GatewayHouse, client: httpx2.Client, pieces: list[bytes]
) -> None:
    """Pings, comments, unknown events, a byte order mark, each end of a line; and it is settled."""
    house.stub.answer(Answer(headers=STREAM, events=pieces))
    ask = {
        "model": "gpt-4o-mini",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hi"}],
    }
    reply = post(client, json.dumps(ask).encode())
    house.stub.answer(REPLY)
    assert reply.content == b"".join(pieces)
    hold = house.ledger.reservation(reply.headers["x-earmark-key"])
    assert (str(hold.state), str(hold.settled)) == ("settled", "0.0000054")


@settings(max_examples=EXAMPLES)
@given(pieces=st.lists(st.binary(max_size=6) | st.sampled_from([b"\n", b"\r", b"\r\n", b"data:"])))
def test_any_bytes_are_divided_and_lost_nowhere(pieces: list[bytes]) -> None:
    """Also what is no stream of events."""
    splitter = EventSplitter()
    passed = b"".join(each.raw for piece in pieces for each in splitter.feed(piece))
    assert passed + b"".join(each.raw for each in splitter.end()) == b"".join(pieces)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_passes_before_the_next_one_comes(house: GatewayHouse, end: bytes) -> None:
    """Whatever ends its lines: nobody waits for the end of the stream."""
    gate = threading.Event()
    sent = [each.replace(b"\n", end) for each in chunks(["Ma", "rs"], USAGE, model="gpt-4o-mini")]
    house.stub.answer(Answer(headers=STREAM, events=sent, waits={1: gate}))
    ask = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    try:
        with (
            house.client() as client,
            client.stream("POST", "/v1/chat/completions", json=ask, timeout=60) as reply,
        ):
            parts = reply.iter_raw()
            read = b""
            while len(read) < len(sent[0]):
                read += next(parts)
            gate.set()
            assert read == sent[0]
            assert b"".join(parts).endswith(sent[-1])
    finally:
        gate.set()
        house.stub.answer(REPLY)


def test_headers_that_come_twice_come_twice(house: GatewayHouse) -> None:
    """Each of a reply's headers, in order, its value letter for letter; an error's, too."""
    own = [("x-a", "1"), ("X-A", "2, 3"), ("link", "</a>; rel=a"), ("link", "</b>"), ("e", "")]
    body = b'{"error" : {"x": 1.0e0, "y":"\\u00e9"} }\r\n'
    house.stub.answer(Answer(status=418, body=body, headers=[*own, ("Set-Cookie", "a=1")]))
    reply: httpx2.Response = house.post("/v1/chat/completions", _ask())
    house.stub.answer(REPLY)
    assert (reply.status_code, reply.content) == (418, body)
    passed = [(name.decode().lower(), value.decode()) for name, value in reply.headers.raw]
    wanted = [(name.lower(), value) for name, value in own]
    assert [pair for pair in passed if pair in wanted] == wanted
    assert "set-cookie" not in reply.headers


def _ask() -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
