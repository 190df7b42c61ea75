"""Agents: who runs, under which name, and what each says of itself."""

from fastapi import APIRouter
from starlette.responses import Response

from earmark.errors import NotFound
from earmark.service.answers import answer, answers
from earmark.service.auth import ReadCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.paging import page_of
from earmark.service.routes.params import NameParam
from earmark.workspace.resources.agents import AGENT

router = APIRouter(route_class=IdempotentRoute, tags=["agents"])


@router.get("/agents", **answers(AGENT, page=True))
def list_agents(service: ServiceDep, _: ReadCaller) -> Response:
    """List every agent that ever ran, by name."""
    now = service.clock.instant()
    found = service.workspace.agents.all()
    return page_of([AGENT.encode(each, held=each.held_at(now)) for each in found])


@router.get("/agents/{name:path}", **answers(AGENT))
def get_agent(service: ServiceDep, _: ReadCaller, name: NameParam) -> Response:
    """Show one agent."""
    found = service.workspace.agents.get(name)
    if found is None:
        raise NotFound(kind="agent", name=name)
    return answer(AGENT, found, held=found.held_at(service.clock.instant()))
