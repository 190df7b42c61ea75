"""Agents: who runs, under which name, and what each says of itself."""

from typing import Any

from fastapi import APIRouter

from earmark.errors import NotFound
from earmark.service import models
from earmark.service.auth import ReadCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.routes.params import NameParam
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.resource_json import agent_json

router = APIRouter(route_class=IdempotentRoute, tags=["agents"])


@router.get("/agents", response_model=models.Page[models.Agent])
def list_agents(service: ServiceDep, _: ReadCaller) -> dict[str, Any]:
    """List every agent that ever ran, by name."""
    now = service.clock.instant()
    found = [agent_json(each, now) for each in service.workspace.agents.all()]
    return {"items": to_jsonable_utf8(found), "next": None}


@router.get("/agents/{name:path}", response_model=models.Agent)
def get_one(service: ServiceDep, _: ReadCaller, name: NameParam) -> dict[str, Any]:
    """Show one agent."""
    found = service.workspace.agents.get(name)
    if found is None:
        raise NotFound(kind="agent", name=name)
    return to_jsonable_utf8(agent_json(found, service.clock.instant()))
