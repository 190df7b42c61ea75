"""The books a command works on, and how what stands in them is written as JSON."""

import json
import os
from collections.abc import Mapping
from getpass import getuser
from typing import Any, Final

from earmark.budget.budget import PPM, Budget
from earmark.budget.limit import show_amount
from earmark.cli.session import Session
from earmark.clock import SystemClock, iso, to_datetime
from earmark.config.budgets import apply_budgets
from earmark.config.load import load_settings
from earmark.config.settings import Settings
from earmark.errors import NotFound
from earmark.ledger.answers import Balance
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts, Entry, Reservation
from earmark.stores.open import open_ledger
from earmark.stores.upkeep import open_upkeep

_LASTING: Final = ("sqlite:///", "postgresql:", "postgres:")


def settings_of(session: Session) -> Settings:
    """Return the settings of the file and the environment; raises `InvalidConfig`."""
    return load_settings(session.config, os.environ)


def store_of(session: Session, settings: Settings) -> str:
    """Return the URL of the books."""
    return session.store or settings.store.url


def open_books(session: Session, settings: Settings) -> Ledger:
    """Open the books, made if there are none, with the configured budgets in them."""
    ledger = open_ledger(store_of(session, settings))
    try:
        apply_budgets(settings, ledger)
    except BaseException:
        ledger.close()
        raise
    return ledger


def open_existing(session: Session) -> Ledger:
    """Open books that are there, and leave them as they are.

    Raises:
        NotFound: There are none: a mistyped name must not make new books.
    """
    url = store_of(session, settings_of(session))
    if url.startswith(_LASTING) and url not in _LASTING:
        upkeep = open_upkeep(url, SystemClock())
        if not upkeep.exists():
            hint = "`earmark budget set` makes the first books"
            raise NotFound(kind="store", name=upkeep.name, hint=hint)
    return open_ledger(url)


def operator() -> str:
    """Return who works at this terminal, as the entries keep it."""
    try:
        return getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


# As JSON ------------------------------------------------------------------------------------------


def balance_json(balance: Balance) -> dict[str, Any]:
    """Return a balance; amounts are text where they are USD, else numbers."""
    names = ("unit", "window", "limit", "settled", "held", "available", "starts_at", "resets_at")
    return {name: getattr(balance, name) for name in names}


def budget_json(budget: Budget, now: int) -> dict[str, Any]:
    """Return a budget with the pause and the extensions that are in force."""
    paused = budget.is_paused(now)
    return {
        "path": budget.path,
        "limits": [str(limit) for limit in budget.limits],
        "timezone": budget.timezone,
        "alerts": [share(alert) for alert in budget.alerts],
        "paused": paused and _noted(paused.actor, paused.reason, paused.until),
        "extensions": [
            {"limit": str(each.limit), **_noted(each.actor, each.reason, each.until)}
            for each in budget.extensions
            if now < each.until
        ],
    }


def reservation_json(reservation: Reservation) -> dict[str, Any]:
    """Return a reservation; `amount` is the hold and `settled` the actual cost, in USD."""
    closed = reservation.closed
    return {
        "key": reservation.key,
        "budget": reservation.budget,
        "state": reservation.state,
        "amount": reservation.amount,
        "settled": reservation.settled,
        "overrun": reservation.overrun,
        "units": _units(reservation.actual or reservation.hold),
        "opened_at": reservation.opened_at,
        "deadline": reservation.deadline,
        "closed_at": to_datetime(closed) if closed else None,
        "labels": labels_of(reservation),
        "seq": reservation.seq,
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return an entry; amounts are the operation's own."""
    return {
        "seq": entry.seq,
        "at": entry.moment,
        "kind": entry.kind,
        "budget": entry.budget,
        "key": entry.key,
        "amount": show_amount("usd", entry.amounts.usd),
        "units": _units(entry.amounts),
        "prior": entry.prior or None,
        "data": data_of(entry),
    }


def labels_of(reservation: Reservation) -> Mapping[str, str]:
    """Return the labels it was opened with."""
    return json.loads(reservation.labels) if reservation.labels else {}


def data_of(entry: Entry) -> Mapping[str, Any]:
    """Return what an entry says beside its amounts."""
    if entry.kind == "extend":
        return {"operation": entry.data}
    return json.loads(entry.data) if entry.data else {}


def share(alert: int) -> str:
    """Return a threshold in parts per million as the share of the limit: `0.8`."""
    return f"{alert / PPM:.6f}".rstrip("0").rstrip(".")


def _units(amounts: Amounts) -> dict[str, int]:
    tokens = {} if amounts.tokens is None else {"tokens": amounts.tokens}
    return {"calls": amounts.calls, **tokens}


def _noted(actor: str, reason: str, until: int | None) -> dict[str, Any]:
    return {"actor": actor, "reason": reason, "until": None if until is None else iso(until)}
