"""How many tokens a text can be: exactly where the tokenizer is known, else at most."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final

#: Tokenizers by the models known to use them; others get the byte bound.
#: Source: OpenAI's tiktoken, model.py, and the gpt-oss model card; read 2026-11.
_ENCODINGS: Final = (
    ("o200k_harmony", ("gpt-oss",)),
    (
        "o200k_base",
        ("gpt-4o", "chatgpt-4o-", "gpt-4.1", "gpt-4.5-", "o1", "o3", "o4-mini", "gpt-5-"),
    ),
    ("cl100k_base", ("gpt-4-", "gpt-3.5-turbo", "text-embedding-3-", "text-embedding-ada-002")),
)
_EXACT_NAMES: Final = {"gpt-5": "o200k_base", "gpt-4": "cl100k_base"}
_ASCII: Final = bytes(range(128))
#: Characters of a text whose count is kept: the pieces of a stream are short, and come again.
_SHORT: Final = 32
#: Who serves OpenAI's closed models under OpenAI's names.
_OPENAI: Final = frozenset({"openai", "azure"})


def byte_bound(text: str) -> int:
    """Return at least as many as *text* can be tokens, whatever the tokenizer.

    A byte-level tokenizer gives at most a token for each UTF-8 byte. One that normalises first
    (NFKC, as SentencePiece does) can make more of fewer bytes, so each character counts the longer
    of its two forms.
    """
    return len(text) if text.isascii() else _longest_forms(text, _utf8(text))


def json_bound(text: str) -> int:
    """Return at least as many as the compact JSON *text* can be tokens once it is rendered.

    A renderer may put a blank after each colon and each comma; those in texts are counted too.
    """
    encoded = _utf8(text)
    return _longest_forms(text, encoded) + encoded.count(b":") + encoded.count(b",")


def _longest_forms(text: str, encoded: bytes) -> int:
    """Return the bytes of *text*, of each character in the longer of its two forms."""
    if unicodedata.is_normalized("NFKC", text):
        return len(encoded)
    others = encoded.translate(None, _ASCII).decode("utf-8", "surrogatepass")
    # Each kind of character once.
    return len(encoded) + sum(_growth(each) * n for each, n in Counter(others).items())


def encoding_of(provider: str, model: str) -> str | None:
    """Return the name of the model's tokenizer where it is known for sure, else `None`."""
    name = model.rpartition("/")[2].lower()
    if name in _EXACT_NAMES:
        return _EXACT_NAMES[name] if provider in _OPENAI else None
    for encoding, prefixes in _ENCODINGS:
        if name.startswith(prefixes) and (encoding == "o200k_harmony" or provider in _OPENAI):
            return encoding
    return None


def count_or_bound(texts: Sequence[str], encoding: str | None) -> int:
    """Return the tokens of *texts*, each on its own: counted with the tokenizer, else bounded.

    Counting needs the optional package `toktok-rs` (extra `tokenizers`).
    """
    bound = sum(map(byte_bound, texts))
    tokenizer = _tokenizer() if encoding else None
    if tokenizer is None:
        return bound
    return min(bound, tokenizer.count(texts, encoding or ""))


def count_piece(text: str, encoding: str | None) -> int:
    """Return the tokens of one piece of a stream, as `count_or_bound` of it alone."""
    if encoding is None:
        return byte_bound(text)
    return _count_short(text, encoding) if len(text) <= _SHORT else count_or_bound([text], encoding)


@lru_cache(maxsize=65_536)
def _count_short(text: str, encoding: str) -> int:
    return count_or_bound([text], encoding)


class _Tokenizer:
    """The optional tokenizer package, once it is known to be there."""

    def count(self, texts: Sequence[str], encoding: str) -> int:
        """Return the tokens of *texts*; special tokens in a text count as ordinary text."""
        from toktok import batch_count  # noqa: PLC0415 - optional

        # A lone surrogate travels as an escape of six characters and has no tokens of its own.
        printable = [text.encode("utf-8", "backslashreplace").decode() for text in texts]
        return sum(batch_count(printable, encoding, threads=1))


@cache
def _tokenizer() -> _Tokenizer | None:
    try:
        import toktok  # noqa: F401, PLC0415 - optional  # pyright: ignore[reportUnusedImport]
    except ImportError:
        return None
    return _Tokenizer()


@lru_cache(maxsize=65_536)
def _growth(character: str) -> int:
    """Return how many bytes longer the normalised form of a character is, if it is."""
    normal = unicodedata.normalize("NFKC", character)
    return max(len(_utf8(normal)) - len(_utf8(character)), 0)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
