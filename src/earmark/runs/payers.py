"""Which runs are refused before a call is made: those that can never succeed on their budgets."""

from earmark.budget.path import ancestors
from earmark.composition.plan import Plan
from earmark.errors import BudgetExceeded, NotFound, Reason
from earmark.ledger.async_ledger import AsyncLedger
from earmark.money import Money
from earmark.runs.journal import RunRecord
from earmark.runs.line import NOTHING


async def refuse_hopeless(plan: Plan, run: RunRecord, ledger: AsyncLedger, *, under: str) -> None:
    """Refuse a composition that cannot succeed, however long it waits.

    That is one whose largest certain hold is more than a limit, or whose least cost is more than
    what a limit for all time has left.

    Raises:
        BudgetExceeded: With the budget and its numbers; no call was made.
    """
    least = max(plan.min, plan.hold)
    if least > run.limit:
        raise _too_little(run.budget, "total", least, run.limit, NOTHING)
    for path in ancestors(under):
        try:
            balances = await ledger.balances(path)
        except NotFound:
            continue
        for balance in balances:
            limit, settled = balance.limit, balance.settled
            if not isinstance(limit, Money) or not isinstance(settled, Money):
                continue
            if balance.window == "total":
                needed, room = least, limit - settled
            else:
                # A later interval has all of its limit again.
                needed, room = plan.hold, limit
            if needed > room:
                raise _too_little(path, balance.window, needed, limit, settled)


def _too_little(
    budget: str, window: str, least: Money, limit: Money, settled: Money
) -> BudgetExceeded:
    return BudgetExceeded(
        reason=Reason.TOO_LARGE if least > limit else Reason.EXHAUSTED,
        budget=budget,
        window=window if window == "total" else f"per {window}",
        limit=limit,
        settled=settled,
        held=NOTHING,
        available=limit - settled,
        requested=least,
        detail="the least the composition costs, or holds at once",
    )
