"""What the budgets that pay for a run say of it before a call is made.

A run that can never succeed on them is refused; one that nothing above it limits is warned of.
"""

import asyncio
from dataclasses import dataclass
from functools import partial

from earmark.budget.units import USD
from earmark.budget.window import Cut
from earmark.clock import END_OF_TIME
from earmark.composition.plan import Plan
from earmark.errors import BudgetExceeded, Reason
from earmark.ledger.answers import as_error
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.rules import refusal
from earmark.ledger.sync_ledger import SyncLedger
from earmark.ledger.values import Account, Amounts, LimitWindow
from earmark.runs.journal import RunRecord

_TOTAL = Cut.TOTAL.value


@dataclass(frozen=True, slots=True)
class Payers:
    """The limits above a run, leaf first, and whether a budget is at the path it runs under."""

    accounts: tuple[Account, ...]
    has_parent: bool
    observed: str = ""
    """The root of its tree, if that is observed: then none of its limits refuses, nor its own."""


async def payers_of(under: str, ledger: AsyncLedger) -> Payers:
    """Return the limits of the budgets at *under* and above it."""
    return await asyncio.to_thread(partial(_read_payers, under, ledger.sync))


def _read_payers(under: str, ledger: SyncLedger) -> Payers:
    ledger.sweep()
    accounts = ledger.store.accounts(under, ledger.instant())
    root = ledger.store.budget(under.partition("/")[0])
    observed = root.path if root is not None and root.observed else ""
    return Payers(accounts, ledger.store.budget(under) is not None, observed)


def warnings_of(payers: Payers, run: RunRecord, *, under: str) -> tuple[str, ...]:
    """Return what the statement says of a run that less limits than its caller may think."""
    if payers.observed:
        cap = f"no limit of it binds, nor the run's own {run.limit} USD"
        return (f"the tree '{payers.observed}' is observed: {cap}",)
    if not payers.accounts:
        own = f"only the run's own {run.limit} USD holds"
        return (f"no limit stands at '{under}' or above it: {own}",)
    if not payers.has_parent:
        return (f"no budget stands at '{under}': the limits of the run and of those above bind",)
    return ()


def refuse_hopeless(plan: Plan, run: RunRecord, payers: Payers) -> None:
    """Refuse a composition that cannot succeed, however long it waits.

    That is one whose largest certain hold is more than a limit, or whose least cost is more than
    what a limit for all time has left. In an observed tree none is refused.

    Raises:
        BudgetExceeded: With the budget and its numbers; no call was made.
    """
    if payers.observed:
        return
    own = Account(LimitWindow(0, run.budget, USD, _TOTAL, 0, END_OF_TIME, run.limit.in_nanos))
    for account in (own, *payers.accounts):
        is_total = account.line.window == _TOTAL
        # A later interval has all of its limit again: it has to have room for one hold at a time.
        needed = max(plan.min, plan.hold) if is_total else plan.hold
        refused = None
        if account.line.unit == USD:
            refused = refusal((account,), Amounts(needed.in_nanos))
        if refused is None:
            continue
        # What is held comes back, and what is spent too where a window ends.
        if refused.reason is Reason.TOO_LARGE or (refused.reason is Reason.EXHAUSTED and is_total):
            error = as_error(refused)
            if isinstance(error, BudgetExceeded):
                error.detail = "the least the composition costs, or holds at once"
            raise error
