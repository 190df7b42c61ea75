"""A backup: everything that stands in a store, in one SQLite file, audited before it is kept."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from earmark.clock import Clock
from earmark.errors import NotFound, StoreCorrupt, StoreError
from earmark.ledger.audit import AuditReport, Progress
from earmark.stores.backup_sqlite import audit_file, copy_file, finish_file
from earmark.stores.copy import copy_store
from earmark.stores.open_upkeep import open_upkeep
from earmark.stores.sqlite_file import real_path

_SQLITE: Final = "sqlite:///"
#: What a file is called until it is known to be good; beside it what SQLite makes meanwhile.
_PARTIAL: Final = ".partial"
_BESIDE: Final = ("", "-wal", "-shm", "-journal", "-turn")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What was copied."""

    source: str
    """The store's URL without a password."""
    file: Path
    size: int
    """Bytes."""
    audit: AuditReport
    """Of the copy."""


def back_up(source: str, file: Path, *, clock: Clock, progress: Progress) -> BackupReport:
    """Copy everything that stands in *source* as of one commit to *file*, while others write.

    The file gets its name when it is complete, audited and on the disk: there is a good one or
    none. Open holds are open in it too. The tables of a SQLite store are copied as they are, also
    where an earlier version made them: opening the file migrates it, as it would the store.

    Args:
        source: The URL of the store.
        file: A file that is not there yet.
        clock: Where time comes from.
        progress: Told what is copied or read and how much so far, now and then.

    Raises:
        StoreError: There is such a file already, it is one of the store's own, or it cannot be
            made.
        StoreCorrupt: The copy is not what its entries say, so neither are the books.
        NotFound: There is no source.
        InvalidConfig: The URL is none of a store that lasts.
    """
    upkeep = open_upkeep(source, clock)
    if not upkeep.exists():
        raise NotFound(kind="store", name=upkeep.name)
    _refuse_own(source, file)
    partial = _claimed(file)
    try:
        _copy(source, partial, clock, progress)
        report = audit_file(partial, clock, progress)
        if not report.ok:
            detail = f"the books are wrong ({report.problems[0]}): the copy was not kept"
            raise StoreCorrupt(store=upkeep.name, detail=detail)
        finish_file(partial)
        size = partial.stat().st_size
        _written(lambda: os.link(partial, file), file)
        _sync_folder(file)
    finally:
        for end in _BESIDE:
            Path(f"{partial}{end}").unlink(missing_ok=True)
    return BackupReport(source=upkeep.name, file=file, size=size, audit=report)


def _refuse_own(source: str, file: Path) -> None:
    """Refuse a name that the store has or makes itself."""
    if not source.startswith(_SQLITE):
        return
    store, named = real_path(source.removeprefix(_SQLITE)), real_path(str(file))
    if named in {f"{store}{end}" for end in _BESIDE}:
        detail = "it is the name of a file of the store that is backed up: name another file"
        raise StoreError(store=str(file), detail=detail)


def _claimed(file: Path) -> Path:
    """Make the file that is filled, empty; nobody else fills it meanwhile."""
    if file.exists():
        raise StoreError(store=str(file), detail="it is there already: name a new file")
    partial = file.with_name(file.name + _PARTIAL)
    _written(
        lambda: os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)), partial
    )
    return partial


def _copy(source: str, partial: Path, clock: Clock, progress: Progress) -> None:
    if source.startswith(_SQLITE):
        copy_file(source.removeprefix(_SQLITE), partial, progress)
    else:
        copy_store(source, f"{_SQLITE}{partial}", with_holds=True, clock=clock, progress=progress)


def _written(work: Callable[[], None], file: Path) -> None:
    try:
        work()
    except OSError as error:
        detail = error.strerror or str(error)
        if isinstance(error, FileExistsError):
            detail = "it is there already: another backup runs, or was killed; remove it"
        raise StoreError(store=str(file), detail=detail) from None


def _sync_folder(file: Path) -> None:
    # A name that is not on the disk is a backup that is not there after a power cut.
    with suppress(OSError):
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
