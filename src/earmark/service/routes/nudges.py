"""Nudges: list and look, acknowledge."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from earmark.service import models
from earmark.service.auth import Reader, Spender
from earmark.service.context import TheService
from earmark.service.keyed import KeyedRoute, Operation
from earmark.service.paging import USUAL, Cursor, Limit, after_number, page
from earmark.service.routes.given import Name
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.resource_json import nudge_json

router = APIRouter(route_class=KeyedRoute, tags=["nudges"])

Acked = Annotated[bool | None, Query(description="Only those somebody acknowledged, or nobody.")]


@router.get("/nudges", response_model=models.Page[models.Nudge])
def list_nudges(
    service: TheService,
    _: Reader,
    *,
    acked: Acked = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List nudges in the order they were raised."""
    after = after_number(cursor)
    found = service.workspace.nudges.find(acked=acked, after=after, most=limit + 1)
    return page(found, limit, nudge_json, lambda each: each.number)


@router.get("/nudges/{nudge_id:path}", response_model=models.Nudge)
def get_one(service: TheService, _: Reader, nudge_id: Name) -> dict[str, Any]:
    """Show one nudge, and how far it has come on each channel."""
    nudge = service.workspace.nudges.get(nudge_id)
    return to_jsonable_utf8(nudge_json(nudge, service.workspace.nudges.deliveries(nudge_id)))


@router.post("/nudges/{nudge_id:path}/ack", response_model=models.Nudge)
def ack(
    service: TheService, caller: Spender, nudge_id: Name, _operation: Operation
) -> dict[str, Any]:
    """Acknowledge a nudge; whoever was first stays noted."""
    return to_jsonable_utf8(nudge_json(service.workspace.nudges.ack(nudge_id, caller.name)))
