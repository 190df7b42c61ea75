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


class StreamMask:
    """Masks a secret in bytes that come in pieces, wherever they are cut."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what is sure to hold no part of the secret; what may be its begin waits."""
        data = masked(self._rest + chunk, self._secret)
        waits = min(len(data), max(0, len(self._secret) - 1))
        while waits and not self._secret.startswith(data[-waits:]):
            waits -= 1
        passed, self._rest = data[: len(data) - waits], data[len(data) - waits :]
        return passed

    def end(self) -> bytes:
        """Return what still waits: it was the begin of something else."""
        rest, self._rest = self._rest, b""
        return rest


def masked_headers(raw: Iterable[tuple[bytes, bytes]], secret: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers *raw*, their values without *secret*."""
    return [(name, masked(value, secret)) for name, value in raw]


def masked_texts(headers: dict[str, str], secret: bytes) -> dict[str, str]:
    """Return *headers*, their values without *secret*."""
    if not secret:
        return headers
    text = secret.decode()
    return {name: value.replace(text, "*" * len(text)) for name, value in headers.items()}
