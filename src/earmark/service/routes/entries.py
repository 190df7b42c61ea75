"""Entries: every accepted operation, in the order of commits."""

from typing import Any

from fastapi import APIRouter

from earmark.ledger.store import Filter
from earmark.service import models
from earmark.service.auth import Reader
from earmark.service.context import TheService
from earmark.service.keyed import KeyedRoute
from earmark.service.paging import USUAL, Cursor, Limit, after_number, page
from earmark.service.routes.given import OnBudget, Since, Until, Word, instant
from earmark.service.wire import entry_json

router = APIRouter(route_class=KeyedRoute, tags=["entries"])


@router.get("/entries", response_model=models.Page[models.Entry])
def list_entries(
    service: TheService,
    _: Reader,
    *,
    budget: OnBudget = None,
    key: Word = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List entries in the order of commits; on PostgreSQL, within a tree of budgets."""
    wanted = Filter(
        budget=budget,
        key=key,
        since=instant(since),
        until=instant(until),
        after=after_number(cursor),
        most=limit + 1,
    )
    service.desk.ledger.sweep()
    found = service.desk.ledger.store.entries(wanted)
    return page(found, limit, entry_json, lambda each: each.seq)
