"""Counts again what changes of budgets counted of the reservations before them; for the audit.

A `limit` entry may begin accounts with what was before it (`earmark.ledger.counting`). Which ones
is known before the audit reads the first entry, so that it keeps no closed reservation for them: it
is added to the accounts still to begin when its last entry is read, or when they begin if that is
earlier.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from earmark.budget.limit import describe_window
from earmark.budget.path import is_within
from earmark.ledger.amounts import count
from earmark.ledger.counting import NOTHING
from earmark.ledger.store import Snapshot
from earmark.ledger.values import Account, Amounts, Entry, Reservation, State


@dataclass(slots=True)
class Replayed:
    """A reservation as its entries up to now tell it, beside the row that the store has of it."""

    row: Reservation | None
    budget: str
    opened: int
    hold: Amounts
    state: State = "open"
    actual: Amounts | None = None
    last: int = 0
    expires: int | None = None
    """Where its deadline was moved to; the entry that opens a reservation does not tell it."""

    def agrees(self, row: Reservation) -> bool:
        """Return whether the row is what the entries say."""
        replayed = (self.budget, self.hold, self.state, self.actual, self.last)
        recorded = (row.budget, row.hold, row.state, row.actual, row.last)
        return replayed == recorded and self.expires in {None, row.expires}


class Recount:
    """The accounts that begin with what was before, in entries that are still to be read."""

    def __init__(self, snapshot: Snapshot, wrong: Callable[[str], None]) -> None:
        """Find them in *snapshot*; *wrong* is called with each problem."""
        self._wrong = wrong
        self._ahead: dict[str, list[_Beginning]] = {}
        for entry in snapshot.budget_changes():
            for body in beginnings(entry.data) if entry.kind == "limit" else ():
                self._ahead.setdefault(entry.budget, []).append(_Beginning(entry, body))
        if self._ahead:
            self._find_accounts(snapshot)

    def _find_accounts(self, snapshot: Snapshot) -> None:
        beginnings = [each for budget in self._ahead.values() for each in budget]
        accounts: dict[tuple[str, str, str, int], Account | None]
        accounts = dict.fromkeys(each.account_key for each in beginnings)
        for account in snapshot.accounts():
            line = account.line
            account_key = (line.budget, line.unit, line.window, line.start)
            if account_key in accounts:
                accounts[account_key] = account
        for each in beginnings:
            each.account = accounts[each.account_key]

    def add(self, done: Replayed) -> None:
        """Count a reservation, none of whose entries is still to be read."""
        path = done.budget if self._ahead else ""
        while path:
            for each in self._ahead.get(path, ()):
                self._count(each, done)
            path = path.rpartition("/")[0]

    def begin(self, entry: Entry, in_flight: Iterable[Replayed]) -> None:
        """Compare what *entry* counted; *in_flight* are those not added that were opened before."""
        ahead = self._ahead.pop(entry.budget, [])
        later = [each for each in ahead if each.seq != entry.seq]
        if later:
            self._ahead[entry.budget] = later
        begun = [each for each in ahead if each.seq == entry.seq]
        if not begun:
            return
        for replayed in in_flight:
            if is_within(replayed.budget, entry.budget):
                for each in begun:
                    self._count(each, replayed)
        for each in begun:
            if each.account is None:
                budget, unit, window, _ = each.account_key
                self._wrong(f"account of {budget}, {unit} {describe_window(window)}, is missing")
            if not each.adds_up():
                detail = f"counts {each.recorded}, the entries before it sum to {each.sums}"
                self._wrong(f"entry {entry.seq} {detail}")

    def _count(self, beginning: "_Beginning", replayed: Replayed) -> None:
        row, account = replayed.row, beginning.account
        if not beginning.count(replayed) or row is None or account is None:
            return
        if account.id not in row.accounts:
            self._wrong(f"{name_of(account)} does not count reservation '{row.key}'")


class _Beginning:
    """One account that begins with what was before, and what that is by the entries so far."""

    def __init__(self, entry: Entry, body: dict[str, Any]) -> None:
        self.seq = entry.seq
        self.account_key = (
            entry.budget,
            str(body["unit"]),
            str(body["window"]),
            int(body["start"]),
        )
        self.account: Account | None = None
        self.recorded = {"settled": int(body["settled"]), "held": int(body["held"])}
        self.sums = {"settled": 0, "held": 0}
        self._interval = range(body["start"], body["end"])
        self._recorded_reservations = int(body["reservations"])
        self._reservations = 0

    def count(self, replayed: Replayed) -> bool:
        """Count *replayed* and return true if it is open, or was opened in the interval."""
        if replayed.state == "open":
            column, amounts = "held", replayed.hold
        elif replayed.state != "released" and replayed.opened in self._interval:
            column, amounts = "settled", replayed.actual or NOTHING
        else:
            return False
        self._reservations += 1
        self.sums[column] += count(amounts, self.account_key[1])
        return True

    def adds_up(self) -> bool:
        """Return whether the entry has these sums, or less where some reservations counted."""
        if self.recorded == self.sums:
            return True
        # Of an account that was there before, some counted already.
        fewer = self._recorded_reservations < self._reservations
        return fewer and all(self.recorded[column] <= self.sums[column] for column in self.sums)


def name_of(account: Account) -> str:
    """Return what problems call *account*."""
    line = account.line
    return f"account {line.id} ({line.budget}, {line.unit} {describe_window(line.window)})"


def beginnings(data: str) -> list[dict[str, Any]]:
    """Return the accounts that a `limit` entry with *data* begins with what was before."""
    return json.loads(data or "{}").get("opened", [])
