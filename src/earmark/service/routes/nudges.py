"""Nudges: list and look, acknowledge."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from earmark.service import models
from earmark.service.auth import ReadCaller, SpendCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute, OperationName
from earmark.service.paging import USUAL, Cursor, LimitParam, after_number, page
from earmark.service.routes.params import NameParam
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.resource_json import nudge_json

router = APIRouter(route_class=IdempotentRoute, tags=["nudges"])

Acked = Annotated[bool | None, Query(description="Only those somebody acknowledged, or nobody.")]


@router.get("/nudges", response_model=models.Page[models.Nudge])
def list_nudges(
    service: ServiceDep,
    _: ReadCaller,
    *,
    acked: Acked = None,
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List nudges in the order they were raised."""
    after = after_number(cursor)
    found = service.workspace.nudges.find(acked=acked, after=after, most=limit + 1)
    return page(found, limit, nudge_json, lambda each: each.number)


@router.get("/nudges/{nudge_id:path}", response_model=models.Nudge)
def get_one(service: ServiceDep, _: ReadCaller, nudge_id: NameParam) -> dict[str, Any]:
    """Show one nudge, and how far it has come on each channel."""
    nudge = service.workspace.nudges.get(nudge_id)
    return to_jsonable_utf8(nudge_json(nudge, service.workspace.nudges.deliveries(nudge_id)))


@router.post("/nudges/{nudge_id:path}/ack", response_model=models.Nudge)
def ack(
    service: ServiceDep, caller: SpendCaller, nudge_id: NameParam, _operation: OperationName
) -> dict[str, Any]:
    """Acknowledge a nudge; whoever was first stays noted."""
    return to_jsonable_utf8(nudge_json(service.workspace.nudges.ack(nudge_id, caller.name)))
