"""Budget paths: `acme/research/agent-7`, whose ancestors are `acme/research` and `acme`."""

import re
from functools import lru_cache
from typing import Final

from earmark.errors import InvalidPath
from earmark.errors.inputs import shown

MOST_SEGMENTS: Final = 16
LONGEST_PATH: Final = 255
LONGEST_SEGMENT: Final = 64

_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


def parse_path(text: str) -> str:
    """Return *text* if it is a budget path.

    Raises:
        InvalidPath: A segment is empty, `.` or `..`, longer than 64 characters, or holds anything
            but ASCII letters, digits, `.`, `_` and `-`; or the path has more than 16 segments or
            255 characters.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise InvalidPath(text=shown(text), want="text such as acme/agent-7")
    return _parsed(text)


@lru_cache(maxsize=8192)
def _parsed(text: str) -> str:
    if len(text) > LONGEST_PATH:
        raise InvalidPath(text=f"{text[:40]}…", want=f"at most {LONGEST_PATH} characters")
    segments = text.split("/")
    if len(segments) > MOST_SEGMENTS:
        raise InvalidPath(text=text, want=f"at most {MOST_SEGMENTS} segments")
    for segment in segments:
        _check_segment(segment, text)
    return text


@lru_cache(maxsize=8192)
def ancestors(path: str) -> tuple[str, ...]:
    """Return *path* and every path above it, leaf first: `a/b` gives `("a/b", "a")`.

    Raises:
        InvalidPath: See `parse_path`.
    """
    segments = parse_path(path).split("/")
    return tuple("/".join(segments[:depth]) for depth in range(len(segments), 0, -1))


def is_within(path: str, root: str) -> bool:
    """Return whether *path* is *root* or lies below it, by whole segments: `ab` is not in `a`."""
    return path == root or path.startswith(f"{root}/")


def _check_segment(segment: str, text: str) -> None:
    if not segment:
        raise InvalidPath(text=text, want="segments joined by single slashes, such as acme/agent-7")
    if segment in {".", ".."}:
        raise InvalidPath(text=text, want=f"names for segments, not '{segment}'")
    if len(segment) > LONGEST_SEGMENT:
        raise InvalidPath(text=text, want=f"segments of at most {LONGEST_SEGMENT} characters")
    if not _SEGMENT.fullmatch(segment):
        other = next(each for each in segment if not _SEGMENT.fullmatch(each))
        want = f"segments of ASCII letters, digits, '.', '_' and '-', without {other!a}"
        raise InvalidPath(text=text, want=want)
