"""Asking whether a configuration that was found may set what it sets."""

import os
import sys
from collections.abc import Iterable, Iterator
from difflib import unified_diff
from pathlib import Path

from earmark.clock import SystemClock
from earmark.config.allowed import AllowedFile, AllowedFiles
from earmark.errors import ConfigNotAllowed, InvalidFile


def can_ask() -> bool:
    """Return whether a person reads standard error and can answer on standard input.

    A program in the background of a terminal would be stopped by the terminal for reading from it.
    """
    if os.environ.get("CI") or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False


def confirm(refusal: ConfigNotAllowed) -> bool:
    """Show what the file would set, ask once, and return whether the answer was yes."""
    sys.stderr.writelines(f"{line}\n" for line in _question(refusal))
    sys.stderr.write("Allow it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def allow(file: ConfigNotAllowed) -> AllowedFile:
    """Remember that the content with this digest is allowed at this place.

    Raises:
        InvalidConfig: Others may write in the folder of the records.
        InvalidFile: It cannot be written.
    """
    record = AllowedFile(
        file=file.file, sha256=file.sha256, sets=file.sets, allowed_at=SystemClock().instant()
    )
    try:
        AllowedFiles.of_user(os.environ).allow(record)
    except OSError as error:
        place = error.filename or file.file
        detail = f"what is allowed cannot be kept ({error.strerror}): name the file with --config"
        raise InvalidFile(path=str(place), detail=detail) from error
    return record


def changes(before: Iterable[str], after: Iterable[str]) -> Iterator[str]:
    """Yield the lines that are in one of them only, marked by `-` and `+`."""
    for line in unified_diff(list(before), list(after), n=0, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            yield f"{line[0]} {line[1:]}"


def _question(refusal: ConfigNotAllowed) -> Iterator[str]:
    yield f"{refusal.file} was found, not named. It"
    yield from (f"  {line}" for line in refusal.sets)
    if refusal.changed:
        record = AllowedFiles.of_user(os.environ).get(Path(refusal.file))
        yield "It has changed since it was allowed:"
        yield from (f"  {line}" for line in changes(record.sets if record else (), refusal.sets))
