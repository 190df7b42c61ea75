"""The routes of the API, one file for each thing, all under `/v1`; each names its scope."""

from fastapi import APIRouter

from earmark.service.answers import PROBLEM
from earmark.service.routes import (
    agents,
    alerts,
    audit,
    budgets,
    entries,
    events,
    nudges,
    patches,
    reservations,
    runs,
    tasks,
    tokens,
)


def api() -> APIRouter:
    """Return every route of the API."""
    router = APIRouter(prefix="/v1", responses={"4XX": PROBLEM, "5XX": PROBLEM})
    for part in (
        budgets, reservations, entries, alerts, tasks, patches, nudges, runs, agents, tokens,
        events, audit,
    ):  # fmt: skip
        router.include_router(part.router)
    return router
