"""The configured budgets, put into the books."""

from typing import Final

from earmark.budget.budget import Budget, parse_alerts
from earmark.config.settings import BudgetSettings, Settings
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
    changed = [
        path
        for path, configured in settings.budgets.items()
        if not _agrees(configured, current.get(path))
    ]
    for path in changed:
        configured = settings.budgets[path]
        ledger.set_budget(
            path,
            limits=configured.limits,
            timezone=configured.timezone,
            alerts=configured.alerts,
            actor=_ACTOR,
        )
    return changed


def _agrees(configured: BudgetSettings, current: Budget | None) -> bool:
    return (
        current is not None
        and configured.limits in {None, current.limits}
        and configured.timezone in {None, current.timezone}
        and (configured.alerts is None or parse_alerts(configured.alerts) == current.alerts)
    )
