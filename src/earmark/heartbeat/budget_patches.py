"""The budget's patches: the day's spend for siblings to read, and one from elsewhere taken over.

The books are the truth and need no restoring. A patch is written from them, dated by the day that
it describes; one that nobody's books stand behind becomes an opening entry, once for ever.
"""

import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from earmark.clock import Clock
from earmark.errors import (
    BudgetExceeded,
    InvalidAmount,
    InvalidPatch,
    KeyReused,
    NotFound,
    Reason,
)
from earmark.ledger.amounts import no_counts
from earmark.ledger.values import Reservation
from earmark.money import Money
from earmark.quilt.quilt import Patch
from earmark.workspace.daily_spend import (
    DailySpend,
    Day,
    books_id,
    days_since,
    last_entry_number,
    patch_fields,
    spend_of,
    today,
)
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")

PATCH_TYPE: Final = "budget"


class Persisted(Struct, frozen=True, kw_only=True):
    """The patch of today, written."""

    name: str
    date: str
    at: int
    unclosed_since: int
    """The start of the first day of which something is still held."""


class BudgetPatches:
    """The patches that one agent writes about its budget's days."""

    def __init__(self, workspace: Workspace, clock: Clock, *, agent: str, budget: str) -> None:
        self._workspace = workspace
        self._clock = clock
        self._agent = agent
        self._budget = budget

    def today(self) -> Day:
        """Return the day it is, of the budget that limits days."""
        return today(self._workspace.ledger, self._budget, self._clock.instant())

    def write(self, cycle: int, unclosed_since: int) -> Persisted:
        """Write the patch of today, and of each day since *unclosed_since* that has ended.

        A day's last numbers are under its own date, also when what it held is settled days later.

        Raises:
            StoreUnavailable: Not all may be written: write again.
            InvalidPatch, BudgetExceeded: As `take_over`.
        """
        self.take_over()
        now = self._clock.instant()
        this_day = self.today()
        first = this_day.at(unclosed_since) if unclosed_since else this_day
        name, unclosed = "", this_day.start
        for day in days_since(first, now):
            spend = spend_of(self._workspace.ledger, day, now)
            name = self._put(day, spend, now, cycle)
            if spend.held:
                unclosed = min(unclosed, day.start)
        return Persisted(name=name, date=this_day.date, at=now, unclosed_since=unclosed)

    def take_over(self) -> Money | None:
        """Book the day's spend of a patch from elsewhere; return it, None if there is nothing.

        Its reservation's key follows from the patch, so that it is booked once for ever.

        Raises:
            InvalidPatch: What it says was spent is no amount.
            BudgetExceeded: A pause is in the way of booking it.
            NoBudget: No budget on the path has a limit.
            StoreUnavailable: The store cannot be read or written.
        """
        day = self.today()
        patch = self._find_patch(_name(day))
        if patch is None or self._is_ours(patch.data):
            return None
        spent = _spent(patch)
        if not spent:
            return None
        key = f"opening-{patch.type}-{patch.name}"
        opening = self._opening(day, key, spent)
        if opening.state == "settled":
            return None
        self._workspace.ledger.settle(key, spent)
        _log.warning("%s USD of patch '%s', from elsewhere, are booked", spent, patch.name)
        return spent

    def _opening(self, day: Day, key: str, spent: Money) -> Reservation:
        ledger = self._workspace.ledger
        labels = {"opening": key, "agent": self._agent}
        # It is spend alone: neither a call nor tokens.
        units = no_counts()
        # At its amount where that fits. Where not, it is booked all the same: it is spent.
        for amount in (spent, Money()):
            try:
                return ledger.reserve(day.budget, amount, key=key, units=units, labels=labels)
            except KeyReused:
                return ledger.reservation(key)
            except BudgetExceeded as refusal:
                if refusal.reason is Reason.PAUSED or not amount:
                    raise
        raise AssertionError("an amount of nothing fits, or raises")

    def _put(self, day: Day, spend: DailySpend, now: int, cycle: int) -> str:
        name = _name(day)
        current = self._find_patch(name)
        if current is not None and current.data.get("budget", day.budget) != day.budget:
            # Two budgets that limit days, of two agents: the second one's patch says whose it is.
            name = f"{name}_{day.budget}"
            current = self._find_patch(name)
        data = patch_fields(self._workspace.ledger, day, spend, now=now)
        if now < day.end or current is None or not _agree(current.data, data):
            data |= {"cycle_count": cycle, "agent": self._agent}
            self._workspace.quilt.put(PATCH_TYPE, name, data, author=self._agent)
        return name

    def _find_patch(self, name: str) -> Patch | None:
        try:
            return self._workspace.quilt.get(PATCH_TYPE, name)
        except NotFound:
            return None

    def _is_ours(self, data: Mapping[str, Any]) -> bool:
        """Return whether these books stand behind a patch: they have the entry that it names."""
        entry, budget = data.get("entry"), data.get("budget")
        if type(entry) is not int or not isinstance(budget, str):
            return False
        ledger = self._workspace.ledger
        return entry <= last_entry_number(ledger, budget) and data.get("books") == books_id(
            ledger, budget
        )


def _name(day: Day) -> str:
    return f"budget_{day.date}"


def _agree(current: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    return all(current.get(name) == data[name] for name in ("daily_spend", "held", "budget"))


def _spent(patch: Patch) -> Money:
    """Return what a patch says was spent; a float is rounded up to a nano-USD."""
    value = patch.data.get("daily_spend")
    try:
        if isinstance(value, str):
            return Money(value)
        if type(value) in {int, float}:
            return Money(Money.ceil(Decimal(str(value))))
    except (InvalidAmount, ValueError, OverflowError):
        pass
    shown = repr(value)[:40]
    detail = f"{shown} is no amount of USD: correct patch '{patch.name}', and start again"
    raise InvalidPatch(place="data/daily_spend", detail=detail)
