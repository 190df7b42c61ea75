"""What a client is told of its budget beside an answer. Pure, but for reading the accounts."""

from earmark.admission.ticket import AsyncTicket
from earmark.gateway.headers import BUDGET
from earmark.ledger.async_ledger import AsyncLedger
from earmark.workspace.session_statement import usd_left


async def hold_headers(ticket: AsyncTicket, ledger: AsyncLedger) -> dict[str, str]:
    """Return the headers that say what pays for a call, how much, and what is left beside."""
    budget = ticket.reservation.budget
    found = {"x-earmark-key": ticket.key, BUDGET: budget, "x-earmark-hold": str(ticket.hold)}
    if ticket.charge is not None:
        found["x-earmark-settled"] = str(ticket.charge.settled)
    if ticket.clamped_to is not None:
        found["x-earmark-max-tokens"] = str(ticket.clamped_to)
    left = usd_left(await ledger.accounts(budget))
    if left is not None:
        found["x-earmark-available"] = str(left)
    return found
