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
    known = {budget.path: budget for budget in ledger.budgets()}
    changed = [
        path for path, wanted in settings.budgets.items() if not _agrees(wanted, known.get(path))
    ]
    for path in changed:
        wanted = settings.budgets[path]
        ledger.set_budget(
            path,
            limits=wanted.limits,
            timezone=wanted.timezone,
            alerts=wanted.alerts,
            actor=_ACTOR,
        )
    return changed


def _agrees(wanted: BudgetSettings, known: Budget | None) -> bool:
    return (
        known is not None
        and wanted.limits in {None, known.limits}
        and wanted.timezone in {None, known.timezone}
        and (wanted.alerts is None or parse_alerts(wanted.alerts) == known.alerts)
    )
