"""How many tokens a stream has produced, where the model's tokenizer is known."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toktok import truncate

from earmark.apis.stream_parts import PART_TOKENS
from earmark.apis.streams import ReplyStream, open_stream

ENCODING = "o200k_base"
DELTAS: dict[str, tuple[str, Any]] = {
    "text": ("openai", lambda text: {"choices": [{"index": 0, "delta": {"content": text}}]}),
    "reasoning": ("openai", lambda text: {"choices": [{"delta": {"reasoning_content": text}}]}),
    "arguments": (
        "openai",
        lambda text: {
            "choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}}]
        },
    ),
    "output_text": (
        "openai-responses",
        lambda text: {"type": "response.output_text.delta", "output_index": 0, "delta": text},
    ),
    "function_call": (
        "openai-responses",
        lambda text: {
            "type": "response.function_call_arguments.delta",
            "output_index": 0,
            "delta": text,
        },
    ),
}


def written(kind: str, pieces: list[str], encoding: str | None = ENCODING) -> ReplyStream:
    """Return a stream that was fed *pieces*, each as an event."""
    api, event = DELTAS[kind]
    stream = open_stream(api, encoding=encoding)
    for piece in pieces:
        stream.feed(event(piece))
    return stream


def tokens_of(text: str) -> Iterator[str]:
    """Yield *text* in pieces of one token; a character of several tokens is one piece."""
    while text:
        piece, _ = truncate(text[:200], 1, ENCODING)
        piece = str(piece) or text[0]
        yield piece
        text = text[len(piece) :]


@pytest.mark.parametrize("kind", DELTAS)
def test_a_token_for_each_event_is_counted_exactly(kind: str) -> None:
    """Also where a tokenizer would have made one token of several: the model wrote them all."""
    around = PART_TOKENS * (2 if kind == "arguments" else 1)
    sentence = ["Mars", " or", " perhaps", " Venus", "."] * 40
    assert written(kind, sentence).produced_tokens == around + 200
    letters = list(" perhaps" * 20)
    assert written(kind, letters).produced_tokens == around + len(letters)
    assert written(kind, sentence, None).produced_tokens > around + 4 * 200


@given(st.text(max_size=60))
def test_no_whole_token_is_left_out(text: str) -> None:
    """Whatever is written, in whichever script: each event counts a token at least."""
    pieces = list(tokens_of(text))
    assert written("text", pieces).produced_tokens - PART_TOKENS * bool(text) >= len(pieces)


def test_a_whole_item_adds_nothing_to_its_pieces() -> None:
    """The event that ends an item repeats its text, which is not counted by bytes then."""
    stream = written("output_text", ["Mars", " or", " Venus"] * 100)
    before = stream.produced_tokens
    part = {"type": "output_text", "text": "Mars or Venus" * 100, "annotations": []}
    item = {"id": "m", "type": "message", "role": "assistant", "content": [part]}
    stream.feed({"type": "response.output_item.done", "output_index": 0, "item": item})
    stream.feed({"type": "response.completed", "response": {"output": [item]}})
    assert stream.produced_tokens == before


@pytest.mark.parametrize(
    ("api", "event"),
    [
        ("openai", {"choices": [{"delta": {"audio": {"data": "A" * 500}}}]}),
        ("openai", {"choices": [{"delta": {"reasoning_details": [{"data": "A" * 500}]}}]}),
        (
            "openai-responses",
            {
                "type": "response.output_item.done",
                "output_index": 0,
                "item": {"type": "reasoning", "encrypted_content": "A" * 500},
            },
        ),
    ],
)
def test_what_is_no_text_is_counted_by_its_bytes(api: str, event: dict[str, Any]) -> None:
    """Base64 of sound, or of reasoning that is hidden, is not what the model wrote."""
    stream = open_stream(api, encoding=ENCODING)
    stream.feed(event)
    assert stream.produced_tokens >= 500
