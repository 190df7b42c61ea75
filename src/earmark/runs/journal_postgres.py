"""The journal in a PostgreSQL schema, beside the ledger's tables: one connection."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from earmark.errors import NotFound, StoreClosed
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
from earmark.stores.migrations_postgres import in_schema
from earmark.stores.postgres_link import Link
from earmark.stores.postgres_url import PostgresUrl

T = TypeVar("T")
Row = tuple[Any, ...]

# A write whose answer was lost is done again, and must then find its work done.
_START: Final = (
    f"INSERT INTO {{schema}}.run ({RUN_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608 - constants only
    " ON CONFLICT (run_id) DO NOTHING"
)
_LAST_LINE: Final = "SELECT coalesce(max(number), 0) FROM {schema}.run_line WHERE run_id = %s"
_ADD_LINES: Final = (
    f"INSERT INTO {{schema}}.run_line ({LINE_COLUMNS})"  # noqa: S608 - constants only
    " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[])"
    " ON CONFLICT (run_id, number) DO NOTHING"
)
# The statement has the lines; kept twice they could disagree.
_FINISH: Final = """
WITH gone AS (DELETE FROM {schema}.run_line WHERE run_id = %(run_id)s)
UPDATE {schema}.run SET status = %(status)s, statement = %(statement)s WHERE run_id = %(run_id)s
"""
_GET: Final = f"SELECT {RUN_COLUMNS} FROM {{schema}}.run WHERE run_id = %s"  # noqa: S608 - as above
_LINES: Final = "SELECT line FROM {schema}.run_line WHERE run_id = %s ORDER BY number"
_LATEST: Final = (
    f"SELECT {RUN_COLUMNS} FROM {{schema}}.run"  # noqa: S608 - as above
    " ORDER BY started_at DESC, run_id DESC LIMIT %s"
)


class PostgresJournal:
    """Runs in the tables `run` and `run_line` of a schema; a lost connection is made anew.

    Each write is one statement, in a worker thread, so the event loop never waits for the server.
    """

    def __init__(self, url: str) -> None:
        """Use the schema that *url* names; a ledger has made it."""
        self._url = PostgresUrl.parse(url)
        self._link = Link(self._url)
        self._lock = threading.Lock()
        self._closed = False

    async def start(self, run: RunRecord) -> None:
        """Write that a run begins."""
        row = run_row(run)
        await self._do(lambda: self._write(_START, row))

    async def record(self, run_id: str, lines: Sequence[Line]) -> None:
        """Write attempts that ended."""

        def write() -> None:
            # The numbers are decided once: done again, the lines are the same lines.
            ((last,),) = self._steadily(lambda: self._read(_LAST_LINE, (run_id,)))
            columns = [list(column) for column in zip(*line_rows(run_id, last, lines), strict=True)]
            self._steadily(lambda: self._write(_ADD_LINES, columns))

        if lines:
            await self._locked(write)

    async def finish(self, statement: Statement) -> None:
        """Write how the run ended."""
        values = {
            "run_id": statement.run_id,
            "status": str(statement.status),
            "statement": dump(statement.to_json()),
        }
        await self._do(lambda: self._write(_FINISH, values))

    async def get(self, run_id: str) -> RunRecord:
        """Return a run with its lines."""

        def read() -> tuple[list[Row], list[Row]]:
            # The lines first: a run that ends in between has them in its statement.
            lines = self._read(_LINES, (run_id,))
            return self._read(_GET, (run_id,)), lines

        found, lines = await self._do(read)
        if not found:
            raise NotFound(kind="run", name=run_id)
        return run_record(found[0], lines)

    async def runs(self, *, limit: int = 100) -> list[RunRecord]:
        """Return the latest runs, newest first, without lines and statements."""
        rows = await self._do(lambda: self._read(_LATEST, (limit,)))
        return [run_record((*row[:-1], None)) for row in rows]

    async def aclose(self) -> None:
        """Let go of the connection."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Let go of the connection; a second time does nothing."""
        with self._lock:
            self._closed = True
            self._link.drop()

    async def _do(self, work: Callable[[], T]) -> T:
        return await self._locked(lambda: self._steadily(work))

    async def _locked(self, work: Callable[[], T]) -> T:
        def alone() -> T:
            with self._lock:
                if self._closed:
                    raise StoreClosed(store=self._url.name, detail="the journal was closed")
                return work()

        # Shielded: a cancelled run still writes whole lines, and the lock is never left by half.
        return await asyncio.shield(asyncio.to_thread(alone))

    def _steadily(self, work: Callable[[], T]) -> T:
        return self._link.steadily(work)

    def _write(self, sql: str, values: Any) -> None:  # noqa: ANN401 - a row, or values by name
        self._link.connection.execute(in_schema(sql, self._url.schema), values)

    def _read(self, sql: str, values: Row) -> list[Row]:
        query = in_schema(sql, self._url.schema)
        return self._link.connection.execute(query, values).fetchall()
