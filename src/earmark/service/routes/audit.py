"""The audit: every balance recomputed from the entries."""

from fastapi import APIRouter
from starlette.responses import Response

from earmark.service.answers import answer, answers
from earmark.service.auth import AdminCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.workspace.resources.books import AUDIT

router = APIRouter(route_class=IdempotentRoute, tags=["audit"])


@router.get("/audit", **answers(AUDIT))
def audit(service: ServiceDep, _: AdminCaller) -> Response:
    """Recompute every balance from the entries and compare; it reads all of them."""
    return answer(AUDIT, service.workspace.ledger.audit())
