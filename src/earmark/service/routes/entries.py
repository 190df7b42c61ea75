"""Entries: every accepted operation, in the order of commits."""

from dataclasses import replace
from typing import Any

from fastapi import APIRouter

from earmark.service import models
from earmark.service.auth import Reader
from earmark.service.context import TheService
from earmark.service.keyed import KeyedRoute
from earmark.service.paging import page
from earmark.service.routes.given import OfTheBooks, Word
from earmark.workspace.resource_json import entry_json

router = APIRouter(route_class=KeyedRoute, tags=["entries"])


@router.get("/entries", response_model=models.Page[models.Entry])
def list_entries(
    service: TheService, _: Reader, asked: OfTheBooks, key: Word = None
) -> dict[str, Any]:
    """List entries by their numbers; going on after one, nobody misses an entry.

    Within a tree of budgets they are in the order of commits. On PostgreSQL a list of several trees
    waits for those who write at that moment: ask for one budget where that is too long.
    """
    service.workspace.ledger.sweep()
    wanted = replace(asked.wanted, key=key)
    found = service.workspace.ledger.store.entries(wanted)
    return page(found, asked.limit, entry_json, lambda each: each.seq)
