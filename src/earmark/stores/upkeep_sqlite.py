"""Looking after a SQLite file: `earmark.stores.upkeep.Upkeep`."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import apsw

from earmark.clock import Clock
from earmark.errors import NotFound
from earmark.stores.migrations import Migration
from earmark.stores.migrations_sqlite import (
    APPLICATION,
    migrate_sqlite,
    prepare_sqlite,
    sqlite_schema_state,
)
from earmark.stores.regular_file import check_regular
from earmark.stores.sqlite_errors import translated
from earmark.stores.sqlite_file import real_path
from earmark.stores.sqlite_snapshot import SqliteSnapshot
from earmark.stores.sqlite_writer_lock import WriterLock
from earmark.stores.tables import Row
from earmark.stores.upkeep import TABLES, Status, not_empty

_COMPLETE: Final = """
INSERT INTO copied (last, entries, at)
SELECT max(seq), count(*), max(at) FROM entry HAVING count(*) > 0
"""
_MAKE: Final = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE


class SqliteUpkeep:
    """A file, opened for each piece of work."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    @property
    def name(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self._path}"

    def exists(self) -> bool:
        """Return whether there is a file with tables of books."""
        file = Path(self._path)
        if not file.exists():
            return False
        # Opened, it would get a log and an index beside it.
        if file.is_file() and _mark_of(file) == APPLICATION:
            return True
        with self._open(apsw.SQLITE_OPEN_READONLY) as connection:
            return bool(sqlite_schema_state(connection, self.name).applied)

    def status(self) -> Status:
        """Return what stands in the file; changes nothing."""
        self._check_there()
        with self._open(apsw.SQLITE_OPEN_READONLY) as connection:
            connection.execute("BEGIN")
            schema_state = sqlite_schema_state(connection, self.name)
            rows: dict[str, int] = {}
            held = 0
            if schema_state.is_readable:
                rows = {table: _count(connection, table) for table in TABLES}
                held = _count(connection, "reservation WHERE state = 'open'")
            mode = connection.execute("PRAGMA journal_mode").fetchall()[0][0]
            return Status(
                store=self.name,
                engine=f"SQLite {apsw.sqlite_lib_version()}",
                schema_state=schema_state,
                rows=rows,
                open_holds=held,
                settings={"journal_mode": str(mode), "synchronous": "full"},
            )

    def migrate(self, *, finish: bool) -> tuple[Migration, ...]:
        """Apply what is pending, and return it."""
        self._check_there()
        with self._writer_lock(), self._open(apsw.SQLITE_OPEN_READWRITE) as connection:
            return migrate_sqlite(connection, self.name, self._clock, finish=finish)

    @contextmanager
    def loading(self) -> Generator["SqliteLoad"]:
        """Fill the file, made if there is none; keeps all of it or, after an error, nothing."""
        with self._writer_lock(), self._open(_MAKE) as connection:
            prepare_sqlite(connection, self.name, self._clock)
            connection.execute("PRAGMA synchronous = FULL; PRAGMA cache_size = -65536")
            connection.execute("BEGIN IMMEDIATE")
            # Closing the connection rolls back what was not committed.
            load = SqliteLoad(connection, self.name)
            load.check_empty()
            yield load
            connection.execute("COMMIT")

    def _check_there(self) -> None:
        if not self.exists():
            raise NotFound(kind="store", name=self.name)

    @contextmanager
    def _open(self, flags: int) -> Generator[apsw.Connection]:
        with translated(self.name):
            check_regular(real_path(self._path))
            with closing(apsw.Connection(self._path, flags=flags)) as connection:
                connection.set_busy_timeout(5000)
                yield connection

    @contextmanager
    def _writer_lock(self) -> Generator[None]:
        """Keep every other program from writing, as the store itself does."""
        with translated(self.name):
            lock = WriterLock(real_path(self._path), self.name)
        with closing(lock), lock:
            yield


class SqliteLoad:
    """The rows of an empty file; see `earmark.stores.upkeep.Load`."""

    def __init__(self, connection: apsw.Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    def check_empty(self) -> None:
        """Refuse a file that has rows."""
        found = {table: n for table in TABLES if (n := self.count(table))}
        if found:
            raise not_empty(self._name, found)

    def put(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        """Add *rows*, which are streamed, to *table*."""
        placeholders = ", ".join("?" * (columns.count(",") + 1))
        sql = f"INSERT INTO {table} ({columns}) VALUES ({placeholders})"
        self._connection.executemany(sql, rows)

    def complete(self) -> None:
        """Write how many entries there are up to the last number, and when the latest was."""
        self._connection.execute(_COMPLETE)

    def count(self, table: str) -> int:
        """Return how many rows *table* has."""
        return _count(self._connection, table)

    def snapshot(self) -> "_Uncommitted":
        """Return what was loaded, before it is committed."""
        return _Uncommitted(self._connection, self._name)


class _Uncommitted(SqliteSnapshot):
    def close(self) -> None:
        """Leave the connection open: its transaction goes on."""


def _mark_of(file: Path) -> int:
    """Return the application's number in the header, https://www.sqlite.org/fileformat.html."""
    with file.open("rb") as opened:
        return int.from_bytes(opened.read(72)[68:], "big", signed=True)


def _count(connection: apsw.Connection, table: str) -> int:
    return int(str(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]))
