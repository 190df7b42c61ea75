"""The oracle of the ledger's tests: plain dicts, folded over by the pure rules.

It finds the accounts above a path by itself, from budgets and windows alone, at every operation; it
caches nothing, writes nothing, and knows nothing of batches. What a store answers must equal what
it answers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from earmark.budget.budget import Budget, Pause
from earmark.budget.path import ancestors
from earmark.ledger.budget_rules import decide_budget, fingerprint
from earmark.ledger.rules import decide
from earmark.ledger.values import (
    Accepted,
    Account,
    Alert,
    Decision,
    Entry,
    Extend,
    ExtendBudget,
    Line,
    OnBudget,
    OnReservation,
    Operation,
    PauseBudget,
    Presume,
    Refused,
    Repeated,
    Reservation,
    Reserve,
    ResumeBudget,
    Scope,
    SetLimits,
)

#: Budget, unit, window and start of the interval: what an account is.
Place = tuple[str, str, str, int]


@dataclass(slots=True)
class Sums:
    """What the model knows of one account."""

    line: Line
    settled: int = 0
    held: int = 0
    alerted: int = 0

    @property
    def account(self) -> Account:
        """The account as the rules take it."""
        line = self.line
        due = [ppm for ppm in line.thresholds if ppm > self.alerted]
        alert_at = -(-line.limit * due[0] // 1_000_000) if due and line.limit else 1 << 63
        return Account(line, self.settled, self.held, self.alerted, alert_at)


@dataclass(slots=True)
class Model:
    """Books as they should be."""

    budgets: dict[str, Budget] = field(default_factory=dict[str, Budget])
    sums: dict[Place, Sums] = field(default_factory=dict[Place, Sums])
    reservations: dict[str, Reservation] = field(default_factory=dict[str, Reservation])
    places: dict[str, tuple[Place, ...]] = field(default_factory=dict[str, tuple[Place, ...]])
    operations: dict[str, str] = field(default_factory=dict[str, str])
    entries: list[Entry] = field(default_factory=list[Entry])
    alerts: list[Alert] = field(default_factory=list[Alert])
    last: int = 0
    """The instant of the last entry; time does not go behind it."""

    def apply(self, operation: Operation, at: int) -> Decision:
        """Decide *operation* and keep what it changes."""
        now = self.sweep(at)
        if isinstance(operation, SetLimits | PauseBudget | ResumeBudget | ExtendBudget):
            return self._on_budget(operation, now)
        return self._on_reservation(operation, now)

    def sweep(self, at: int) -> int:
        """Presume what is past its deadline; return the instant the books are at."""
        now = max(at, self.last)
        due = [r.key for r in self.reservations.values() if r.state == "open" and r.expires <= now]
        for key in due:
            self._on_reservation(Presume(key), now)
        return now

    def standing(self, path: str, at: int) -> list[tuple[str, str, int, int, int]]:
        """Return (unit, window, limit, settled, held) of each limit of the budget at *path*."""
        found = [
            (line, self.sums.get(place, Sums(line)))
            for place, line in self._above(path, max(at, self.last))
            if line.budget == path
        ]
        return [(line.unit, line.window, line.limit, s.settled, s.held) for line, s in found]

    # Reservations ---------------------------------------------------------------------------------

    def _on_reservation(self, op: OnReservation, now: int) -> Decision:
        known = self.reservations.get(op.key)
        if isinstance(op, Extend):
            first = self.operations.get(op.operation)
            if first is not None:
                same = first == _content(op)
                return Repeated(known, None) if same else Refused("key_reused", key=op.operation)
        path = op.budget if isinstance(op, Reserve) else known.budget if known else ""
        above = self._refresh(path, now) if path else ()
        places = above if known is None else self.places[op.key]
        decision = decide(self._scope(op, path, places, now), known, op, now, self._next)
        if isinstance(decision, Accepted):
            self._keep(decision, places)
            if isinstance(op, Extend):
                self.operations[op.operation] = _content(op)
        return decision

    def _scope(self, op: OnReservation, path: str, places: tuple[Place, ...], now: int) -> Scope:
        accounts = tuple(self.sums[place].account for place in places)
        paused = self._paused(path, now) if path and isinstance(op, Reserve | Extend) else None
        return Scope(accounts, *paused) if paused else Scope(accounts)

    def _keep(self, decision: Accepted, places: Iterable[Place]) -> None:
        for place, account in zip(places, decision.accounts, strict=True):
            sums = self.sums[place]
            sums.settled, sums.held, sums.alerted = account.settled, account.held, account.alerted
        reservation = cast("Reservation", decision.reservation)
        self.reservations[reservation.key] = reservation
        self.places.setdefault(reservation.key, tuple(places))
        self._log(decision)

    def _log(self, decision: Accepted) -> None:
        self.entries.append(decision.entry)
        self.alerts.extend(decision.alerts)
        self.last = decision.entry.at

    @property
    def _next(self) -> int:
        return len(self.entries) + 1

    # Accounts -------------------------------------------------------------------------------------

    def _above(self, path: str, now: int) -> list[tuple[Place, Line]]:
        found: list[tuple[Place, Line]] = []
        for above in ancestors(path):
            budget = self.budgets.get(above)
            for limit in budget.limits if budget else ():
                assert budget is not None
                cut, window = limit.window.interval(now, budget.timezone), str(limit.window)
                amount = limit.amount + sum(
                    e.limit.amount
                    for e in budget.extensions
                    if (e.limit.unit, e.limit.window) == (limit.unit, limit.window)
                    and now < e.until
                )
                line = Line(0, above, limit.unit, window, cut.start, cut.end, amount, budget.alerts)
                found.append(((above, limit.unit, window, cut.start), line))
        return found

    def _refresh(self, path: str, now: int) -> tuple[Place, ...]:
        above = self._above(path, now)
        for place, line in above:
            self.sums.setdefault(place, Sums(line)).line = line
        return tuple(place for place, _ in above)

    def _paused(self, path: str, now: int) -> tuple[str, Pause] | None:
        for above in reversed(ancestors(path)):
            pause = self.budgets[above].paused if above in self.budgets else None
            if pause is not None and (pause.until is None or now < pause.until):
                return above, pause
        return None

    # Budgets --------------------------------------------------------------------------------------

    def _on_budget(self, op: OnBudget, now: int) -> Decision:
        path = op.budget
        first = self.operations.get(op.operation) if op.operation else None
        if first is not None:
            same = first == fingerprint(op)
            return (
                Repeated(None, self.budgets.get(path))
                if same
                else Refused("key_reused", key=op.operation)
            )
        decision = decide_budget(op, self.budgets.get(path), now, self._next)
        if isinstance(decision, Accepted):
            self._keep_budget(cast("Budget", decision.budget), decision, now)
            if op.operation:
                self.operations[op.operation] = fingerprint(op)
        return decision

    def _keep_budget(self, budget: Budget, decision: Accepted, now: int) -> None:
        self.budgets[budget.path] = budget
        self._log(decision)
        for place in self._refresh(budget.path, now):
            if place[0] == budget.path:
                self._crossed(self.sums[place], now)

    def _crossed(self, sums: Sums, now: int) -> None:
        """Tell the thresholds that a change of the limit itself put behind what is settled."""
        line = sums.line
        for ppm in line.thresholds if line.limit else ():
            if ppm > sums.alerted and sums.settled * 1_000_000 >= line.limit * ppm:
                sums.alerted = ppm
                self.alerts.append(_alert(sums, ppm, now, len(self.entries)))


def _alert(sums: Sums, ppm: int, now: int, seq: int) -> Alert:
    at = sums.line
    place = (at.budget, at.unit, at.window, at.start, at.end)
    return Alert(0, ppm, *place, at.limit, sums.settled, now, seq)


def _content(op: Extend) -> str:
    return f"{op.key} {op.amounts}"


def outline(decision: Decision) -> tuple[object, ...]:
    """Return what a caller can see of *decision*, without the numbers of accounts and entries."""
    match decision:
        case Accepted():
            shown = _shown(decision.reservation)
            return ("accepted", decision.entry.kind, shown, decision.budget)
        case Repeated():
            return ("repeated", _shown(decision.reservation), decision.budget)
        case Refused(account=None):
            return ("refused", decision.why, decision.key, decision.reason, decision.pause)
        case Refused(account=account):
            assert account is not None
            line = account.line
            return (
                "refused", decision.reason, decision.requested, line.budget, line.unit,
                line.window, line.start, line.limit, account.settled, account.held,
            )  # fmt: skip


def _shown(row: Reservation | None) -> tuple[object, ...] | None:
    if row is None:
        return None
    return (
        row.key, row.budget, row.asked, row.hold, row.state, row.opened, row.expires,
        row.closed, row.actual, row.labels,
    )  # fmt: skip
