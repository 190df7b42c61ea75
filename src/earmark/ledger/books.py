"""The working set every store folds its batches over: what was read, what changed.

A store reads rows for it, calls `apply` for each operation in order, writes `changes` and commits.
Between batches it stays true as long as nobody else wrote; `forget` empties it.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import copy

from msgspec.structs import replace

from earmark.budget.budget import Budget
from earmark.budget.path import ancestors
from earmark.budget.window import Interval
from earmark.clock import END_OF_TIME
from earmark.ledger.alerting import crossed, mark_alerted, set_limit
from earmark.ledger.budget_rules import NOTHING_OPENED, changed, decide_budget, fingerprint
from earmark.ledger.changes import Changes
from earmark.ledger.counting import counted_back, is_counted, limit_of, opening
from earmark.ledger.rows import LedgerRows
from earmark.ledger.rules import decide
from earmark.ledger.values import (
    Accepted,
    Account,
    Added,
    Decision,
    Extend,
    LimitWindow,
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
_NOBODY = Scope((), ())
# A tuple: a test against a union of types is several times slower.
_ON_RESERVATION = (Reserve, Settle, Release, Extend, Presume)


class Books:
    """Budgets, accounts and reservations as one writer knows them.

    A batch changes its accounts in place. They are its own: copied when they are read, and when
    they are given to anybody; whatever ends a batch that is not committed must `forget` them.
    """

    def __init__(self, rows: LedgerRows) -> None:
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
        self._scopes: dict[str, Scope] = {}
        """By path; each for as long as it holds."""
        self._touched: dict[str, Scope] = {}
        """Those whose accounts are all among the changes of this batch."""
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
        if type(decision) is Refused:
            # What it shows of an account is how that stands now: this batch may change it further.
            return replace(decision, seen=self.seq, account=copy(decision.account))
        return decision

    def presume(self, keys: Sequence[str], now: int) -> None:
        """Count the reservations *keys*, past their deadline, as spent in full."""
        for key in keys:
            self._apply(Presume(key), now)

    def accounts_of(self, path: str, now: int) -> tuple[Account, ...]:
        """Return the accounts above *path*, leaf first, in the intervals that contain *now*."""
        return tuple(map(copy, self.scope_of(path, now).accounts))

    # For stores with several writers at once ------------------------------------------------------

    def opened(self, key: str) -> Reservation | None:
        """Return the open reservation *key* if this working set has it."""
        return self._open.get(key)

    def unknown(self, paths: Iterable[str]) -> set[str]:
        """Return those of *paths*, and of the paths above them, whose budgets were not read yet."""
        new = [path for path in paths if path not in self._scopes]
        if not new:
            return set()
        return {above for path in new for above in ancestors(path)}.difference(self._budgets)

    def forget_absent(self, paths: Iterable[str]) -> None:
        """Forget that *paths*, and those above them, have no budget: others may make one unseen."""
        for above in {above for path in paths for above in ancestors(path)}:
            if above in self._budgets and self._budgets[above] is None:
                del self._budgets[above]
                self._absent -= 1

    def holds_until(self, paths: Iterable[str]) -> int:
        """Return the first instant at which other accounts or limits hold above one of *paths*."""
        scopes = self._scopes
        return min([scopes[path].until for path in paths if path in scopes], default=END_OF_TIME)

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
        scope = self._scope(op, known, now)
        decision = decide(scope, known, op, now, self.seq + 1)
        if type(decision) is Accepted:
            self._keep(decision, scope)
            if type(op) is Extend and op.operation:
                self.changes.operations.append((op.operation, _content(op)))
        elif type(op) is Reserve and type(decision) is Repeated:
            return replace(decision, retried=self._opened_by(known, op.operation))
        return decision

    def _answered(self, op: OnReservation, known: Reservation | None) -> Decision | None:
        """Return the answer to an operation that is a repeat, or releases another's, if it is."""
        if type(op) is Extend and (name := op.operation):
            first = self._repeat(name, content := _content(op))
            if first == "":
                return Repeated(known, None)
            if first is not None:
                return Refused("key_reused", name, field="extension", first=first, now=content)
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
                return entry.operation == name
        return self._rows.entry_data(known.seq).partition("\n")[0] == name

    def _scope(self, op: OnReservation, known: Reservation | None, now: int) -> Scope:
        if type(op) is Reserve:
            return self.scope_of(op.budget, now) if known is None else _NOBODY
        if known is None:
            return _NOBODY
        # Limits as they are now, so that an alert goes by an extension only while it lasts.
        scope = self.scope_of(known.budget, now)
        if scope.numbers == known.accounts:
            return scope
        accounts = tuple(map(self._account, known.accounts))
        if type(op) is Extend:
            return self._growing(scope, accounts)
        return Scope(accounts, known.accounts)

    def _growing(self, scope: Scope, accounts: tuple[Account, ...]) -> Scope:
        """Return where an extension counts: on its *accounts*, and on those of limits set since.

        All of them under the limits as they are now, also those of intervals that have ended: it
        belongs to its interval, and is bound by what binds today.
        """
        in_force = {limit_of(each): each for each in scope.accounts}
        own = [copy(each) for each in accounts]
        for each in own:
            line = in_force.pop(limit_of(each), each).line
            set_limit(each, line.limit, line.thresholds)
        found = (*own, *in_force.values())
        return replace(scope, accounts=found, numbers=tuple([each.line.id for each in found]))

    def _keep(self, decision: Accepted, scope: Scope) -> None:
        self.seq += 1
        changes, entry, reservation = self.changes, decision.entry, decision.reservation
        if decision.held:
            self._set_sums(decision, scope)
        if reservation is not None:
            # Also when it was closed: its row is not written yet, and this batch may ask again.
            changes.reservations[entry.key] = self._open[entry.key] = reservation
            if reservation.parts:
                changes.joined.add(entry.key)
        changes.entries.append(entry)
        for row in decision.joined:
            changes.reservations[row.key] = self._open[row.key] = row
            changes.joined.add(row.key)

    def _set_sums(self, decision: Accepted, scope: Scope) -> None:
        accounts, path = scope.accounts, decision.entry.budget
        if self._touched.get(path) is not scope:
            accounts = self._touch(accounts)
            if self._scopes.get(path) is scope:
                self._touched[path] = scope
        settled, held, index = decision.settled, decision.held, 0
        # Counted by hand: `zip` costs as much as all the rest of this.
        if settled:
            for account in accounts:
                account.settled = settled[index]
                account.held = held[index]
                index += 1
        else:
            for account in accounts:
                account.held = held[index]
                index += 1
        if decision.alerts:
            self.changes.alerts.extend(decision.alerts)
            for alert in decision.alerts:
                mark_alerted(self._accounts[alert.account], alert)

    def _touch(self, accounts: Iterable[Account]) -> list[Account]:
        """Put *accounts* among the changes of this batch; return those of the working set."""
        known, changes = self._accounts, self.changes
        touched: list[Account] = []
        for account in accounts:
            number = account.line.id
            own = known[number]
            if number not in changes.accounts:
                changes.before[number] = replace(own)
                changes.accounts[number] = own
            if own is not account:
                # An extension found it under the limit of now.
                own.line, own.alert_at = account.line, account.alert_at
            touched.append(own)
        return touched

    def written(self) -> None:
        """Start the next batch: what changed is committed; repeated where it was interrupted."""
        open_ = self._open
        for key, reservation in self.changes.reservations.items():
            if reservation.state != "open":
                open_.pop(key, None)
        if len(open_) > _MOST_CACHED:
            open_.clear()
        if len(self._scopes) > _MOST_CACHED:
            self._scopes.clear()
            self._under.clear()
        if self.unwritten:
            self.unwritten.difference_update(self.changes.accounts)
        self._touched.clear()
        self.changes.clear()

    # Accounts -------------------------------------------------------------------------------------

    def _account(self, number: int) -> Account:
        account = self._accounts.get(number)
        if account is None:
            account = self._read(self._rows.account(number))
        return account

    def _read(self, row: Account) -> Account:
        """Return the account of this working set that begins as *row*."""
        account, budget = replace(row), self.budget(row.line.budget)
        set_limit(account, row.line.limit, budget.alerts if budget else ())
        self._accounts[row.line.id] = account
        return account

    def scope_of(self, path: str, now: int) -> Scope:
        """Return what a reserve on *path* counts on at *now*; the accounts are this set's own."""
        scope = self._scopes.get(path)
        if scope is None or not scope.since <= now < scope.until:
            scope = self._find_scope(path, now)
            if scope.accounts or scope.pause is not None:
                self._scopes[path] = scope
                for above in ancestors(path):
                    self._under.setdefault(above, set()).add(path)
        return scope

    def _find_scope(self, path: str, now: int) -> Scope:
        accounts: list[Account] = []
        paused, pause, observed, since, until = "", None, False, 0, END_OF_TIME
        for above in ancestors(path):
            budget = self.budget(above)
            if budget is None:
                continue
            observed = budget.observed
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
                expected = (effective, budget.alerts, interval.end)
                if (account.line.limit, account.line.thresholds, account.line.end) != expected:
                    set_limit(account, *expected)
                accounts.append(account)
        numbers = tuple([account.line.id for account in accounts])
        return Scope(tuple(accounts), numbers, paused, pause, since, until, observed)

    def _find_account(self, budget: str, unit: str, window: str, start: int, end: int) -> Account:
        key = (budget, unit, window, start)
        number = self._numbers.get(key)
        if number is not None:
            return self._account(number)
        row = self._rows.find_account(*key)
        account = self._new_account(*key, end) if row is None else self._accounts.get(row.id)
        if account is None:
            assert row is not None
            account = self._read(row)
        self._numbers[key] = account.id
        return account

    def _new_account(self, budget: str, unit: str, window: str, start: int, end: int) -> Account:
        self._next_account = max(self._next_account, self._rows.next_account())
        account = Account(LimitWindow(self._next_account, budget, unit, window, start, end, 0))
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
            self._keep(decision, Scope(opened.accounts, ()))
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
            for each in self._accounts.values():
                if each.line.budget == budget.path:
                    set_limit(each, each.line.limit, budget.alerts)
        self._budgets[budget.path] = budget
        self.changes.budgets[budget.path] = budget
        for path in self._under.pop(budget.path, ()):
            self._scopes.pop(path, None)
        # A lowered limit may put an account past a threshold: that is a crossing, told here.
        for account in self.scope_of(budget.path, now).accounts:
            if account.line.budget == budget.path:
                self._limit_changed(account, now)

    def _limit_changed(self, account: Account, now: int) -> None:
        alerts = crossed(account, account.settled, now, self.seq)
        if account.id not in self.unwritten or account.id in self.changes.accounts:
            self._touch((account,))
        for alert in alerts:
            mark_alerted(account, alert)
        self.changes.alerts.extend(alerts)

    def _repeat(self, operation: str, content: str) -> str | None:
        """Return `None` for a new operation key, "" for a repeat, else the other first content."""
        first = next((c for k, c in self.changes.operations if k == operation), None)
        if first is None:
            first = self._rows.operation(operation)
        return "" if first == content else first


def _content(op: Extend) -> str:
    counts = "".join(f" {unit}={number}" for unit, number in op.amounts.counts)
    return f"{op.key} {op.amounts.usd} {op.amounts.calls} {op.amounts.tokens}{counts}"
