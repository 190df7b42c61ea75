"""The audit: every balance recomputed from the entries."""

from typing import Any

from fastapi import APIRouter

from earmark.service import models
from earmark.service.auth import AdminCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.workspace.resource_json import audit_json

router = APIRouter(route_class=IdempotentRoute, tags=["audit"])


@router.get("/audit", response_model=models.Audit)
def audit(service: ServiceDep, _: AdminCaller) -> dict[str, Any]:
    """Recompute every balance from the entries and compare; it reads all of them."""
    return audit_json(service.workspace.ledger.audit())
