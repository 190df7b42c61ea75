"""Entries: every accepted operation, in the order of commits."""

from dataclasses import replace

from fastapi import APIRouter
from starlette.responses import Response

from earmark.service.answers import answers
from earmark.service.auth import ReadCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.paging import page
from earmark.service.routes.params import BooksQuery, OptionalQuery
from earmark.workspace.resources.books import ENTRY

router = APIRouter(route_class=IdempotentRoute, tags=["entries"])


@router.get("/entries", **answers(ENTRY, page=True))
def list_entries(
    service: ServiceDep, _: ReadCaller, books_query: BooksQuery, key: OptionalQuery = None
) -> Response:
    """List entries by their numbers; going on after one, nobody misses an entry.

    Within a tree of budgets they are in the order of commits. On PostgreSQL a list of several trees
    waits for those who write at that moment: ask for one budget where that is too long.
    """
    service.workspace.ledger.sweep()
    query = replace(books_query.filter, key=key)
    found = service.workspace.ledger.store.entries(query)
    return page(found, books_query.limit, ENTRY.encode, lambda each: each.seq)
