"""Runs: the latest ones, and what each cost, from the journal beside the books."""

from typing import Any

from fastapi import APIRouter

from earmark.service import models
from earmark.service.auth import ReadCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.paging import USUAL, Cursor, LimitParam, page
from earmark.service.routes.params import NameParam
from earmark.service.runs import get_run, key_at, mark_of
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.resource_json import run_json

router = APIRouter(route_class=IdempotentRoute, tags=["runs"])


@router.get("/runs", response_model=models.Page[models.Run])
async def list_runs(
    service: ServiceDep, _: ReadCaller, limit: LimitParam = USUAL, cursor: Cursor = None
) -> dict[str, Any]:
    """List runs, the newest first."""
    found = await service.workspace.journal.page(key_at(cursor), limit + 1)
    now = service.clock.instant()
    return page(found, limit, lambda each: run_json(each, now), mark_of)


@router.get("/runs/{run_id:path}", response_model=models.RunStatement)
async def get_one(service: ServiceDep, _: ReadCaller, run_id: NameParam) -> dict[str, Any]:
    """Show what a run cost, line by line; one without a statement goes on, or was interrupted."""
    record = await get_run(service.workspace, run_id)
    if record.statement is not None:
        return to_jsonable_utf8(record.statement)
    return to_jsonable_utf8({**run_json(record, service.clock.instant()), "lines": record.lines})
