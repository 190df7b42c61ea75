"""The first token of a store: made by the first `earmark serve`, as nothing is read without one."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from earmark.cli.session import Session
from earmark.errors import InvalidConfig
from earmark.workspace.tokens import Tokens

NAME: Final = "first"
SCOPE: Final = "admin"
_SQLITE: Final = "sqlite:///"
_MODE: Final = 0o600
_MOST_FILES: Final = 100


def make_first_token(session: Session, tokens: Tokens, store_url: str) -> None:
    """Make a token if the store never had one of the service; show it, or write it to a file.

    It is on a terminal if standard error is one: a log must not have it. The file is new, next to
    a SQLite store or else in the user's folder of state, and only its owner may read it.

    Raises:
        InvalidConfig: No file can be made; then there is no token either.
    """
    if tokens.of_service():
        return
    if sys.stderr.isatty():
        made = tokens.create_first(NAME, [SCOPE])
        if made is not None:
            session.tell(f"the first token, with the scope '{SCOPE}': {made[1]}")
            session.tell("keep it now: it is not shown again")
        return
    path, descriptor = _new_file(store_url)
    made = None
    try:
        made = tokens.create_first(NAME, [SCOPE])
        if made is not None:
            os.write(descriptor, f"{made[1]}\n".encode())
    finally:
        os.close(descriptor)
        if made is None:  # another process was first, or the store failed
            path.unlink()
    if made is not None:
        session.tell(f"the first token, with the scope '{SCOPE}', is in {path}")


def _new_file(store_url: str) -> tuple[Path, int]:
    try:
        for path in _places(store_url):
            try:
                # Never a file, or a link, that somebody else put there.
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                return path, os.open(path, flags, _MODE)
            except FileExistsError:
                continue
        why = "there are too many of its name"
    except (OSError, RuntimeError) as error:  # the latter: nobody has a home
        why = getattr(error, "strerror", None) or str(error)
    detail = (
        f"the first token cannot be written to a file: {why};"
        f" make one yourself, `earmark token create NAME --scope {SCOPE}`"
    )
    raise InvalidConfig(place="earmark serve", detail=detail)


def _places(store_url: str) -> Iterator[Path]:
    if store_url.startswith(_SQLITE):
        beside = Path(store_url.removeprefix(_SQLITE)).absolute()
        stem = beside.with_name(f"{beside.name}.token")
    else:
        state = os.environ.get("XDG_STATE_HOME")
        folder = (Path(state) if state else Path.home() / ".local" / "state") / "earmark"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stem = folder / "first.token"
    yield stem
    for number in range(2, _MOST_FILES):
        yield stem.with_name(f"{stem.name}-{number}")
