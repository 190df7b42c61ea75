"""Keeps a provider's key out of what it answers: some errors repeat what they were sent. Pure."""

from collections.abc import Iterable
from typing import Final

#: Shorter keys are no secrets, such as `ollama`: a reply may hold these letters by chance.
_SHORTEST: Final = 16


def secret_of(key: str | None) -> bytes:
    """Return the bytes of *key* that no client may see; empty if it is no secret."""
    return b"" if key is None or len(key) < _SHORTEST else key.encode()


def masked(data: bytes, secret: bytes) -> bytes:
    """Return *data* with as many asterisks in the place of *secret*; its length stays."""
    return data.replace(secret, b"*" * len(secret)) if secret else data


def masked_headers(raw: Iterable[tuple[bytes, bytes]], secret: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers *raw*, their values without *secret*."""
    return [(name, masked(value, secret)) for name, value in raw]


def masked_texts(headers: dict[str, str], secret: bytes) -> dict[str, str]:
    """Return *headers*, their values without *secret*."""
    if not secret:
        return headers
    text = secret.decode()
    return {name: value.replace(text, "*" * len(text)) for name, value in headers.items()}
