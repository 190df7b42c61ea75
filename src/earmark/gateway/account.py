"""What the holder of a token sees: its budget's balance, and what its own calls came to."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

from earmark.clock import iso
from earmark.errors import InvalidUsage, NotFound
from earmark.gateway.access import Holder
from earmark.gateway.session_budgets import SessionBudgets
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.values import Reservation
from earmark.money import Money
from earmark.workspace.session_statement import usd_left

#: Reservations that are read for one page of a statement.
_PAGE: Final = 1000
_DIGITS: Final = 18


async def balance_of(
    ledger: AsyncLedger, sessions: SessionBudgets, holder: Holder
) -> dict[str, Any]:
    """Return the limits of the holder's budget, what is left on its whole path, and its sessions.

    Of budgets above it nothing is told but that, and of those below only what its own clients made.
    """
    path = holder.access.budget
    try:
        found = await ledger.balances(path)
    except NotFound:
        found = []  # its token came before it
    left = usd_left(await ledger.accounts(path))
    root = await asyncio.to_thread(ledger.sync.store.budget, holder.access.root)
    made, last = await asyncio.to_thread(_sessions, sessions, holder.token_id)
    return {
        "object": "earmark.balance",
        "budget": path,
        "mode": holder.access.mode,
        "observed": root is not None and root.observed,
        "available_usd": None if left is None else str(left),
        "limits": [
            {
                "unit": each.unit,
                "window": each.window,
                **{
                    name: _amount(getattr(each, name))
                    for name in ("limit", "settled", "held", "available")
                },
                "observed": each.observed,
                "resets_at": None if each.resets_at is None else each.resets_at.isoformat(),
            }
            for each in found
        ],
        "sessions": {"made": made, "last": last},
    }


def _sessions(sessions: SessionBudgets, token_id: str) -> tuple[int, list[str]]:
    return sessions.count(token_id), sessions.last(token_id, _PAGE)


async def statement_of(ledger: AsyncLedger, holder: Holder, after: str) -> dict[str, Any]:
    """Return the calls that were made with the holder's token, in their order, and their sums.

    Those that were paid by budgets below its own are among them, with sums for each budget.

    Args:
        ledger: The books.
        holder: Whose.
        after: The cursor of the page before; empty for the first.

    Raises:
        InvalidUsage: There is no such cursor.
    """
    if after and not (after.isdecimal() and len(after) <= _DIGITS):
        raise InvalidUsage(detail="after is the 'next' of the page before")
    begin = int(after or "0")
    read = await ledger.holds(holder.access.budget, state=None, after=begin, most=_PAGE)
    own = [each for each in read if _token_of(each) == holder.token_id]
    return {
        "object": "earmark.statement",
        "budget": holder.access.budget,
        "calls": [_call(each) for each in own],
        **_sums(own),
        "budgets": _by_budget(own),
        "next": str(read[-1].seq) if len(read) == _PAGE else None,
    }


def _by_budget(calls: Sequence[Reservation]) -> dict[str, dict[str, Any]]:
    """Return what *calls* came to by the budget that paid, in the order of their first calls."""
    found: dict[str, list[Reservation]] = {}
    for each in calls:
        found.setdefault(each.budget, []).append(each)
    return {path: {"calls": len(some), **_sums(some)} for path, some in found.items()}


def _sums(calls: Sequence[Reservation]) -> dict[str, str]:
    return {
        "settled_usd": str(sum((each.settled or Money() for each in calls), Money())),
        "held_usd": str(sum((each.amount for each in calls if each.state == "open"), Money())),
    }


def _token_of(reservation: Reservation) -> str | None:
    return _labels(reservation).get("token")


def _labels(reservation: Reservation) -> dict[str, str]:
    return json.loads(reservation.labels) if reservation.labels else {}


def _call(reservation: Reservation) -> dict[str, Any]:
    labels = _labels(reservation)
    return {
        "key": reservation.key,
        "budget": reservation.budget,
        "model": labels.get("model"),
        "api": labels.get("api"),
        "state": str(reservation.state),
        "hold": str(reservation.amount),
        "settled": None if reservation.settled is None else str(reservation.settled),
        "opened_at": iso(reservation.opened),
        "closed_at": iso(reservation.closed) if reservation.closed else None,
    }


def _amount(value: object) -> str | int:
    return value if isinstance(value, int) else str(value)
