"""The service: the API, health, metrics and pages of one workspace, as an ASGI application."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client.core import Metric
from starlette.types import ASGIApp

from earmark import __version__
from earmark.board.rules import DESTRUCTIVE
from earmark.clock import Clock
from earmark.config.settings import ServiceSettings
from earmark.service.answers import SCHEMAS
from earmark.service.context import Service
from earmark.service.limits import RequestLimits
from earmark.service.pages import install_pages
from earmark.service.problems import install_problems
from earmark.service.routes import api, health
from earmark.serving.hosts import LOCAL_NAMES
from earmark.workspace.json_form import schemas_of
from earmark.workspace.workspace import Workspace

_ABOUT: Final = (
    "Budgets that cannot be overspent, and the board of tasks that spend them. Amounts are decimal"
    " strings. A POST with an `Idempotency-Key` may be sent again. Errors are problem documents"
    " (RFC 9457)."
)


def create_app(
    workspace: Workspace,
    *,
    settings: ServiceSettings,
    clock: Clock,
    agent: str | None = None,
    approval_for: frozenset[str] = DESTRUCTIVE,
    more_metrics: Callable[[], list[Metric]] = list,
) -> FastAPI:
    """Return the service on *workspace*, which stays the caller's and outlives it.

    Args:
        workspace: The books, the board and what stands beside them.
        settings: Where it listens, for whom, and whether reading is open.
        clock: Where time comes from.
        agent: The agent that health is about; the one that there is, unless given.
        approval_for: Which new tasks a person approves first: `destructive`, types, priorities.
        more_metrics: Asked at each scrape for what is counted elsewhere in this process.
    """
    service = Service.on(
        workspace,
        settings,
        clock,
        agent=agent,
        approval_for=approval_for,
        more_metrics=more_metrics,
    )
    app = Application(service)
    app.include_router(health.router)
    app.include_router(api())
    install_problems(app)
    install_pages(app)
    return app


class Application(FastAPI):
    """FastAPI, with the edge around all of it and the OpenAPI document completed."""

    def __init__(self, service: Service) -> None:
        self._hosts = {*LOCAL_NAMES, service.settings.host, *service.settings.allowed_hosts}
        self._body_s = service.settings.body_timeout.total_seconds()
        super().__init__(
            title="Earmark",
            version=__version__,
            description=_ABOUT,
            docs_url=None,  # their pages load scripts from elsewhere
            redoc_url=None,
            generate_unique_id_function=_operation_id,
            lifespan=_lifespan,
        )
        self.state.service = service

    def build_middleware_stack(self) -> ASGIApp:
        """Return what answers requests: strict about hosts, also when an error is answered."""
        return RequestLimits(super().build_middleware_stack(), self._hosts, self._body_s)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document; what every route may answer is in it once."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"]["schemas"] |= schemas_of(SCHEMAS.values())
        return super().openapi()


def _operation_id(route: APIRoute) -> str:
    return route.name


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    yield
    app.state.service.close()
