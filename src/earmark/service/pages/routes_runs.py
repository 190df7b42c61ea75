"""`/runs…`: the latest runs, and the statement of one."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.runs.journal import Journal
from earmark.runs.journals import journal_of
from earmark.service.pages.failures import PageRoute
from earmark.service.pages.office import Reader, shown
from earmark.service.pages.views_runs import run_view, runs_view

T = TypeVar("T")

router: Final = APIRouter(route_class=PageRoute)

#: Runs on the page.
MOST: Final = 100


@router.get("/runs")
async def runs(visit: Reader) -> Response:
    """Show the latest runs."""
    found = await _read(visit.desk.ledger, lambda journal: journal.runs(limit=MOST))
    return shown(visit, "runs.html", "Runs", runs_view(found, MOST, visit.now), here="runs")


@router.get("/runs/{run_id}")
async def run(visit: Reader, run_id: str) -> Response:
    """Show one run with its lines and its totals."""
    ledger = visit.desk.ledger
    record = await _read(ledger, lambda journal: journal.get(run_id))
    balance = await run_in_threadpool(_balance, ledger, record.budget, visit.now)
    view = run_view(record, balance, visit.now)
    return shown(visit, "run.html", f"Run {run_id}", view, here="runs")


def _balance(ledger: Ledger, path: str, now: int) -> tuple[Money, Money] | None:
    """Return what is settled and held on a run's budget; None where it has none."""
    for account in ledger.store.accounts(path, now):
        if account.line.budget == path and account.line.unit == "usd":
            return Money.nanos(account.settled), Money.nanos(account.held)
    return None


async def _read(ledger: Ledger, read: Callable[[Journal], Awaitable[T]]) -> T:
    journal = await journal_of(ledger.as_async())
    try:
        return await read(journal)
    finally:
        await journal.aclose()
