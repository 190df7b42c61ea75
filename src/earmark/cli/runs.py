"""The runs in the journal beside the books."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from earmark.budget.path import parse_path
from earmark.errors import NotFound
from earmark.ledger.ledger import Ledger
from earmark.runs.journal import Journal, RunRecord
from earmark.runs.journals import open_ledger_journal
from earmark.runs.reconcile import reconciled

T = TypeVar("T")


def run_of(ledger: Ledger, run_id: str) -> RunRecord:
    """Return a run with its lines, those of one without a statement as the books have them now.

    Raises:
        NotFound: The journal has no such run.
    """
    try:
        return reconciled(_read(ledger, lambda journal: journal.get(run_id)), ledger)
    except NotFound as error:
        error.hint = "`earmark trace` lists the latest"
        raise


def latest_runs(ledger: Ledger, limit: int) -> list[RunRecord]:
    """Return the latest runs, newest first."""
    return _read(ledger, lambda journal: journal.runs(limit=limit))


def budget_of_run(ledger: Ledger, run_id: str | None, budget: str | None) -> str | None:
    """Return the budget to look at: the run's own, else the one given.

    Raises:
        NotFound: The journal has no such run.
        InvalidPath: The budget's path is none.
    """
    if run_id is not None:
        return run_of(ledger, run_id).budget
    return None if budget is None else parse_path(budget)


def _read(ledger: Ledger, read: Callable[[Journal], Awaitable[T]]) -> T:
    async def ask() -> T:
        journal = open_ledger_journal(ledger.store)
        try:
            return await read(journal)
        finally:
            await journal.aclose()

    return asyncio.run(ask())
