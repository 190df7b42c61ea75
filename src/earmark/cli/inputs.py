"""What a command reads: a graph, an input, files that may be anything."""

import sys
from pathlib import Path
from typing import Any, Final

from earmark.composition.ast import Composition
from earmark.composition.document import MAX_BYTES, load
from earmark.composition.parse import parse_composition
from earmark.errors import InvalidComposition, InvalidFile

_STDIN: Final = "-"


def read_graph(source: str) -> Composition:
    """Return the composition in the file *source*, or on standard input for `-`.

    Raises:
        InvalidFile: There is no such file, or it cannot be read.
        InvalidComposition: It is none; says where.
    """
    return parse_composition(read_file(source))


def read_input(text: str, name: str = "--input") -> Any:  # noqa: ANN401 - JSON of any kind
    """Return the JSON value that *text* is, or that `@file`, or standard input for `-`, holds.

    *name* is what errors call it.

    Raises:
        InvalidFile: The file cannot be read, or what was given is not JSON.
    """
    if text == _STDIN or text.startswith("@"):
        source = text.removeprefix("@")
        return read_json(source)
    return _json(text, name)


def read_json(source: str) -> Any:  # noqa: ANN401 - JSON of any kind
    """Return the JSON value in a file; raises `InvalidFile`."""
    return _json(read_file(source), source)


def read_file(source: str) -> bytes:
    """Return the bytes of the file *source*, or of standard input for `-`.

    Raises:
        InvalidFile: There is no such file, it is a folder, too large, or cannot be read.
    """
    try:
        raw = _read(source)
    except FileNotFoundError:
        raise InvalidFile(path=source, detail="there is no such file") from None
    except IsADirectoryError:
        raise InvalidFile(path=source, detail="it is a folder") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InvalidFile(path=source, detail=f"{why}") from None
    if len(raw) > MAX_BYTES:
        raise InvalidFile(path=source, detail=f"it has more than {MAX_BYTES:,} bytes")
    return raw


def _json(text: str | bytes, name: str) -> Any:  # noqa: ANN401 - JSON of any kind
    try:
        return load(text)
    except InvalidComposition as error:
        where = f" at {error.place}" if error.place else ""
        raise InvalidFile(path=name, detail=f"{error.detail}{where}") from None


def _read(source: str) -> bytes:
    if source == _STDIN:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with Path(source).open("rb") as opened:
        return opened.read(MAX_BYTES + 1)
