"""Token bounds against real tokenizers."""

import json
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from toktok import batch_count

from earmark.pricing.tokens import byte_bound, count_or_bound, encoding_of, json_bound

ENCODINGS = ["o200k_base", "cl100k_base", "o200k_harmony"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(st.text())
@example("")
@example("a\u0301\ufdfa\u3042\U0001f600")
@example("<|endoftext|>")
@example("\x00\x01\x02" * 50)
def test_a_text_never_has_more_tokens_than_the_byte_bound(encoding: str, text: str) -> None:
    """Whatever is written, the bound holds: emoji, control characters, any script."""
    (tokens,) = batch_count([text], encoding)
    assert tokens <= byte_bound(text)
    assert count_or_bound([text], encoding) == tokens


def test_every_character_is_within_its_bound() -> None:
    """Each character of Unicode alone, all 1.1 million: the bound holds."""
    texts = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    counted = batch_count(texts, "o200k_base")
    assert all(n <= byte_bound(text) for text, n in zip(texts, counted, strict=True))


@given(st.text())
def test_the_bound_holds_for_normalised_text_too(text: str) -> None:
    """A tokenizer that normalises first makes at most a token of each byte of either form."""
    normal = unicodedata.normalize("NFKC", text)
    assert byte_bound(text) >= len(text.encode())
    assert byte_bound(text) >= len(normal.encode())


#: Of every kind that is counted on another way: normalised or not, few of it or nothing else.
_WRITTEN = st.sampled_from(["", "a" * 500, "\u3042" * 50, "\uff0c", "\ufdfa", "e\u0301", "\ud800"])


@given(st.lists(_WRITTEN | st.text(max_size=5)).map("".join))
def test_the_byte_bound_is_the_sum_of_the_longest_forms(text: str) -> None:
    """However it is counted, each character counts the longer of its two forms (B24)."""
    longest = 0
    for each in text:
        forms = (each, unicodedata.normalize("NFKC", each))
        longest += max(len(form.encode("utf-8", "surrogatepass")) for form in forms)
    assert byte_bound(text) == longest


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    )
)
@example([1, -2, None, [True, []]])
def test_json_is_bounded_as_templates_render_it(value: object) -> None:
    """With a blank after each colon and comma, of numbers and lists as of members."""
    compact = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert json_bound(compact) >= byte_bound(json.dumps(value, ensure_ascii=False))


def test_a_ligature_counts_its_longest_form() -> None:
    """U+FDFA is 3 bytes, and 33 once normalised: the bound is the longer."""
    assert len("\ufdfa".encode()) == 3
    assert byte_bound("\ufdfa") == 33
    assert byte_bound("ab\ufdfa") == 35


def test_broken_text_has_a_bound() -> None:
    """A lone surrogate, which no encoding can write, is bounded all the same."""
    assert byte_bound("\ud800") == 3
    assert count_or_bound(["\ud800"], "o200k_base") <= byte_bound("\ud800")


@pytest.mark.parametrize(
    ("provider", "model", "encoding"),
    [
        ("openai", "gpt-4o-2024-08-06", "o200k_base"),
        ("azure", "gpt-5", "o200k_base"),
        ("openai", "gpt-4-turbo", "cl100k_base"),
        ("openai", "gpt-3.5-turbo", "cl100k_base"),
        ("groq", "openai/gpt-oss-120b", "o200k_harmony"),
        ("local", "gpt-4o", None),
        ("local", "gpt-5", None),
        ("openai", "gpt-5.6-sol", None),
        ("anthropic", "claude-sonnet-4-5", None),
        ("local", "smollm2-135m", None),
    ],
)
def test_a_tokenizer_is_used_only_where_it_is_known(
    provider: str, model: str, encoding: str | None
) -> None:
    """A likeness of names is not enough to count instead of to bound."""
    assert encoding_of(provider, model) == encoding
