"""What every store's URL must be, and which file a SQLite store's names."""

from pathlib import Path
from typing import Final

from earmark.errors import InvalidConfig
from earmark.errors.inputs import shown

IN_MEMORY: Final = "memory:"
SQLITE: Final = "sqlite:///"
WANT: Final = "'memory:', 'sqlite:///path/to/file.db' or 'postgresql://user:password@host/database'"


def check_url(url: str) -> None:
    """Refuse what is no text, or not text that can be written in UTF-8.

    Raises:
        InvalidConfig: It is no such text; what it is is not repeated where it may have a password.
    """
    if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        kind = type(url).__name__
        raise InvalidConfig(place="store URL", detail=f"it is text, not {kind}: give {WANT}")
    try:
        url.encode()
    except UnicodeEncodeError:
        detail = f"it has a character that no UTF-8 text has: give {WANT}"
        raise InvalidConfig(place="store URL", detail=detail) from None


def sqlite_path(url: str) -> str:
    """Return the path of the file that *url*, `sqlite:///PATH`, names.

    Raises:
        InvalidConfig: It is in memory, or has options, which a path would take for its name.
    """
    path = url.removeprefix(SQLITE)
    detail = ""
    if path.startswith(":memory:"):
        detail = "'sqlite:///:memory:' would be gone with the process: give 'memory:' if it may be"
    elif "\0" in path:
        detail = "a path has no NUL in it"
    elif path.startswith("file:"):
        detail = f"{shown(path)} is a URI of SQLite's: give the path alone, 'sqlite:///file.db'"
    elif set("?#") & set(Path(path).name):
        detail = (
            f"{shown(path)} has a '?' or '#', and a SQLite store has no options:"
            " give the path of a file without them, or 'memory:' for books that may be lost"
        )
    if detail:
        raise InvalidConfig(place="store URL", detail=detail)
    return path


def store_file(url: str) -> Path | None:
    """Return the file of a SQLite store; `None` where the books are in no file."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def with_folder(url: str) -> str:
    """Return *url* as it names the same books from every folder: a relative path made absolute."""
    file = store_file(url)
    return url if file is None else f"{SQLITE}{file.absolute()}"
