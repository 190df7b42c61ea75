"""`/runs…`: the runs in pages, and the statement of one."""

from typing import Final

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.service.pages.failures import PageRoute
from earmark.service.pages.office import Reader, shown
from earmark.service.pages.views_runs import MOST, run_view, runs_view
from earmark.service.runs import get_run, key_at

router: Final = APIRouter(route_class=PageRoute)


@router.get("/runs")
async def runs(visit: Reader) -> Response:
    """Show the runs, the newest first."""
    after = visit.query("after")
    found = await visit.workspace.journal.page(key_at(after), MOST + 1)
    view = runs_view(found, visit.now, is_first=not after)
    return shown(visit, "runs.html", "Runs", view, here="runs")


@router.get("/runs/{run_id}")
async def run(visit: Reader, run_id: str) -> Response:
    """Show one run with its lines and its totals."""
    record = await get_run(visit.workspace, run_id)
    balance = await run_in_threadpool(_balance, visit.workspace.ledger, record.budget, visit.now)
    view = run_view(record, balance, visit.now)
    return shown(visit, "run.html", f"Run {run_id}", view, here="runs")


def _balance(ledger: Ledger, path: str, now: int) -> tuple[Money, Money] | None:
    """Return what is settled and held on a run's budget; None where it has none."""
    for account in ledger.store.accounts(path, now):
        if account.line.budget == path and account.line.unit == "usd":
            return Money.nanos(account.settled), Money.nanos(account.held)
    return None
