"""`/sessions…`: the budgets that clients' sessions opened, and the statement of one."""

from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import Response

from earmark.errors import InvalidPath, NotFound
from earmark.ledger.answers import balance
from earmark.service.pages.error_pages import PageRoute
from earmark.service.pages.page_context import ReaderPageRequest, render_page
from earmark.service.pages.views_sessions import SessionsView, session_row, session_view
from earmark.workspace.session_statement import SessionStatement, read_calls, usd_left

router: Final = APIRouter(route_class=PageRoute)

#: Sessions on a page.
MOST: Final = 50


@router.get("/sessions")
def sessions(page_request: ReaderPageRequest) -> Response:
    """Show the sessions with what they settled, hold and have left, by path."""
    after = page_request.query("after")
    page_request.workspace.ledger.sweep()
    workspace = page_request.own_reader.workspace()
    found = workspace.budgets.sessions(after=after, most=MOST + 1)
    paths = [each.path for each in found[:MOST]]
    sums, store = workspace.budgets.call_sums(paths), workspace.ledger.store
    more = urlencode({"after": paths[-1]}) if len(found) > MOST else ""
    view = SessionsView(
        sessions=[
            session_row(path, sums[path], usd_left(store.accounts(path, page_request.now)))
            for path in paths
        ],
        next_page=f"/sessions?{more}" if more else "",
        first_page="/sessions" if after else "",
    )
    return render_page(page_request, "sessions.html", "Sessions", view, here="runs")


@router.get("/sessions/{path:path}")
def session(page_request: ReaderPageRequest, path: str) -> Response:
    """Show one session: its bar, and its calls by model."""
    page_request.workspace.ledger.sweep()
    workspace, now = page_request.own_reader.workspace(), page_request.now
    try:
        budget = workspace.budgets.get(path)
    except InvalidPath:
        raise NotFound(kind="session", name=path) from None
    if budget.kind != "session":
        raise NotFound(kind="session", name=path)
    ledger = workspace.ledger
    accounts = ledger.store.accounts(path, now)
    statement = SessionStatement(
        budget=path,
        models=read_calls(ledger, path, after=workspace.budgets.number_before(path)),
        left=usd_left(accounts),
        refusals=None,
    )
    root = ledger.store.budget(path.partition("/")[0])
    observed = root is not None and root.observed
    balances = [balance(each, paused=False, observed=observed) for each in accounts]
    view = session_view(statement, budget, balances, now)
    return render_page(page_request, "session.html", f"Session {path}", view, here="runs")
