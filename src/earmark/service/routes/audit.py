"""The audit: every balance recomputed from the entries."""

from typing import Any

from fastapi import APIRouter

from earmark.service import models
from earmark.service.auth import Admin
from earmark.service.context import TheService
from earmark.service.keyed import KeyedRoute
from earmark.workspace.resource_json import audit_json

router = APIRouter(route_class=KeyedRoute, tags=["audit"])


@router.get("/audit", response_model=models.Audit)
def audit(service: TheService, _: Admin) -> dict[str, Any]:
    """Recompute every balance from the entries and compare; it reads all of them."""
    return audit_json(service.workspace.ledger.audit())
