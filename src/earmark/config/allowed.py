"""Which configuration files their user allowed: one record each, in the user's own folder.

A record holds where the file lies and the digest of the content that was allowed, so another
content, or the same file in another folder, is not allowed. Records that somebody else could have
written count for nothing.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

import msgspec
from msgspec import Struct

from earmark.errors import InvalidConfig

_STATE: Final = "XDG_STATE_HOME"
_ENDING: Final = ".json"
_LARGEST_RECORD: Final = 16 << 20
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class AllowedFile(Struct, frozen=True, kw_only=True):
    """One file that may set what it sets."""

    file: str
    """Its path, in the real path of its folder."""
    sha256: str
    sets: tuple[str, ...] = ()
    """What it set when it was allowed; see `earmark.config.summary`."""
    allowed_at: int = 0
    """The instant."""


class AllowedFiles:
    """The records of one user; each change of one is atomic and durable."""

    def __init__(self, folder: Path) -> None:
        """Keep the records in *folder*, which is made when the first one is written."""
        self._folder = folder

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> "AllowedFiles":
        """Return those below `XDG_STATE_HOME`, or else `~/.local/state`.

        Raises:
            InvalidConfig: This user has no home folder.
        """
        state = environ.get(_STATE, "")
        # https://specifications.freedesktop.org/basedir-spec/latest/: a relative one is ignored.
        if not Path(state).is_absolute():
            home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - "~" if there is none
            if not Path(home).is_absolute():
                detail = f"no home folder to keep allowed files in: set HOME or {_STATE}"
                raise InvalidConfig(place=_STATE, detail=detail)
            state = f"{home}/.local/state"
        return cls(Path(state) / "earmark" / "allowed")

    def get(self, file: Path) -> AllowedFile | None:
        """Return the record of *file*, None if there is none.

        Raises:
            InvalidConfig: Others may write in the folder of the records, or it cannot be read.
        """
        found = self._read(self._record(file))
        return found if found is not None and found.file == str(file) else None

    def all(self) -> list[AllowedFile]:
        """Return every record, by file; raises `InvalidConfig` as `get`."""
        try:
            names = [each for each in self._folder.iterdir() if each.suffix == _ENDING]
        except FileNotFoundError:
            return []
        found = [self._read(name) for name in names]
        return sorted((each for each in found if each is not None), key=lambda each: each.file)

    def allow(self, record: AllowedFile) -> None:
        """Write *record* in the place of an earlier one of its file, atomically.

        Raises:
            InvalidConfig: Others may write in the folder of the records.
            OSError: It cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_owner(self._folder, self._folder.stat())
        target = self._record(Path(record.file))
        new = self._folder / f".{token_hex(8)}.new"
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(msgspec.json.encode(record))
                opened.flush()
                os.fsync(descriptor)
            new.replace(target)
        finally:
            with suppress(FileNotFoundError):
                new.unlink()

    def revoke(self, file: Path) -> bool:
        """Remove the record of *file*; return whether there was one."""
        try:
            self._record(file).unlink()
        except FileNotFoundError:
            return False
        return True

    def _record(self, file: Path) -> Path:
        return self._folder / f"{hashlib.sha256(os.fsencode(file)).hexdigest()}{_ENDING}"

    def _read(self, record: Path) -> AllowedFile | None:
        try:
            descriptor = os.open(record, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            detail = f"it cannot be read: {error.strerror}"
            raise InvalidConfig(place=str(record), detail=detail) from None
        with os.fdopen(descriptor, "rb") as opened:
            self._check_owner(self._folder, self._folder.stat())
            self._check_owner(record, os.fstat(descriptor))
            raw = opened.read(_LARGEST_RECORD)
        try:
            return msgspec.json.decode(raw, type=AllowedFile)
        except msgspec.DecodeError:
            detail = "it is no record of an allowed file: remove it"
            raise InvalidConfig(place=str(record), detail=detail) from None

    def _check_owner(self, path: Path, found: os.stat_result) -> None:
        if found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE:
            return
        detail = "others own it or may write in it, so what it allows counts for nothing: chmod 700"
        raise InvalidConfig(place=str(path), detail=detail)
