"""The working set every store folds its batches over: what was read, what changed.

A store reads rows for it, calls `apply` for each operation in order, writes `changes` and commits.
Between batches it stays true as long as nobody else wrote; `forget` empties it.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from earmark.budget.budget import Budget, Pause
from earmark.budget.path import ancestors
from earmark.budget.window import Interval
from earmark.clock import END_OF_TIME
from earmark.ledger.alerting import told, with_limit
from earmark.ledger.budget_rules import NOTHING_OPENED, changed, decide_budget, fingerprint
from earmark.ledger.changes import Changes
from earmark.ledger.counting import counted_back, is_counted, limit_of, opening
from earmark.ledger.rows import Rows
from earmark.ledger.rules import decide
from earmark.ledger.values import (
    Accepted,
    Account,
    Added,
    Decision,
    Extend,
    Line,
    OnBudget,
    OnReservation,
    Opened,
    Operation,
    Presume,
    Refused,
    Release,
    Repeated,
    Reservation,
    Reserve,
    Scope,
    SetLimits,
    Settle,
)

_MOST_CACHED = 200_000
#: Anybody can ask for paths that have no budget, and for ever new ones.
_MOST_ABSENT = 10_000
_NOBODY = Scope(())
# A tuple: a test against a union of types is several times slower.
_ON_RESERVATION = (Reserve, Settle, Release, Extend, Presume)


class Place(Struct, frozen=True, gc=False):
    """Which accounts lie above a path, and how long that answer holds."""

    accounts: tuple[int, ...]
    paused: str
    pause: Pause | None
    since: int
    until: int


class Books:
    """Budgets, accounts and reservations as one writer knows them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.seq = 0
        """The number of the last entry."""
        self.changes = Changes()
        self._budgets: dict[str, Budget | None] = {}
        self._absent = 0
        """Of those, at most so many are known not to exist."""
        self._accounts: dict[int, Account] = {}
        self._numbers: dict[tuple[str, str, str, int], int] = {}
        self.unwritten: set[int] = set()
        """Accounts that exist only here; a store inserts those that a batch changes."""
        self._next_account = 0
        self._places: dict[str, Place] = {}
        self._under: dict[str, set[str]] = {}
        self._open: dict[str, Reservation] = {}

    def forget(self) -> None:
        """Empty the working set: somebody else wrote, or a batch was rolled back."""
        self.__init__(self._rows)

    def apply(self, operation: Operation, now: int) -> Decision:
        """Decide *operation* at *now* and keep what it changes."""
        # The usual ones first: `isinstance` asks the class of such a value, and takes its time.
        if (
            type(operation) is Reserve
            or type(operation) is Settle
            or isinstance(operation, _ON_RESERVATION)
        ):
            decision = self._apply(operation, now)
        else:
            decision = self._apply_to_budget(operation, now)
        return replace(decision, seen=self.seq) if type(decision) is Refused else decision

    def presume(self, keys: Sequence[str], now: int) -> None:
        """Count the reservations *keys*, past their deadline, as spent in full."""
        for key in keys:
            self._apply(Presume(key), now)

    def accounts_of(self, path: str, now: int) -> tuple[Account, ...]:
        """Return the accounts above *path*, leaf first, in the intervals that contain *now*."""
        return tuple(self._account(number) for number in self._place(path, now).accounts)

    # For stores with several writers at once ------------------------------------------------------

    def opened(self, key: str) -> Reservation | None:
        """Return the open reservation *key* if this working set has it."""
        return self._open.get(key)

    def unknown(self, paths: Iterable[str]) -> set[str]:
        """Return those of *paths*, and of the paths above them, whose budgets were not read yet."""
        new = {path for path in paths if path not in self._places}
        return {above for path in new for above in ancestors(path)}.difference(self._budgets)

    def forget_absent(self, paths: Iterable[str]) -> None:
        """Forget that *paths*, and those above them, have no budget: others may make one unseen."""
        for above in {above for path in paths for above in ancestors(path)}:
            if above in self._budgets and self._budgets[above] is None:
                del self._budgets[above]
                self._absent -= 1

    def holds_until(self, paths: Iterable[str]) -> int:
        """Return the first instant at which other accounts or limits hold above one of *paths*."""
        places = [self._places[path] for path in paths if path in self._places]
        return min((place.until for place in places), default=END_OF_TIME)

    def renumber(self, number: Callable[[Reservation], Reservation]) -> None:
        """Give the reservations of this batch the numbers and instants they were written with."""
        changed = self.changes.reservations
        for key, reservation in changed.items():
            changed[key] = self._open[key] = number(reservation)

    # Reservations ---------------------------------------------------------------------------------

    def _apply(self, op: OnReservation, now: int) -> Decision:
        key, kind = op.key, type(op)
        known = self._open.get(key)
        if known is None:
            known = self._rows.reservation(key)
        if kind is not Reserve and kind is not Settle:
            answered = self._answered(op, known)
            if answered is not None:
                return answered
        decision = decide(self._scope(op, known, now), known, op, now, self.seq + 1)
        if type(decision) is Accepted:
            self._keep(decision)
            if type(op) is Extend and op.operation:
                self.changes.operations.append((op.operation, _content(op)))
        elif type(op) is Reserve and type(decision) is Repeated:
            return replace(decision, retried=self._opened_by(known, op.operation))
        return decision

    def _answered(self, op: OnReservation, known: Reservation | None) -> Decision | None:
        """Return the answer to an operation that is a repeat, or releases another's, if it is."""
        if type(op) is Extend and op.operation:
            first = self._repeat(op.operation, _content(op))
            if first is not None:
                return Repeated(known, None) if first == "" else _reused(op, first)
        if type(op) is Release and op.opened_by and not self._opened_by(known, op.opened_by):
            return Refused("not_found", key=op.key)
        return None

    def _opened_by(self, known: Reservation | None, operation: str) -> bool:
        """Return whether the request named *operation* opened *known*, in this batch or before."""
        if known is None or not operation:
            return False
        # As its entry has it: without a name where the opener made the key up, see `rules`.
        name = "" if operation == known.key else operation
        for entry in self.changes.entries:
            if entry.key == known.key and entry.kind == "reserve":
                return entry.data == name
        return self._rows.entry_data(known.seq) == name

    def _scope(self, op: OnReservation, known: Reservation | None, now: int) -> Scope:
        if type(op) is Reserve:
            if known is not None:
                return _NOBODY
            place = self._place(op.budget, now)
            numbers = place.accounts
        elif known is None:
            return _NOBODY
        elif type(op) is Extend:
            return self._growing(known, now)
        else:
            # Limits as they are now, so that an alert goes by an extension only while it lasts.
            self._place(known.budget, now)
            return Scope(self._standing(known.accounts))
        return Scope(self._standing(numbers), place.paused, place.pause)

    def _growing(self, known: Reservation, now: int) -> Scope:
        """Return where an extension counts: on its own accounts, and on those of limits set since.

        All of them under the limits as they are now, also those of intervals that have ended: it
        belongs to its interval, and is bound by what binds today.
        """
        place = self._place(known.budget, now)
        accounts = self._standing(known.accounts)
        if place.accounts == known.accounts:
            return Scope(accounts, place.paused, place.pause)
        in_force = {limit_of(each): each for each in self._standing(place.accounts)}
        lines = [in_force.get(limit_of(each), each).line for each in accounts]
        pairs = zip(accounts, lines, strict=True)
        own = [with_limit(each, line.limit, line.thresholds) for each, line in pairs]
        for each in own:
            in_force.pop(limit_of(each), None)
        return Scope((*own, *in_force.values()), place.paused, place.pause)

    def _standing(self, numbers: tuple[int, ...]) -> tuple[Account, ...]:
        accounts = self._accounts
        try:
            # Nearly always all of them are here: one dictionary look each, and no call.
            return tuple(map(accounts.__getitem__, numbers))
        except KeyError:
            return tuple([self._account(number) for number in numbers])

    def _keep(self, decision: Accepted) -> None:
        self.seq += 1
        changes = self.changes
        known, changed = self._accounts, changes.accounts
        for account in decision.accounts:
            number = account.line.id
            if number not in changed:
                changes.before[number] = known[number]
            known[number] = changed[number] = account
        reservation = decision.reservation
        if reservation is not None:
            # Also when it was closed: its row is not written yet, and this batch may ask again.
            changes.reservations[reservation.key] = self._open[reservation.key] = reservation
            if reservation.parts:
                changes.joined.add(reservation.key)
        changes.entries.append(decision.entry)
        if decision.alerts:
            changes.alerts.extend(decision.alerts)
        for row in decision.joined:
            changes.reservations[row.key] = self._open[row.key] = row
            changes.joined.add(row.key)

    def written(self) -> None:
        """Start the next batch: what changed is committed; repeated where it was interrupted."""
        open_ = self._open
        for key, reservation in self.changes.reservations.items():
            if reservation.state != "open":
                open_.pop(key, None)
        if len(open_) > _MOST_CACHED:
            open_.clear()
        if len(self._places) > _MOST_CACHED:
            self._places.clear()
            self._under.clear()
        if self.unwritten:
            self.unwritten.difference_update(self.changes.accounts)
        self.changes.clear()

    # Accounts -------------------------------------------------------------------------------------

    def _account(self, number: int) -> Account:
        account = self._accounts.get(number)
        if account is None:
            account = self._cached(self._rows.account(number))
        return account

    def _cached(self, row: Account) -> Account:
        budget = self.budget(row.line.budget)
        account = with_limit(row, row.line.limit, budget.alerts if budget else ())
        self._accounts[account.id] = account
        return account

    def _place(self, path: str, now: int) -> Place:
        place = self._places.get(path)
        if place is None or not place.since <= now < place.until:
            place = self._find_place(path, now)
            if place.accounts or place.pause is not None:
                self._places[path] = place
                for above in ancestors(path):
                    self._under.setdefault(above, set()).add(path)
        return place

    def _find_place(self, path: str, now: int) -> Place:
        numbers: list[int] = []
        paused, pause = "", None
        since, until = 0, END_OF_TIME
        for above in ancestors(path):
            budget = self.budget(above)
            if budget is None:
                continue
            in_force = budget.is_paused(now)
            if in_force is not None:
                paused, pause = above, in_force
            unchanged = budget.unchanged_around(now)
            since, until = max(since, unchanged.start), min(until, unchanged.end)
            for limit in budget.limits:
                interval = limit.window.interval(now, budget.timezone)
                since, until = max(since, interval.start), min(until, interval.end)
                account = self._find_account(
                    above, limit.unit, str(limit.window), interval.start, interval.end
                )
                effective = budget.effective(limit, now)
                wanted = (effective, budget.alerts, interval.end)
                if (account.line.limit, account.line.thresholds, account.line.end) != wanted:
                    account = with_limit(account, *wanted)
                    self._accounts[account.id] = account
                numbers.append(account.id)
        return Place(tuple(numbers), paused, pause, since, until)

    def _find_account(self, budget: str, unit: str, window: str, start: int, end: int) -> Account:
        place = (budget, unit, window, start)
        number = self._numbers.get(place)
        if number is not None:
            return self._account(number)
        row = self._rows.find_account(*place)
        account = self._new_account(*place, end) if row is None else self._accounts.get(row.id)
        if account is None:
            assert row is not None
            account = self._cached(row)
        self._numbers[place] = account.id
        return account

    def _new_account(self, budget: str, unit: str, window: str, start: int, end: int) -> Account:
        self._next_account = max(self._next_account, self._rows.next_account())
        account = Account(Line(self._next_account, budget, unit, window, start, end, 0))
        self._next_account += 1
        self._accounts[account.id] = account
        self.unwritten.add(account.id)
        return account

    # Budgets --------------------------------------------------------------------------------------

    def budget(self, path: str) -> Budget | None:
        """Return the budget at exactly *path*."""
        try:
            return self._budgets[path]
        except KeyError:
            found = self._rows.budget(path)
        if found is None:
            self._absent += 1
            if self._absent > _MOST_ABSENT:
                self._budgets = {path: b for path, b in self._budgets.items() if b is not None}
                self._absent = 1
        self._budgets[path] = found
        return found

    def _apply_to_budget(self, op: OnBudget, now: int) -> Decision:
        path = op.budget
        content = fingerprint(op)
        first = self._repeat(op.operation, content) if op.operation else None
        if first == "":
            return Repeated(None, self.budget(path))
        if first is not None:
            return Refused(
                "key_reused", key=op.operation, field="content", first=first, now=content
            )
        opened = self._opened(op, now) if isinstance(op, SetLimits) else NOTHING_OPENED
        if isinstance(opened, Refused):
            return opened
        decision = decide_budget(op, self.budget(path), now, self.seq + 1, opened)
        if isinstance(decision, Accepted) and decision.budget is not None:
            self._keep(decision)
            self._keep_budget(decision.budget, self.budget(path), now)
        if op.operation and not isinstance(decision, Refused):
            self.changes.operations.append((op.operation, content))
        return decision

    def _opened(self, op: SetLimits, now: int) -> Opened | Refused:
        """Return the accounts that *op* begins with what was before, and those who count there."""
        before = self.budget(op.budget)
        accounts: list[Account] = []
        added: list[Added] = []
        joined: dict[str, Reservation] = {}
        for limit, interval in opening(op, before, changed(op, before), now):
            account = self._find_account(
                op.budget, limit.unit, str(limit.window), interval.start, interval.end
            )
            rows = [joined.get(row.key, row) for row in self._counted(op.budget, interval)]
            opened = counted_back(account, [r for r in rows if account.id not in r.accounts])
            if opened is None:
                return Refused("uncountable", budget=op.budget, account=account)
            if opened.joined:
                accounts += opened.accounts
                added += opened.added
                joined.update((row.key, row) for row in opened.joined)
        return Opened(tuple(accounts), tuple(joined.values()), tuple(added))

    def _counted(self, path: str, interval: Interval) -> list[Reservation]:
        """Return whom `counting.is_counted` names; what this batch changed is in no row yet."""
        pending = self.changes.reservations
        rows = [row for row in self._rows.counted(path, interval) if row.key not in pending]
        return rows + [row for row in pending.values() if is_counted(row, path, interval)]

    def _keep_budget(self, budget: Budget, before: Budget | None, now: int) -> None:
        if before is not None and before.alerts != budget.alerts:
            # Those of intervals that have ended alert at the thresholds of now, too.
            for each in [a for a in self._accounts.values() if a.line.budget == budget.path]:
                self._accounts[each.id] = with_limit(each, each.line.limit, budget.alerts)
        self._budgets[budget.path] = budget
        self.changes.budgets[budget.path] = budget
        for path in self._under.pop(budget.path, ()):
            self._places.pop(path, None)
        # A lowered limit may put an account past a threshold: that is a crossing, told here.
        for account in self.accounts_of(budget.path, now):
            if account.line.budget == budget.path:
                self._limit_changed(account, now)

    def _limit_changed(self, account: Account, now: int) -> None:
        account, alerts = told(account, now, self.seq)
        changes = self.changes
        changes.alerts.extend(alerts)
        if account.id not in self.unwritten or account.id in changes.accounts:
            changes.before.setdefault(account.id, self._accounts[account.id])
            changes.accounts[account.id] = account
        self._accounts[account.id] = account

    def _repeat(self, operation: str, content: str) -> str | None:
        """Return `None` for a new operation key, "" for a repeat, else the other first content."""
        first = next((c for k, c in self.changes.operations if k == operation), None)
        if first is None:
            first = self._rows.operation(operation)
        return "" if first == content else first


def _content(op: Extend) -> str:
    return f"{op.key} {op.amounts.usd} {op.amounts.calls} {op.amounts.tokens}"


def _reused(op: Extend, first: str) -> Refused:
    return Refused("key_reused", key=op.operation, field="extension", first=first, now=_content(op))
