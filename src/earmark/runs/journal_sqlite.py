"""The journal in a SQLite file, beside the ledger's tables: one connection, one thread at once."""

# apsw types a blob as `Buffer`, which its stubs do not define before Python 3.12.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from earmark.composition.parse import parse_composition
from earmark.errors import NotFound, SchemaMismatch, StoreClosed, StoreUnavailable
from earmark.money import Money
from earmark.runs.journal import RunRecord
from earmark.runs.line import Line
from earmark.runs.statement import Statement, Status
from earmark.stages.kinds.jsontext import Json

T = TypeVar("T")

#: Grows when the tables change; a file with a larger number was written by a newer Earmark.
SCHEMA_VERSION = 1
#: How long a write waits for the ledger's writer, or another process's, to get out of the way.
BUSY_TIMEOUT_MS = 10_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run_schema (version INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS run (
  run_id TEXT PRIMARY KEY,
  composition_id TEXT NOT NULL,
  composition TEXT NOT NULL,
  input TEXT NOT NULL,
  budget TEXT NOT NULL,
  limit_usd TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  status TEXT NOT NULL,
  statement TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS run_by_start ON run (started_at);
CREATE TABLE IF NOT EXISTS run_line (
  run_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  line TEXT NOT NULL,
  PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;
"""
_MARK = "INSERT INTO run_schema SELECT ? WHERE NOT EXISTS (SELECT 1 FROM run_schema)"
_START = "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)"
_NEXT_LINE = "SELECT coalesce(max(number), 0) FROM run_line WHERE run_id = ?"
_LINE = "INSERT INTO run_line VALUES (?, ?, ?)"
_FINISH = "UPDATE run SET status = ?, statement = ? WHERE run_id = ?"
# The statement has the lines; kept twice they could disagree.
_DROP_LINES = "DELETE FROM run_line WHERE run_id = ?"
_COLUMNS = (
    "run_id, composition_id, composition, input, budget, limit_usd, started_at, status, statement"
)
_GET = f"SELECT {_COLUMNS} FROM run WHERE run_id = ?"  # noqa: S608 - constants only
_LINES = "SELECT line FROM run_line WHERE run_id = ? ORDER BY number"
_LATEST = f"SELECT {_COLUMNS} FROM run ORDER BY started_at DESC, run_id DESC LIMIT ?"  # noqa: S608


class SqliteJournal:
    """Runs in the tables `run` and `run_line` of a SQLite file; every write is synced.

    Writes happen in a worker thread, one at a time, so the event loop never waits for the disk.

    Raises:
        StoreUnavailable: The file cannot be opened, or a write could not be made.
        SchemaMismatch: The tables were made by a newer Earmark.
    """

    def __init__(self, path: str | Path) -> None:
        self._name = f"sqlite:///{path}"
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._guarded(lambda: self._open(str(path)))

    async def start(self, run: RunRecord) -> None:
        """Write that a run begins."""
        row = (
            run.run_id,
            run.composition_id,
            run.composition.to_json(),
            _dump(run.input),
            run.budget,
            str(run.limit),
            run.started_at,
            str(run.status),
        )
        await self._write(lambda db: db.execute(_START, row))

    async def record(self, run_id: str, lines: Sequence[Line]) -> None:
        """Write attempts that ended."""
        texts = [_dump(line.to_json()) for line in lines]

        def write(db: apsw.Connection) -> None:
            (last,) = next(iter(db.execute(_NEXT_LINE, (run_id,))))
            numbered = enumerate(texts, start=last + 1)
            db.executemany(_LINE, [(run_id, number, text) for number, text in numbered])

        await self._write(write)

    async def finish(self, statement: Statement) -> None:
        """Write how the run ended."""
        text = _dump(statement.to_json())

        def write(db: apsw.Connection) -> None:
            db.execute(_FINISH, (str(statement.status), text, statement.run_id))
            db.execute(_DROP_LINES, (statement.run_id,))

        await self._write(write)

    async def get(self, run_id: str) -> RunRecord:
        """Return a run with its lines."""

        def read(db: apsw.Connection) -> tuple[Any, list[Any]] | None:
            row = next(iter(db.execute(_GET, (run_id,))), None)
            return None if row is None else (row, list(db.execute(_LINES, (run_id,))))

        found = await self._do(read)
        if found is None:
            raise NotFound(kind="run", name=run_id)
        row, lines = found
        return _record(row, tuple(Line.from_json(json.loads(text)) for (text,) in lines))

    async def runs(self, *, limit: int = 100) -> list[RunRecord]:
        """Return the latest runs, newest first, without lines and statements."""
        rows = await self._do(lambda db: list(db.execute(_LATEST, (limit,))))
        return [_record((*row[:-1], None)) for row in rows]

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
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _migrate(self, db: apsw.Connection) -> None:
        tables = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'run_schema'").fetchall()
        if not tables:
            _transaction(db, _make_tables)
        ((found,),) = db.execute("SELECT max(version) FROM run_schema").fetchall()
        version = int(str(found))  # pyright: ignore[reportUnknownArgumentType] - as above
        if version > SCHEMA_VERSION:
            detail = f"its runs have schema {version}, this Earmark knows {SCHEMA_VERSION}"
            raise SchemaMismatch(store=self._name, detail=detail)


def _transaction(db: apsw.Connection, change: Callable[[apsw.Connection], object]) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        change(db)
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _make_tables(db: apsw.Connection) -> None:
    # Another process may have been faster, so each of these may find its work done.
    db.execute(_SCHEMA)
    db.execute(_MARK, (SCHEMA_VERSION,))


def _record(row: Sequence[Any], lines: tuple[Line, ...] = ()) -> RunRecord:
    run_id, composition_id, composition, given, budget, limit, started_at, status, text = row
    statement = None if text is None else Statement.from_json(json.loads(text))
    return RunRecord(
        run_id=run_id,
        composition_id=composition_id,
        composition=parse_composition(composition),
        input=json.loads(given),
        budget=budget,
        limit=Money(limit),
        started_at=started_at,
        status=Status(status),
        statement=statement,
        lines=lines if statement is None else statement.lines,
    )


def _dump(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
