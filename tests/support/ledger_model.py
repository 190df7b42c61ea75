"""The oracle of the ledger's tests: plain dicts, folded over by the pure rules.

It finds the accounts above a path by itself, from budgets and windows alone, at every operation; it
caches nothing, writes nothing, and knows nothing of batches. What a store answers must equal what
it answers.
"""

from dataclasses import dataclass, field
from typing import cast

from msgspec.structs import asdict, replace

from earmark.budget.budget import Budget, Pause
from earmark.budget.path import ancestors
from earmark.errors import Reason
from earmark.ledger.budget_rules import decide_budget, fingerprint
from earmark.ledger.rules import decide
from earmark.ledger.values import (
    Accepted,
    Account,
    Alert,
    Amounts,
    Decision,
    Entry,
    Extend,
    ExtendBudget,
    LimitWindow,
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

    line: LimitWindow
    settled: int = 0
    held: int = 0
    alerted: int = 0
    alerted_of: int = 0

    @property
    def account(self) -> Account:
        """The account as the rules take it."""
        line = self.line
        told = self.alerted if self.alerted_of == line.limit else 0
        due = [ppm for ppm in line.thresholds if ppm > told]
        alert_at = -(-line.limit * due[0] // 1_000_000) if due and line.limit else 1 << 63
        return Account(line, self.settled, self.held, self.alerted, self.alerted_of, alert_at)


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
        if isinstance(op, Extend) and known is not None:
            own = {place[:3] for place in places}
            places += tuple(place for place in above if place[:3] not in own)
        scope = self._scope(op, path, places, now)
        decision = decide(scope, known, op, now, self._next)
        if isinstance(decision, Refused) and decision.account and scope.observed:
            assert decision.reason in {None, Reason.UNPRICED}, "observed, no limit refuses"
        if isinstance(decision, Accepted):
            self._keep(decision, places, scope.accounts)
            if isinstance(op, Extend):
                self.operations[op.operation] = _content(op)
        return decision

    def _scope(self, op: OnReservation, path: str, places: tuple[Place, ...], now: int) -> Scope:
        accounts = tuple(self._account(place, op, now) for place in places)
        paused = self._paused(path, now) if path and isinstance(op, Reserve | Extend) else None
        numbers = (0,) * len(accounts)
        observed = self._observed(path)
        return Scope(accounts, numbers, *(paused or ("", None)), observed=observed)

    def _observed(self, path: str) -> bool:
        root = self.budgets.get(path.partition("/")[0])
        return root is not None and root.observed

    def _account(self, place: Place, op: OnReservation, now: int) -> Account:
        sums = self.sums[place]
        budget = self.budgets[place[0]]
        # An account of an interval that has ended grows under the limit as it is now.
        amounts = [line.limit for _, line in self._above(place[0], now) if _same(line, place)]
        amount = amounts[0] if amounts and isinstance(op, Extend) else sums.line.limit
        line = replace(sums.line, limit=amount, thresholds=budget.alerts)
        return Sums(line, sums.settled, sums.held, sums.alerted, sums.alerted_of).account

    def _keep(
        self, decision: Accepted, places: tuple[Place, ...], accounts: tuple[Account, ...]
    ) -> None:
        reservation = cast("Reservation", decision.reservation)
        self.reservations[reservation.key] = reservation
        self._log(decision)
        if not decision.held:
            return
        self.places[reservation.key] = places
        over = False
        settled = decision.settled or [account.settled for account in accounts]
        rows = zip(places, accounts, settled, decision.held, strict=True)
        for place, account, spent, held in rows:
            sums = self.sums[place]
            sums.line, sums.settled, sums.held = account.line, spent, held
            if decision.entry.kind in {"reserve", "extend"}:
                fits = spent + held <= account.line.limit
                assert fits or self._observed(place[0]), "what is admitted fits on each account"
                over = over or not fits
        assert over == (decision.entry.would_refuse is not None), "what did not fit is marked"
        for alert in decision.alerts:
            sums = self.sums[alert.budget, alert.unit, alert.window, alert.start]
            sums.alerted, sums.alerted_of = alert.threshold, alert.limit

    def _log(self, decision: Accepted) -> None:
        self.entries.append(decision.entry)
        for alert in decision.alerts:
            self._tell(alert)
        self.last = decision.entry.at

    @property
    def _next(self) -> int:
        return len(self.entries) + 1

    # Accounts -------------------------------------------------------------------------------------

    def _above(self, path: str, now: int) -> list[tuple[Place, LimitWindow]]:
        found: list[tuple[Place, LimitWindow]] = []
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
                line = LimitWindow(
                    0, above, limit.unit, window, cut.start, cut.end, amount, budget.alerts
                )
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
        before = self.budgets.get(path)
        decision = decide_budget(op, before, now, self._next)
        if isinstance(decision, Accepted):
            if isinstance(op, SetLimits):
                self._begin(op, before, cast("Budget", decision.budget), now)
            self._keep_budget(cast("Budget", decision.budget), decision, now)
            if op.operation:
                self.operations[op.operation] = fingerprint(op)
        return decision

    def _begin(self, op: SetLimits, before: Budget | None, after: Budget, now: int) -> None:
        """Count on limits in another interval, or on new ones, what was before the change."""
        for limit in after.limits:
            cut = limit.window.interval(now, after.timezone)
            old = before.limits if before else ()
            if any((o.unit, o.window) == (limit.unit, limit.window) for o in old):
                assert before is not None
                if limit.window.interval(now, before.timezone).start == cut.start:
                    continue
            elif not op.count_back:
                continue
            place = (after.path, limit.unit, str(limit.window), cut.start)
            line = LimitWindow(0, *place, cut.end, limit.amount, after.alerts)
            sums = self.sums.setdefault(place, Sums(line))
            for row in list(self.reservations.values()):
                if row.state == "open" or (cut.start <= row.opened < cut.end):
                    self._count_on(sums, place, row)

    def _count_on(self, sums: Sums, place: Place, row: Reservation) -> None:
        if place in self.places[row.key] or place[0] not in ancestors(row.budget):
            return
        held, settled = (row.hold, None) if row.state == "open" else (None, row.actual)
        sums.held += _number(held, place[1])
        sums.settled += _number(settled, place[1])
        self.places[row.key] += (place,)
        self.reservations[row.key] = replace(row, accounts=(*row.accounts, 0))

    def _keep_budget(self, budget: Budget, decision: Accepted, now: int) -> None:
        self.budgets[budget.path] = budget
        self._log(decision)
        for place in self._refresh(budget.path, now):
            if place[0] == budget.path:
                self._crossed(self.sums[place], now)

    def _crossed(self, sums: Sums, now: int) -> None:
        """Tell the thresholds that a change of the limit itself put behind what is settled."""
        line = sums.line
        told = sums.alerted if sums.alerted_of == line.limit else 0
        for ppm in line.thresholds if line.limit else ():
            if ppm > told and sums.settled * 1_000_000 >= line.limit * ppm:
                sums.alerted, sums.alerted_of = ppm, line.limit
                self._tell(_alert(sums, ppm, now, len(self.entries)))

    def _tell(self, alert: Alert) -> None:
        if alert.id not in {each.id for each in self.alerts}:
            self.alerts.append(alert)


def _same(line: LimitWindow, place: Place) -> bool:
    return (line.budget, line.unit, line.window) == place[:3]


def _alert(sums: Sums, ppm: int, now: int, seq: int) -> Alert:
    at = sums.line
    place = (at.budget, at.unit, at.window, at.start, at.end)
    return Alert(0, ppm, *place, at.limit, sums.settled, now, seq)


def _number(amounts: Amounts | None, unit: str) -> int:
    """Return how much of *unit* is in *amounts*, by the names alone."""
    stated = {} if amounts is None else {**asdict(amounts), **dict(amounts.counts)}
    return int(stated.get(unit) or 0)


def _content(op: Extend) -> str:
    return f"{op.key} {op.amounts}"


def outline(decision: Decision) -> tuple[object, ...]:
    """Return what a caller can see of *decision*, without the numbers of accounts and entries."""
    match decision:
        case Accepted():
            shown = _shown(decision.reservation)
            mark = decision.entry.would_refuse
            return ("accepted", decision.entry.kind, shown, decision.budget, mark)
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
        row.closed, row.actual, row.labels, row.details,
    )  # fmt: skip
