"""Budgets, reservations, entries, alerts and the audit as JSON."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from earmark.budget.budget import PPM, Budget, Extension, Pause
from earmark.budget.fields import PLAIN_FIELDS, BudgetKind, PlainField
from earmark.budget.limit import Limit, present, show_amount
from earmark.clock import END_OF_TIME, Instant, InstantOrZero, iso, to_datetime
from earmark.ledger.amounts import counted_units
from earmark.ledger.answers import Balance
from earmark.ledger.audit import AuditReport
from earmark.ledger.details import read_details
from earmark.ledger.values import Alert, Entry, Reservation
from earmark.ledger.would_refuse import WouldRefuse
from earmark.money import Money
from earmark.workspace.json_form import Computed, Extra, JsonForm, declare_form

# Budgets ------------------------------------------------------------------------------------------


class BudgetStanding(Struct, frozen=True):
    """A budget and how each of its limits stands."""

    budget: Budget
    balances: Sequence[Balance]
    now: int

    @property
    def path(self) -> str:
        """The budget's."""
        return self.budget.path

    @property
    def kind(self) -> BudgetKind:
        """`budget`, or who opened it for itself: a `run`, a `session`."""
        return self.budget.kind

    @property
    def limits(self) -> Sequence[Limit]:
        """Its limits, without extensions."""
        return self.budget.limits

    @property
    def alerts(self) -> Sequence[str]:
        """The shares of each limit at which it alerts."""
        return [share(each) for each in self.budget.alerts]

    @property
    def paused(self) -> Pause | None:
        """Its own pause, if that is in force."""
        return self.budget.is_paused(self.now)

    @property
    def extensions(self) -> Sequence[Extension]:
        """Those that are in force."""
        return [each for each in self.budget.extensions if self.now < each.until]


declare_form(
    Balance, "unit", "window", "limit", "settled", "held", "available", "starts_at", "resets_at",
    "observed",
    about="One limit in its current interval: limit = settled + held + available.",
)  # fmt: skip


def _plain_member(field: PlainField) -> Computed:
    of_type = Annotated[field.type, Meta(description=field.rules.about)]
    return Computed(field.name, attrgetter(f"budget.{field.name}"), of_type)


BUDGET: Final = JsonForm(
    BudgetStanding,
    *("path", "kind", "limits"),
    *map(_plain_member, PLAIN_FIELDS),
    *("alerts", "paused", "extensions", "balances"),
    name="Budget",
)
BUDGET_TREE: Final = BUDGET.plus(
    "BudgetTree",
    "A budget with those below it, those of runs left out.",
    Extra("below", list[BudgetStanding]),
)


def share(alert: int) -> str:
    """Return a threshold in parts per million as the share of the limit: `0.8`."""
    return f"{alert / PPM:.6f}".rstrip("0").rstrip(".")


# Reservations -------------------------------------------------------------------------------------


def labels_of(reservation: Reservation) -> Mapping[str, str]:
    """Return the labels it was opened with."""
    return json.loads(reservation.labels) if reservation.labels else {}


def _details_of(reservation: Reservation) -> Mapping[str, Any]:
    return read_details(reservation.details)


def _units_of(reservation: Reservation) -> Mapping[str, int]:
    return counted_units(reservation.actual or reservation.hold)


def _closed_at(reservation: Reservation) -> datetime | None:
    return to_datetime(reservation.closed) if reservation.closed else None


RESERVATION: Final = JsonForm(
    Reservation,
    *("key", "budget", "state", "amount", "settled", "overrun"),
    Computed("units", _units_of),
    *("opened_at", "deadline"),
    Computed("closed_at", _closed_at),
    Computed("labels", labels_of),
    Computed("details", _details_of),
    "seq",
)
RESERVED: Final = RESERVATION.plus(
    "Reserved",
    "A reservation, and whether its key was used before, so that the request opened nothing.",
    "repeated",
)

# Entries, alerts, the audit -----------------------------------------------------------------------


def data_of(entry: Entry) -> Mapping[str, Any]:
    """Return what an entry says beside its amounts."""
    if entry.kind in {"reserve", "extend"}:
        named: dict[str, Any] = {"operation": entry.operation} if entry.operation else {}
        if entry.expires is not None:
            named["deadline"] = iso(entry.expires)
        mark = entry.would_refuse
        return named if mark is None else {**named, "would_refuse": _would_refuse(mark)}
    return json.loads(entry.data) if entry.data else {}


def _would_refuse(mark: WouldRefuse) -> Mapping[str, Any]:
    """Return which limit an operation in an observed tree did not fit on, and by how much."""
    amounts = {"limit": mark.limit, "over": mark.over}
    shown = {name: show_amount(mark.unit, amount) for name, amount in amounts.items()}
    place = {"budget": mark.budget, "unit": mark.unit, "window": mark.window}
    return {"reason": mark.reason.value, **place, **shown}


def _amount_of(entry: Entry) -> str:
    return show_amount("usd", entry.amounts.usd)


def _units_of_entry(entry: Entry) -> Mapping[str, int]:
    return counted_units(entry.amounts)


def _prior(entry: Entry) -> int | None:
    return entry.prior or None


ENTRY: Final = JsonForm(
    Entry,
    *("seq", "at", "kind", "budget", "key"),
    Computed("amount", _amount_of),
    Computed("units", _units_of_entry),
    Computed("prior", _prior),
    Computed("data", data_of),
)


def _threshold(alert: Alert) -> str:
    return share(alert.threshold)


def _limit(alert: Alert) -> Money | int:
    return present(alert.unit, alert.limit)


def _settled(alert: Alert) -> Money | int:
    return present(alert.unit, alert.settled)


def _starts_at(alert: Alert) -> InstantOrZero:
    return alert.start


def _resets_at(alert: Alert) -> Instant | None:
    return None if alert.end == END_OF_TIME else alert.end


ALERT: Final = JsonForm(
    Alert,
    *("id", "budget", "unit", "window"),
    Computed("threshold", _threshold),
    Computed("limit", _limit),
    Computed("settled", _settled),
    Computed("starts_at", _starts_at),
    Computed("resets_at", _resets_at),
    *("at", "seq"),
)


AUDIT: Final = JsonForm(AuditReport, name="Audit")
