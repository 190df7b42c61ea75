"""`/runs…`: the runs in pages, and the statement of one."""

from typing import Final

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.service.pages.error_pages import PageRoute
from earmark.service.pages.page_context import ReaderPageRequest, render_page
from earmark.service.pages.views_runs import MOST, RunPage, runs_page
from earmark.service.runs import key_at, run_of

router: Final = APIRouter(route_class=PageRoute)


@router.get("/runs")
async def runs(page_request: ReaderPageRequest) -> Response:
    """Show the runs, the newest first."""
    after = page_request.query("after")
    found = await page_request.workspace.journal.page(key_at(after), MOST + 1)
    view = runs_page(found, page_request.now, is_first=not after)
    return render_page(page_request, "runs.html", "Runs", view, here="runs")


@router.get("/runs/{run_id}")
async def run(page_request: ReaderPageRequest, run_id: str) -> Response:
    """Show one run with its lines and its totals."""
    record = await run_of(page_request.workspace, run_id)
    balance = await run_in_threadpool(
        _balance, page_request.workspace.ledger, record.budget, page_request.now
    )
    view = RunPage(record=record, balance=balance, now=page_request.now)
    return render_page(page_request, "run.html", f"Run {run_id}", view, here="runs")


def _balance(ledger: Ledger, path: str, now: int) -> tuple[Money, Money] | None:
    """Return what is settled and held on a run's budget; None where it has none."""
    for account in ledger.store.accounts(path, now):
        if account.line.budget == path and account.line.unit == "usd":
            return Money.nanos(account.settled), Money.nanos(account.held)
    return None
