"""Copying a SQLite file that is in use, and looking at the copy."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import apsw

from earmark.clock import Clock
from earmark.ledger.audit import AuditReport, Progress, audit_snapshot
from earmark.stores.migrations_sqlite import migrate_sqlite, sqlite_schema_state
from earmark.stores.sqlite_errors import translated
from earmark.stores.sqlite_file import SqliteFile
from earmark.stores.sqlite_snapshot import SqliteSnapshot

#: Pages copied at a time, between two words of progress: 16 MiB.
_AT_ONCE: Final = 4096


def copy_file(source: str, target: Path, progress: Progress) -> None:
    """Copy the file at *source* as of one commit to *target*; others go on writing meanwhile.

    Raises:
        SchemaMismatch: A newer program changed its tables: that one's backup knows all of them.
        StoreCorrupt: It is a database of another program.
        StoreUnavailable: One of the files cannot be read or written.
    """
    name = f"sqlite:///{source}"
    with (
        translated(name),
        closing(SqliteFile(source, name, prepare=None, writes=False)) as file,
        closing(apsw.Connection(str(target))) as copy,
    ):
        books = file.reader
        copy.execute("PRAGMA synchronous = FULL")
        # One view from the first page to the last: without it, each commit of another process
        # would begin the copy anew.
        books.execute("BEGIN")
        sqlite_schema_state(books, name).check_known(name)
        _copy_pages(books, copy, progress)
        books.execute("COMMIT")
        # A copy of a file that is not at its path any more is not a copy of the books.
        file.check()


def audit_file(file: Path, clock: Clock, progress: Progress) -> AuditReport:
    """Recompute every balance in *file* from its entries, and let SQLite check its pages.

    Where an earlier version made its tables, they stay as they are, and a copy that is migrated is
    audited; it is removed in the end.
    """
    name = f"sqlite:///{file}"
    with ExitStack() as made, translated(name):
        connection = apsw.Connection(str(file))
        # Alone with it, and so one file, without another that holds its latest pages.
        connection.pragma("journal_mode", "delete")
        if sqlite_schema_state(connection, name).lacking:
            made.callback(connection.close)
            # For its owner alone, as the file is.
            folder = made.enter_context(TemporaryDirectory(prefix=f"{file.name}-", dir=file.parent))
            migrated = apsw.Connection(str(Path(folder) / file.name))
            _copy_pages(connection, migrated, progress)
            connection = migrated
            migrate_sqlite(connection, name, clock, finish=True)
        connection.execute("BEGIN")
        with closing(SqliteSnapshot(connection, name)) as snapshot:
            return audit_snapshot(snapshot, progress)


def _copy_pages(source: apsw.Connection, target: apsw.Connection, progress: Progress) -> None:
    with target.backup("main", source, "main") as backup:
        while not backup.done:
            backup.step(_AT_ONCE)
            progress("pages copied", backup.page_count - backup.remaining)


def finish_file(file: Path) -> None:
    """Return when *file* is on the disk."""
    with translated(f"sqlite:///{file}"):
        written = os.open(file, os.O_RDONLY)
        try:
            os.fsync(written)
        finally:
            os.close(written)
