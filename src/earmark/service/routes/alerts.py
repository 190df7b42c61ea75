"""Alerts: the thresholds that were crossed, each once for each interval."""

from fastapi import APIRouter
from starlette.responses import Response

from earmark.ledger.store import Filter
from earmark.ledger.values import Alert
from earmark.service.answers import answers
from earmark.service.auth import ReadCaller
from earmark.service.context import Service, ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.paging import USUAL, Cursor, LimitParam, after_number, cursor_of, page_of
from earmark.service.routes.params import BudgetFilter
from earmark.workspace.resources.books import ALERT

router = APIRouter(route_class=IdempotentRoute, tags=["alerts"])


@router.get("/alerts", **answers(ALERT, page=True))
def list_alerts(
    service: ServiceDep,
    _: ReadCaller,
    *,
    budget: BudgetFilter = None,
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List alerts in the order of commits; those of one commit stay on one page."""
    found = _alerts(service, budget, after_number(cursor), limit + 1)
    if len(found) <= limit:
        return page_of([ALERT.encode(each) for each in found])
    # One commit may cross many thresholds, and the cursor is the commit's number.
    last = found[limit - 1].seq
    kept = [each for each in found if each.seq < last]
    kept += [each for each in _alerts(service, budget, last - 1, 10_000) if each.seq == last]
    return page_of([ALERT.encode(each) for each in kept], cursor_of(last))


def _alerts(service: Service, budget: str | None, after: int, most: int) -> list[Alert]:
    query = Filter(budget=budget, after=after, most=most, complete=True)
    return service.workspace.ledger.store.alerts(query)
