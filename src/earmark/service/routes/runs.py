"""Runs: the latest ones, and what each cost, from the journal beside the books."""

from typing import Any, Final

from fastapi import APIRouter

from earmark.clock import iso
from earmark.runs.journals import journal_of
from earmark.service import models
from earmark.service.auth import Reader
from earmark.service.context import TheService
from earmark.service.keyed import KeyedRoute
from earmark.service.paging import USUAL, Cursor, Limit, after_texts, page
from earmark.service.plain import told
from earmark.service.problems import Problem
from earmark.service.routes.given import Name
from earmark.service.wire import run_json
from earmark.stores.tables import Row

router = APIRouter(route_class=KeyedRoute, tags=["runs"])

#: Above every instant: the first page begins there.
_LAST: Final = (1 << 63) - 1
_RUNS: Final = (
    "SELECT run_id, composition_id, budget, limit_usd, status, started_at FROM {schema}.run"
    " WHERE started_at < ? OR started_at = ? AND run_id < ?"
    " ORDER BY started_at DESC, run_id DESC LIMIT ?"
)


@router.get("/runs", response_model=models.Page[models.Run])
def list_runs(
    service: TheService, _: Reader, limit: Limit = USUAL, cursor: Cursor = None
) -> dict[str, Any]:
    """List runs, the newest first."""
    at, run_id = after_texts(cursor, 2)
    before = _instant(at) if cursor else _LAST
    given = (before, before, run_id, limit + 1)
    found = service.desk.tables.read(lambda rows: rows.run(_RUNS, *given))
    return page(found, limit, _row_json, lambda row: [str(row[5]), row[0]])


@router.get("/runs/{run_id:path}", response_model=models.RunStatement)
async def get_one(service: TheService, _: Reader, run_id: Name) -> dict[str, Any]:
    """Show what a run cost, line by line; one that has no statement goes on, or was cut off."""
    journal = await journal_of(service.desk.ledger.as_async())
    try:
        record = await journal.get(run_id)
    finally:
        await journal.aclose()
    if record.statement is not None:
        return told(record.statement)
    return told({**run_json(record), "lines": record.lines})


def _row_json(row: Row) -> dict[str, Any]:
    run_id, composition_id, budget, limit, status, started_at = row
    return {
        "run_id": run_id,
        "composition_id": composition_id,
        "budget": budget,
        "limit": limit,
        "status": status,
        "started_at": iso(started_at),
    }


def _instant(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > _LAST:
        raise Problem(400, "input_error", "the cursor is not one of this list: start without one")
    return int(text)
