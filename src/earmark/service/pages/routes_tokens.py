"""`/tokens`: who may spend by the gateway, on which budget, and what is left of it."""

from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import Response

from earmark.service.auth import allowed
from earmark.service.context import service_of
from earmark.service.pages.error_pages import PageRoute
from earmark.service.pages.page_context import ReaderPageRequest, render_page
from earmark.service.pages.views_tokens import tokens_view
from earmark.workspace.session_statement import usd_left

router: Final = APIRouter(route_class=PageRoute)

#: Tokens on a page.
MOST: Final = 100


@router.get("/tokens")
def tokens(page_request: ReaderPageRequest) -> Response:
    """Show the tokens of the gateway, for admins; no secret is kept that could be shown."""
    allowed(page_request.caller, "admin")
    ledger, after = page_request.workspace.ledger, page_request.query("after")
    rows = [
        each
        for each in service_of(page_request.request).tokens.of_gateway()
        if each.id > after and each.access is not None
    ]
    now = page_request.now
    budgets = {each.access.budget for each in rows[:MOST] if each.access}
    left = {path: usd_left(ledger.store.accounts(path, now)) for path in budgets}
    roots = {each.access.root for each in rows[:MOST] if each.access}
    observed = {
        root
        for root in roots
        if (found := ledger.store.budget(root)) is not None and found.observed
    }
    more = f"/tokens?{urlencode({'after': rows[MOST - 1].id})}" if len(rows) > MOST else ""
    view = tokens_view(
        [(each, left[each.access.budget]) for each in rows[:MOST] if each.access],
        now,
        observed=observed,
        first_page="/tokens" if after else "",
        next_page=more,
    )
    return render_page(page_request, "tokens.html", "Tokens", view, here="tokens")
