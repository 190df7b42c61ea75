"""The journal in a SQLite file, beside the ledger's tables: one connection, one thread at once."""

# apsw types a blob as `Buffer`, which its stubs do not define before Python 3.12.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from earmark.errors import NotFound, StoreClosed, StoreUnavailable
from earmark.runs.journal import RunRecord
from earmark.runs.journal_rows import (
    LINE_COLUMNS,
    RUN_COLUMNS,
    dump,
    line_rows,
    run_record,
    run_row,
)
from earmark.runs.line import Line
from earmark.runs.statement import Statement

T = TypeVar("T")

#: How long a write waits for the ledger's writer, or another process's, to get out of the way.
BUSY_TIMEOUT_MS = 10_000

_START = f"INSERT INTO run ({RUN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants only
_LAST_LINE = "SELECT coalesce(max(number), 0) FROM run_line WHERE run_id = ?"
_LINE = f"INSERT INTO run_line ({LINE_COLUMNS}) VALUES (?, ?, ?)"  # noqa: S608 - as above
_FINISH = "UPDATE run SET status = ?, statement = ? WHERE run_id = ?"
# The statement has the lines; kept twice they could disagree.
_DROP_LINES = "DELETE FROM run_line WHERE run_id = ?"
_GET = f"SELECT {RUN_COLUMNS} FROM run WHERE run_id = ?"  # noqa: S608 - as above
_LINES = "SELECT line FROM run_line WHERE run_id = ? ORDER BY number"
_LATEST = f"SELECT {RUN_COLUMNS} FROM run ORDER BY started_at DESC, run_id DESC LIMIT ?"  # noqa: S608


class SqliteJournal:
    """Runs in the tables `run` and `run_line` of a SQLite file; every write is synced.

    Writes happen in a worker thread, one at a time, so the event loop never waits for the disk.

    Raises:
        StoreUnavailable: The file cannot be opened, or a write could not be made.
    """

    def __init__(self, path: str | Path) -> None:
        self._name = f"sqlite:///{path}"
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._guarded(lambda: self._open(str(path)))

    async def start(self, run: RunRecord) -> None:
        """Write that a run begins."""
        row = run_row(run)
        await self._write(lambda db: db.execute(_START, row))

    async def record(self, run_id: str, lines: Sequence[Line]) -> None:
        """Write attempts that ended."""

        def write(db: apsw.Connection) -> None:
            ((last,),) = db.execute(_LAST_LINE, (run_id,)).fetchall()
            db.executemany(_LINE, line_rows(run_id, int(str(last)), lines))

        await self._write(write)

    async def finish(self, statement: Statement) -> None:
        """Write how the run ended."""
        text = dump(statement.to_json())

        def write(db: apsw.Connection) -> None:
            db.execute(_FINISH, (str(statement.status), text, statement.run_id))
            db.execute(_DROP_LINES, (statement.run_id,))

        await self._write(write)

    async def get(self, run_id: str) -> RunRecord:
        """Return a run with its lines."""

        def read(db: apsw.Connection) -> tuple[list[Any], list[Any]]:
            # The lines first: a run that ends in between has them in its statement.
            lines = db.execute(_LINES, (run_id,)).fetchall()
            return db.execute(_GET, (run_id,)).fetchall(), lines

        found, lines = await self._do(read)
        if not found:
            raise NotFound(kind="run", name=run_id)
        return run_record(found[0], lines)

    async def runs(self, *, limit: int = 100) -> list[RunRecord]:
        """Return the latest runs, newest first, without lines and statements."""
        rows = await self._do(lambda db: list(db.execute(_LATEST, (limit,))))
        return [run_record((*row[:-1], None)) for row in rows]

    async def aclose(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    async def _write(self, change: Callable[[apsw.Connection], object]) -> None:
        await self._do(lambda db: _transaction(db, change))

    async def _do(self, work: Callable[[apsw.Connection], T]) -> T:
        # Shielded: a cancelled run still writes whole lines, and the lock is never left by half.
        return await asyncio.shield(asyncio.to_thread(self._locked, work))

    def _locked(self, work: Callable[[apsw.Connection], T]) -> T:
        with self._lock:
            connection = self._connection
            if connection is None:
                raise StoreClosed(store=self._name, detail="the journal was closed")
            return self._guarded(lambda: work(connection))

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except apsw.Error as error:
            detail = f"{type(error).__name__}: {error}"
            raise StoreUnavailable(store=self._name, detail=detail) from error

    def _open(self, path: str) -> None:
        # Never made here: to the ledger, a file with foreign tables alone is another program's.
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        self._connection = connection


def _transaction(db: apsw.Connection, change: Callable[[apsw.Connection], object]) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        change(db)
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
