"""Copying a SQLite file that is in use, and looking at the copy."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw

from earmark.ledger.audit import AuditReport, Progress, audit_snapshot
from earmark.stores.migrations_sqlite import sqlite_schema_state
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
        with copy.backup("main", books, "main") as backup:
            while not backup.done:
                backup.step(_AT_ONCE)
                progress("pages copied", backup.page_count - backup.remaining)
        books.execute("COMMIT")
        # A copy of a file that is not at its path any more is not a copy of the books.
        file.check()


def audit_file(file: Path, progress: Progress) -> AuditReport:
    """Recompute every balance in *file* from its entries, and let SQLite check its pages."""
    name = f"sqlite:///{file}"
    with translated(name):
        connection = apsw.Connection(str(file))
        # Alone with it, and so one file, without another that holds its latest pages.
        connection.pragma("journal_mode", "delete")
        connection.execute("BEGIN")
    with closing(SqliteSnapshot(connection, name)) as snapshot:
        return audit_snapshot(snapshot, progress)


def finish_file(file: Path) -> None:
    """Return when *file* is on the disk."""
    with translated(f"sqlite:///{file}"):
        written = os.open(file, os.O_RDONLY)
        try:
            os.fsync(written)
        finally:
            os.close(written)
