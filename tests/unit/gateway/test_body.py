"""Bodies: changed where they are set, and byte for byte the same elsewhere."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.gateway.body import decoded, spliced
from earmark.gateway.denied import Denied


def test_only_what_is_set_changes() -> None:
    """Spaces, the form of numbers, escapes and the order of members stay; objects are gone into."""
    data = b'  { "a" : 1.0e2 , "b\\u0041": [1, 2 , "}\\""] ,"g":{ "z":1e400 }\n, "m":5 }  '
    before = decoded(data)
    after = {**before, "m": 7, "new": True, "g": {**before["g"], "k": 3}}
    assert spliced(data, before, after) == (
        b'  { "a" : 1.0e2 , "b\\u0041": [1, 2 , "}\\""] ,"g":{ "z":1e400,"k":3 }\n,'
        b' "m":7,"new":true }  '
    )
    assert spliced(data, before, dict(before)) is data
    assert spliced(b"{}", {}, {"a": 1}) == b'{"a":1}'


def test_a_number_that_compares_as_true_is_replaced() -> None:
    """`1` is not `true`: a provider may read the two as different."""
    data = b'{"stream_options":{"include_usage":1}}'
    after = {"stream_options": {"include_usage": True}}
    assert spliced(data, decoded(data), after) == b'{"stream_options":{"include_usage":true}}'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"max_tokens":1,"max_tokens":9}', "names a member twice"),
        (b'{"m":[{"a":1,"\\u0061":2}]}', "names a member twice"),
        (b'{"a":NaN}', "NaN is no number there; send a number"),
        (b"[1]", "no JSON object"),
        (b"", "no JSON in UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', "no JSON in UTF-8"),
        ('{"a":1}'.encode("utf-16"), "no JSON in UTF-8"),
        (b'{"a":"\xff"}', "no JSON in UTF-8"),
        (b'{"a":' + b"[" * 100_000, "deeper than is read: nest them less"),
        (b'{"a":-%s}' % (b"9" * 5000), "more than 4300 digits, which is not read: send a shorter"),
    ],
)
def test_what_a_provider_may_read_otherwise_is_refused(data: bytes, words: str) -> None:
    """What is named twice, also in escapes; what is no JSON object in UTF-8, or is not read."""
    with pytest.raises(Denied, match=words) as refused:
        decoded(data)
    assert refused.value.status == 400


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    before=st.dictionaries(st.text(), _JSON),
    more=st.dictionaries(st.text(), _JSON),
    indent=st.none() | st.integers(0, 3),
    ascii_only=st.booleans(),
)
def test_a_spliced_body_says_what_it_shall(
    *, before: dict[str, Any], more: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    """Whatever it holds, and however it was written."""
    try:
        data = json.dumps(before, indent=indent, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return  # half a character has no bytes
    after = {**before, **more}
    assert json.loads(spliced(data, before, after)) == after
