"""`/budgets…`: the tree, one budget, and the forms that pause, resume and extend it."""

from collections.abc import Callable
from functools import cache
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import Response

from earmark.clock import from_datetime
from earmark.errors import EarmarkError, InvalidPath, NotFound, StoreError
from earmark.ids import new_key
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Entry
from earmark.service.pages.error_pages import PageRoute, refusal
from earmark.service.pages.latest import latest_entries
from earmark.service.pages.page_context import (
    AdminForm,
    FormRefusal,
    PageRequest,
    ReaderPageRequest,
    render_page,
    see_other,
)
from earmark.service.pages.views_budgets import (
    BudgetFacts,
    Find,
    budget_view,
    tree_view,
)
from earmark.workspace.resources.books import BudgetStanding
from earmark.workspace.time_expressions import parse_not_past

router: Final = APIRouter(route_class=PageRoute)

BudgetChange = Callable[[PageRequest, Ledger, str], None]

#: Budgets on a page of the tree.
MOST: Final = 100
#: Entries of a window that are drawn, and those that are listed.
MOST_DRAWN: Final = 5_000
MOST_LISTED: Final = 20


@router.get("/budgets")
def tree(page_request: ReaderPageRequest) -> Response:
    """Show the budgets with their bars; those of runs on demand."""
    workspace, after, runs = (
        page_request.workspace,
        page_request.query("after"),
        page_request.query("runs") == "all",
    )
    workspace.ledger.sweep()
    found = workspace.budgets.find(after=after, most=MOST + 1, runs=runs)
    listed = found[:MOST]
    view = tree_view(
        [
            BudgetStanding(*each, page_request.now)
            for each in zip(listed, workspace.budgets.balances_of_all(listed), strict=True)
        ],
        _finder(workspace.ledger),
        page_request.now,
        runs=runs,
        next_page=_address(found[MOST - 1].path, runs=runs) if len(found) > MOST else "",
        first_page=_address("", runs=runs) if after else "",
    )
    return render_page(page_request, "budgets.html", "Budgets", view, here="budgets")


@router.get("/budgets/{path:path}")
def budget(page_request: ReaderPageRequest, path: str) -> Response:
    """Show one budget."""
    return _page(page_request, path)


@router.post("/budgets/{path:path}/pause")
def pause(page_request: AdminForm, path: str) -> Response:
    """Refuse every later reservation at or below it."""
    return _change(page_request, path, _pause)


@router.post("/budgets/{path:path}/resume")
def resume(page_request: AdminForm, path: str) -> Response:
    """End its pause."""
    return _change(page_request, path, _resume)


@router.post("/budgets/{path:path}/extend")
def extend(page_request: AdminForm, path: str) -> Response:
    """Add to one of its limits for a while."""
    return _change(page_request, path, _extend)


def _pause(page_request: PageRequest, ledger: Ledger, path: str) -> None:
    until = page_request.typed("until")
    ledger.pause(
        path,
        actor=page_request.caller.name,
        reason=page_request.typed("reason"),
        until=parse_not_past(until, ledger.clock) if until else None,
    )


def _resume(page_request: PageRequest, ledger: Ledger, path: str) -> None:
    ledger.resume(path, actor=page_request.caller.name, reason=page_request.typed("reason"))


def _extend(page_request: PageRequest, ledger: Ledger, path: str) -> None:
    _, _, rest = page_request.typed("limit").partition(" ")
    ledger.extend_budget(
        path,
        f"{page_request.typed('amount')} {rest}",
        until=parse_not_past(page_request.typed("until"), ledger.clock),
        actor=page_request.caller.name,
        reason=page_request.typed("reason"),
        key=page_request.typed("key") or None,
    )


def _change(page_request: PageRequest, path: str, change: BudgetChange) -> Response:
    try:
        change(page_request, page_request.workspace.ledger, path)
    except (NotFound, InvalidPath, StoreError):
        raise
    except EarmarkError as error:
        return _page(page_request, path, refusal(error))
    return see_other(f"/budgets/{path}")


def _page(page_request: PageRequest, path: str, refused: FormRefusal | None = None) -> Response:
    workspace, ledger, key = (
        page_request.workspace,
        page_request.workspace.ledger,
        page_request.query("key"),
    )
    try:
        own = workspace.budgets.get(path)
    except InvalidPath:
        raise NotFound(kind="budget", name=path) from None
    ledger.sweep()
    balances = workspace.budgets.balances(own)
    starts = [from_datetime(b.starts_at) if b.starts_at else 0 for b in balances]
    facts = BudgetFacts(
        shelf=BudgetStanding(own, balances, page_request.now),
        find=_finder(ledger),
        below=workspace.budgets.find(prefix=path, most=MOST),
        window=latest_entries(
            ledger, path, MOST_DRAWN, since=min(starts, default=page_request.now)
        ),
        latest=_listed(ledger, path, key),
        holds=ledger.holds(path, most=MOST_LISTED),
        key=key,
        form_key=page_request.typed("key") or new_key(ledger.clock),
    )
    view = budget_view(facts, page_request.now)
    address = f"/budgets/{path}"
    return render_page(
        page_request, "budget.html", path, view, here="budgets", address=address, refused=refused
    )


def _finder(ledger: Ledger) -> Find:
    """Return what finds a budget by its path, each once."""
    return cache(ledger.store.budget)


def _listed(ledger: Ledger, path: str, key: str) -> list[Entry]:
    """Return the latest entries, or those of one reservation, the newest first."""
    if key:
        return ledger.entries(path, key=key, most=MOST_DRAWN)[::-1]
    return latest_entries(ledger, path, MOST_LISTED)[::-1]


def _address(after: str, *, runs: bool) -> str:
    """Return the address of the page of the tree that goes on after the path *after*."""
    query = {"after": after, "runs": "all" if runs else ""}
    query_string = urlencode({name: value for name, value in query.items() if value})
    return f"/budgets?{query_string}" if query_string else "/budgets"
