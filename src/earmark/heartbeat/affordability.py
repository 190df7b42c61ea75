"""Whether the next task fits its budgets, known without a call: bounds, previewed by the ledger."""

from collections.abc import Iterable, Sequence

from earmark.clock import Clock
from earmark.errors import BudgetExceeded, NoBudget, Reason
from earmark.ledger.answers import as_error
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts
from earmark.pricing.bound import Bound


def amounts_of_call(bound: Bound) -> Amounts:
    """Return the most that a call with *bound* takes of each unit."""
    return Amounts(bound.cost().in_nanos, tokens=bound.tokens())


def refusals(
    ledger: Ledger, clock: Clock, budget: str, needs: Sequence[Amounts], *, together: bool = False
) -> list[BudgetExceeded | NoBudget | None]:
    """Return for each of *needs* how a reserve of it on *budget* would be refused now.

    With *together*, each as if those before it that fit were held.
    """
    decided = ledger.store.preview(budget, needs, clock.instant(), together=together)
    found = [None if refused is None else as_error(refused) for refused in decided]
    return [each if isinstance(each, BudgetExceeded | NoBudget) else None for each in found]


def is_final(refusal: BudgetExceeded) -> bool:
    """Return whether what was refused can never fit: no window and nobody's settlement ends it.

    A limit of 0 refuses everything that costs: it is there to stop, and fails nobody.
    """
    if refusal.reason is Reason.UNPRICED:
        return True
    return refusal.reason is Reason.TOO_LARGE and bool(refusal.limit)


def least_refusal(found: Iterable[tuple[Amounts, BudgetExceeded | None]]) -> BudgetExceeded | None:
    """Return what is in the way of the cheapest of some needs; None if one of them fits.

    A hold is not in the way: whoever waits in line gets through once it has settled.
    """
    lasting: list[tuple[int, BudgetExceeded]] = []
    for need, refusal in found:
        if refusal is None or refusal.reason is Reason.HELD:
            return None
        lasting.append((need.usd, refusal))
    return min(lasting, key=lambda pair: pair[0])[1] if lasting else None
