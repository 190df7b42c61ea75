"""An identity is the digest of the RFC 8785 form, whichever encoder wrote it."""

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from earmark.composition.canonical import canonicalise, composition_id, node_json
from earmark.composition.nodes import Const, Let, Sequential, Stage

_NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def expected(root: Any) -> str:
    """Return the identity by the library alone."""
    return hashlib.sha256(rfc8785.dumps(node_json(canonicalise(root)))).hexdigest()


@given(_VALUES)
def test_identity_is_that_of_the_canonical_form(value: Any) -> None:
    """Whatever a graph holds, its identity is the one of its RFC 8785 form."""
    root = Sequential((Const(value), Stage("s", config={"x": value})))
    assert composition_id(root) == expected(root)


@pytest.mark.parametrize(
    "value",
    [1.0, 1e21, -0.0, 1e-7, "1.5e3", 'a "1.0" b', "\\", "\x00\x1f\x7f\b\f", "\u2028", "ü", "🎈"],
    ids=repr,
)
def test_numbers_and_texts_that_encoders_disagree_on(value: Any) -> None:
    """Fractions, escapes and characters of any plane are written as RFC 8785 says."""
    root = Let({"b\U0001f388": Const(value), "b\uffff": Const(1)}, Const({"ﬀ": 1, "🎈": 2, "a": 3}))
    assert composition_id(root) == expected(root)
    assert composition_id(Const(value)) == expected(Const(value))
