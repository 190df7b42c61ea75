"""What the budgets that pay for a run say of it before a call is made.

A run that can never succeed on them is refused; one that nothing above it limits is warned of.
"""

from collections.abc import Mapping, Sequence

from earmark.budget.limit import describe_window
from earmark.budget.path import ancestors
from earmark.composition.plan import Plan
from earmark.errors import BudgetExceeded, NotFound, Reason
from earmark.ledger.answers import Balance
from earmark.ledger.async_ledger import AsyncLedger
from earmark.money import Money
from earmark.runs.journal import RunRecord
from earmark.runs.statement_line import NOTHING

Payers = Mapping[str, Sequence[Balance]]
"""The budgets that stand at a path or above it, leaf first, with how their limits stand."""


async def payers_of(under: str, ledger: AsyncLedger) -> Payers:
    """Return the budgets that stand at *under* or above it."""
    found: dict[str, Sequence[Balance]] = {}
    for path in ancestors(under):
        try:
            found[path] = await ledger.balances(path)
        except NotFound:
            continue
    return found


def warnings_of(payers: Payers, run: RunRecord, *, under: str) -> tuple[str, ...]:
    """Return what the statement says of a run that less limits than its caller may think."""
    if not any(payers.values()):
        own = f"only the run's own {run.limit} USD holds"
        return (f"no limit stands at '{under}' or above it: {own}",)
    if under not in payers:
        return (f"no budget stands at '{under}': the run's own holds, and those above",)
    return ()


def refuse_hopeless(plan: Plan, run: RunRecord, payers: Payers) -> None:
    """Refuse a composition that cannot succeed, however long it waits.

    That is one whose largest certain hold is more than a limit, or whose least cost is more than
    what a limit for all time has left.

    Raises:
        BudgetExceeded: With the budget and its numbers; no call was made.
    """
    least = max(plan.min, plan.hold)
    if least > run.limit:
        raise _too_little(run.budget, "total", least, run.limit, NOTHING)
    for path, balances in payers.items():
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
        window=describe_window(window),
        limit=limit,
        settled=settled,
        held=NOTHING,
        available=limit - settled,
        requested=least,
        detail="the least the composition costs, or holds at once",
    )
