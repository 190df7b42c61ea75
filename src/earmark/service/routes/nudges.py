"""Nudges: list and look, acknowledge."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from earmark.service.answers import answer, answers
from earmark.service.auth import ReadCaller, SpendCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute, OperationName
from earmark.service.paging import USUAL, Cursor, LimitParam, after_number, page
from earmark.service.routes.params import NameParam
from earmark.workspace.resources.agents import NUDGE

router = APIRouter(route_class=IdempotentRoute, tags=["nudges"])

Acked = Annotated[bool | None, Query(description="Only those somebody acknowledged, or nobody.")]


@router.get("/nudges", **answers(NUDGE, page=True))
def list_nudges(
    service: ServiceDep,
    _: ReadCaller,
    *,
    acked: Acked = None,
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List nudges in the order they were raised."""
    after = after_number(cursor)
    found = service.workspace.nudges.find(acked=acked, after=after, most=limit + 1)
    return page(
        found, limit, lambda each: NUDGE.encode(each, deliveries=None), lambda each: each.number
    )


@router.get("/nudges/{nudge_id:path}", **answers(NUDGE))
def get_nudge(service: ServiceDep, _: ReadCaller, nudge_id: NameParam) -> Response:
    """Show one nudge, and how far it has come on each channel."""
    nudge = service.workspace.nudges.get(nudge_id)
    return answer(NUDGE, nudge, deliveries=service.workspace.nudges.deliveries(nudge_id))


@router.post("/nudges/{nudge_id:path}/ack", **answers(NUDGE))
def ack_nudge(
    service: ServiceDep, caller: SpendCaller, nudge_id: NameParam, _operation: OperationName
) -> Response:
    """Acknowledge a nudge; whoever was first stays noted."""
    return answer(NUDGE, service.workspace.nudges.ack(nudge_id, caller.name), deliveries=None)
