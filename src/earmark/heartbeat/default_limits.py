"""The limits that a heartbeat sets for itself where none are configured."""

import logging
from collections.abc import Sequence

from earmark.budget.limit import Limit
from earmark.budget.path import ancestors
from earmark.budget.window import Cut
from earmark.config.settings import HeartbeatSettings
from earmark.ledger.ledger import Ledger

_log = logging.getLogger("earmark.heartbeat")

_REASON = "the heartbeat's own limits: none were configured"


def set_default_limits(ledger: Ledger, settings: HeartbeatSettings) -> bool:
    """Give the heartbeat its default limits if nothing on its budget's path has any; durable.

    Those of a cycle are its budget's own, without alerts: they are full in every busy cycle, and
    nobody wants to hear of it each time. Those of a day and longer are the next budget's above it,
    which siblings share, and are alerted at 80 and 100 %. A budget without one above has them all.

    Returns:
        Whether they were set now.
    """
    if ledger.store.accounts(settings.budget, ledger.clock.instant()):
        return False
    own, *above = ancestors(settings.budget)
    if not above:
        _set(ledger, own, settings.limits)
        return True
    cycles = [limit for limit in settings.limits if limit.window.cut is Cut.FIXED]
    longer = [limit for limit in settings.limits if limit.window.cut is not Cut.FIXED]
    if longer:
        _set(ledger, above[0], longer)
    if cycles:
        _set(ledger, own, cycles, alerts=())
    return True


def _set(
    ledger: Ledger, path: str, limits: Sequence[Limit], alerts: Sequence[float] | None = None
) -> None:
    ledger.set_budget(
        path,
        limits=limits,
        alerts=alerts,
        actor="earmark heartbeat",
        reason=_REASON,
    )
    _log.info("limits of '%s' set: %s", path, ", ".join(str(limit) for limit in limits))
