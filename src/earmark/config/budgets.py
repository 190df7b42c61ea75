"""The configured budgets, put into the books."""

from typing import Final

from earmark.budget.budget import Budget
from earmark.config.settings import BudgetSettings, Settings
from earmark.ledger import requests
from earmark.ledger.budget_rules import changed
from earmark.ledger.ledger import Ledger

#: Who changed a budget that the configuration changed, in the entries.
_ACTOR: Final = "configuration"


def apply_budgets(settings: Settings, ledger: Ledger) -> list[str]:
    """Set the configured budgets that the books have otherwise; return their paths.

    What is not configured of a budget stays as it is, and so do budgets that are only in the books,
    pauses and extensions. What was spent stays spent. Books that agree already are only read.
    """
    if not settings.budgets:
        return []
    current = {budget.path: budget for budget in ledger.budgets()}
    differing = [
        path
        for path, configured in settings.budgets.items()
        if not _agrees(path, configured, current.get(path))
    ]
    for path in differing:
        ledger.set_budget(path, **settings.budgets[path].given(), actor=_ACTOR)
    return differing


def _agrees(path: str, configured: BudgetSettings, current: Budget | None) -> bool:
    return changed(requests.set_limits(path, configured.given()), current) == current
