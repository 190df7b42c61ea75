"""The pages: the board, budgets, runs, nudges and agents, rendered on the server.

Each page is a template filled with plain values (`views_*`); routes fetch, decide nothing, and pass
what was typed on to the workspace. A page works without its script, which only fetches changes.
"""

from fastapi import APIRouter, FastAPI

from earmark.service.pages import (
    assets,
    routes_account,
    routes_board,
    routes_budgets,
    routes_runs,
    routes_sessions,
    routes_siblings,
    routes_tasks,
    routes_tokens,
)
from earmark.service.pages.error_pages import install_failures


def router() -> APIRouter:
    """Return every page and the files they use; they find their service in the app's state."""
    pages = APIRouter(include_in_schema=False)
    for part in (
        routes_account,
        routes_board,
        routes_tasks,
        routes_budgets,
        routes_runs,
        routes_sessions,
        routes_siblings,
        routes_tokens,
        assets,
    ):
        pages.include_router(part.router)
    return pages


def install_pages(app: FastAPI) -> None:
    """Add the pages to *app*, whose `state.service` is a `Service`, and a page for lost visitors.

    Call it after the API's routes and its problem documents were installed.
    """
    app.include_router(router())
    install_failures(app)
