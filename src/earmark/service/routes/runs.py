"""Runs: the latest ones, and what each cost, from the journal beside the books."""

from fastapi import APIRouter
from starlette.responses import Response

from earmark.service.answers import answer, answers
from earmark.service.auth import ReadCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.paging import USUAL, Cursor, LimitParam, page
from earmark.service.routes.params import NameParam
from earmark.service.runs import key_at, mark_of, run_of
from earmark.workspace.resources.runs import RUN, RUN_STATEMENT

router = APIRouter(route_class=IdempotentRoute, tags=["runs"])


@router.get("/runs", **answers(RUN, page=True))
async def list_runs(
    service: ServiceDep, _: ReadCaller, limit: LimitParam = USUAL, cursor: Cursor = None
) -> Response:
    """List runs, the newest first."""
    found = await service.workspace.journal.page(key_at(cursor), limit + 1)
    now = service.clock.instant()
    return page(found, limit, lambda each: RUN.encode(each, status=each.status_at(now)), mark_of)


@router.get("/runs/{run_id:path}", **answers(RUN_STATEMENT))
async def get_run(service: ServiceDep, _: ReadCaller, run_id: NameParam) -> Response:
    """Show what a run cost, line by line; one without a statement goes on, or was interrupted."""
    record = await run_of(service.workspace, run_id)
    status = record.status_at(service.clock.instant())
    return answer(RUN_STATEMENT, record, status=status, lines=record.lines)
