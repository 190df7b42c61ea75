"""The journal in the tables `run` and `run_line`, beside the ledger's, on every store."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from earmark.errors import NotFound
from earmark.money import Money
from earmark.runs.journal import (
    FIRST_PAGE,
    RunKey,
    RunProgress,
    RunRecord,
    RunSummary,
    numbered_before,
    reused,
)
from earmark.runs.journal_rows import (
    LINE_COLUMNS,
    RUN_COLUMNS,
    dump,
    line_rows,
    run_record,
    run_row,
)
from earmark.runs.statement import RunStatus, Statement
from earmark.runs.statement_line import StatementLine
from earmark.stores.tables import Row, Rows, Tables

T = TypeVar("T")

_STARTED_AT: Final = RUN_COLUMNS.split(", ").index("started_at")
#: Runs do not wait for each other's lines: each has one writer.
_LOCK: Final = "run"
# A write whose answer was lost is done again, and must then find its work done: what it finds in
# its place is compared with what it writes.
_START: Final = (
    f"INSERT INTO {{schema}}.run ({RUN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants only
    " ON CONFLICT (run_id) DO NOTHING RETURNING run_id"
)
_STORED_LINE: Final = "SELECT line FROM {schema}.run_line WHERE run_id = ? AND number = ?"
_RENEW: Final = "UPDATE {schema}.run SET alive_until = ? WHERE run_id = ?"
_FINISH: Final = "UPDATE {schema}.run SET status = ?, statement = ? WHERE run_id = ?"
# The statement has the lines; kept twice they could disagree.
_DROP_LINES: Final = "DELETE FROM {schema}.run_line WHERE run_id = ?"
_GET: Final = f"SELECT {RUN_COLUMNS} FROM {{schema}}.run WHERE run_id = ?"  # noqa: S608 - as above
_LINES: Final = "SELECT line FROM {schema}.run_line WHERE run_id = ? ORDER BY number"
_LATEST: Final = (
    f"SELECT {RUN_COLUMNS} FROM {{schema}}.run"  # noqa: S608 - as above
    " ORDER BY started_at DESC, run_id DESC LIMIT ?"
)
_PAGE: Final = (
    "SELECT run_id, composition_id, budget, limit_usd, started_at, status, alive_until"
    " FROM {schema}.run"
    " WHERE started_at < ? OR started_at = ? AND run_id < ?"
    " ORDER BY started_at DESC, run_id DESC LIMIT ?"
)
_PROGRESS: Final = (
    "SELECT r.run_id, r.status,"
    " (SELECT count(*) FROM {schema}.run_line l WHERE l.run_id = r.run_id)"
    " FROM {schema}.run r ORDER BY r.started_at DESC, r.run_id DESC LIMIT ?"
)


class TablesJournal:
    """Runs in a store's tables; every write is durable, in a worker thread, the loop goes on.

    Raises:
        StoreUnavailable: A write could not be made, or nobody knows whether it was.
    """

    def __init__(self, tables: Tables) -> None:
        """Write to *tables*, which are closed with the journal."""
        self._tables = tables

    async def start(self, run: RunRecord) -> None:
        """Write that a run begins."""
        row = run_row(run)
        sent: list[None] = []

        def work(rows: Rows) -> None:
            repeated = bool(sent)
            sent.append(None)
            if rows.run(_START, *row):
                return
            (stored,) = rows.run(_GET, run.run_id)
            # Only the repeat of an unanswered write may find its own row.
            if not repeated or tuple(stored) != row:
                raise reused(run, int(stored[_STARTED_AT]))

        await self._write(run.run_id, work)

    async def record(self, run_id: str, lines: Sequence[StatementLine]) -> None:
        """Write attempts that ended."""
        if lines:
            await self._write(run_id, lambda rows: self.write(rows, run_id, lines))

    def write(self, rows: Rows, run_id: str, lines: Sequence[StatementLine]) -> None:
        """Write attempts that ended, in a transaction of the ledger; there is at least one."""
        new = line_rows(run_id, lines)
        marks = ", ".join(["(?, ?, ?)"] * len(new))
        sql = f"INSERT INTO {{schema}}.run_line ({LINE_COLUMNS}) VALUES {marks}"  # noqa: S608 - as above
        sql += " ON CONFLICT (run_id, number) DO NOTHING RETURNING number"
        values = [value for row in new for value in row]
        written = {number for (number,) in rows.run(sql, *values)}
        for line, (_, number, text) in zip(lines, new, strict=True):
            if number not in written and rows.run(_STORED_LINE, run_id, number) != [(text,)]:
                raise numbered_before(run_id, line)

    async def renew(self, run_id: str, until: int) -> None:
        """Write that the run goes on."""
        await self._write(run_id, lambda rows: rows.run(_RENEW, until, run_id))

    async def finish(self, statement: Statement) -> None:
        """Write how the run ended."""
        text = dump(statement.to_json())

        def work(rows: Rows) -> None:
            rows.run(_FINISH, str(statement.status), text, statement.run_id)
            rows.run(_DROP_LINES, statement.run_id)

        await self._write(statement.run_id, work)

    async def get(self, run_id: str) -> RunRecord:
        """Return a run with its lines."""

        def work(rows: Rows) -> tuple[list[Row], list[Row]]:
            return rows.run(_GET, run_id), rows.run(_LINES, run_id)

        found, lines = await self._read(work)
        if not found:
            raise NotFound(kind="run", name=run_id)
        return run_record(found[0], lines)

    async def runs(self, *, limit: int = 100) -> list[RunRecord]:
        """Return the latest runs, newest first, without lines and statements."""
        rows = await self._read(lambda rows: rows.run(_LATEST, limit))
        return [run_record((*row[:-1], None)) for row in rows]

    async def page(self, after: RunKey | None, most: int) -> list[RunSummary]:
        """Return a page of the runs, newest first."""
        at, run_id = after or FIRST_PAGE
        found = await self._read(lambda rows: rows.run(_PAGE, at, at, run_id, most))
        return [_summary(row) for row in found]

    def progress(self, most: int) -> dict[str, RunProgress]:
        """Return how far each of the latest runs has come."""
        found = self._tables.read(lambda rows: rows.run(_PROGRESS, most))
        return {run_id: RunProgress(RunStatus(status), lines) for run_id, status, lines in found}

    async def aclose(self) -> None:
        """Let go of the tables."""
        await asyncio.to_thread(self._tables.close)

    async def _write(self, run_id: str, work: Callable[[Rows], Any]) -> None:
        # Shielded: a cancelled run still writes whole lines.
        lock = f"{_LOCK} {run_id}"
        await asyncio.shield(asyncio.to_thread(self._tables.write, lock, work))

    async def _read(self, work: Callable[[Rows], T]) -> T:
        return await asyncio.shield(asyncio.to_thread(self._tables.read, work))


def _summary(row: Row) -> RunSummary:
    run_id, composition_id, budget, limit, started_at, status, alive_until = row
    return RunSummary(
        run_id, composition_id, budget, Money(limit), started_at, RunStatus(status), alive_until
    )
