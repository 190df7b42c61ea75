"""Alerts: the thresholds that were crossed, each once for each interval."""

from typing import Any

from fastapi import APIRouter

from earmark.ledger.store import Filter
from earmark.ledger.values import Alert
from earmark.service import models
from earmark.service.auth import ReadCaller
from earmark.service.context import Service, ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.paging import USUAL, Cursor, LimitParam, after_number, cursor_of
from earmark.service.routes.params import BudgetFilter
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.resource_json import alert_json

router = APIRouter(route_class=IdempotentRoute, tags=["alerts"])


@router.get("/alerts", response_model=models.Page[models.Alert])
def list_alerts(
    service: ServiceDep,
    _: ReadCaller,
    *,
    budget: BudgetFilter = None,
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List alerts in the order of commits; those of one commit stay on one page."""
    found = _alerts(service, budget, after_number(cursor), limit + 1)
    if len(found) <= limit:
        return {"items": to_jsonable_utf8([alert_json(each) for each in found]), "next": None}
    # One commit may cross many thresholds, and the cursor is the commit's number.
    last = found[limit - 1].seq
    kept = [each for each in found if each.seq < last]
    kept += [each for each in _alerts(service, budget, last - 1, 10_000) if each.seq == last]
    return {"items": to_jsonable_utf8([alert_json(each) for each in kept]), "next": cursor_of(last)}


def _alerts(service: Service, budget: str | None, after: int, most: int) -> list[Alert]:
    wanted = Filter(budget=budget, after=after, most=most, complete=True)
    return service.workspace.ledger.store.alerts(wanted)
