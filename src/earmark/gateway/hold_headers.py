"""The headers of an answer that say which reservation and budget pay for it, and what is left."""

import logging
from typing import Final

from earmark.admission.ticket import AsyncTicket
from earmark.gateway.headers import BUDGET
from earmark.ledger.async_ledger import AsyncLedger
from earmark.workspace.session_statement import usd_left

_LOG: Final = logging.getLogger("earmark.gateway")


async def hold_headers(ticket: AsyncTicket, ledger: AsyncLedger) -> dict[str, str]:
    """Return the headers that say what pays for a call, how much, and what is left beside.

    What is left is left out where the accounts cannot be read: the reply that it stands beside is
    paid for, or runs, and passes without.
    """
    budget = ticket.reservation.budget
    found = {"x-earmark-key": ticket.key, BUDGET: budget, "x-earmark-hold": str(ticket.hold)}
    if ticket.charge is not None:
        found["x-earmark-settled"] = str(ticket.charge.settled)
    if ticket.clamped_to is not None:
        found["x-earmark-max-tokens"] = str(ticket.clamped_to)
    try:
        left = usd_left(await ledger.accounts(budget))
    except Exception as error:  # noqa: BLE001 - whatever it is, it may cost no reply
        _LOG.warning("what '%s' has left cannot be read: %s", budget, type(error).__name__)
        return found
    if left is not None:
        found["x-earmark-available"] = str(left)
    return found
