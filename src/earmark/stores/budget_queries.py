"""Budgets in pages, with or without the thousands that runs opened, and their balances."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from earmark.budget.budget import Budget
from earmark.budget.path import parse_path
from earmark.errors import NotFound
from earmark.ledger.answers import Balance, balance
from earmark.ledger.books import Books
from earmark.ledger.rows import LedgerRows
from earmark.ledger.store import Filter
from earmark.ledger.sync_ledger import SyncLedger
from earmark.ledger.values import Account
from earmark.stores.rows import (
    ACCOUNT_COLUMNS,
    OF_BUDGETS,
    account_of,
    budget_of,
    select_budgets,
)
from earmark.stores.tables import Rows, Tables
from earmark.stores.totals import summed_parts, whole_sum

_IN_MEMORY: Final = "memory:"
_LAST: Final = "SELECT at FROM {schema}.entry ORDER BY seq DESC LIMIT 1"
_ACCOUNTS: Final = f"SELECT {ACCOUNT_COLUMNS} FROM {{schema}}.account WHERE "
#: The index of the changes of budgets alone finds it.
_FIRST: Final = f"SELECT min(seq) FROM {{schema}}.entry WHERE {OF_BUDGETS} AND budget = ?"
_AT_PLACE: Final = '(budget = ? AND unit = ? AND "window" = ? AND start = ?)'
#: Terms of one statement: each is a look into the index, and databases bound how deep they nest.
_PLACES_AT_ONCE: Final = 200


@dataclass(slots=True)
class CallSums:
    """What several calls came to; amounts are nano-USD."""

    calls: int = 0
    settled: int = 0
    """Presumed cost included."""
    held: int = 0
    """Of those that are under way."""

    def add(self, calls: int, settled: int, held: int) -> None:
        """Add what some more came to."""
        self.calls += calls
        self.settled += settled
        self.held += held


_CALL_SUMS: Final = (
    "SELECT budget, count(*), "
    + summed_parts("CASE WHEN state = 'settled' OR state = 'presumed' THEN actual_usd ELSE 0 END")
    + ", "
    + summed_parts("CASE WHEN state = 'open' THEN usd ELSE 0 END")
    + " FROM {schema}.reservation WHERE budget IN ("
)


class BudgetQueries:
    """What is asked of the budgets of one store; any thread may call."""

    def __init__(self, ledger: SyncLedger, tables: Tables) -> None:
        """Ask the books of *ledger*, by the connections of *tables* beside them."""
        self._ledger = ledger
        self._tables = tables

    def find(
        self, *, prefix: str = "", after: str = "", most: int = 1_000_000, runs: bool = False
    ) -> list[Budget]:
        """Return a page of the budgets at or below *prefix*, by path.

        Args:
            prefix: Only at or below this path; all where empty.
            after: The path of the last budget of the page before.
            most: How many at most.
            runs: Also those that runs and sessions opened for themselves.

        Raises:
            InvalidPath: *prefix* is no path.
        """
        prefix = parse_path(prefix) if prefix else ""
        kind = None if runs else "budget"
        if self._ledger.store.url == _IN_MEMORY:
            found = self._ledger.budgets(prefix or None, kind=kind)
            return [each for each in found if each.path > after][:most]
        sql, values = select_budgets("{schema}.", prefix, kind, after=after, most=most)
        return self._tables.read(lambda rows: list(map(budget_of, rows.run(sql, *values))))

    def sessions(self, *, after: str = "", most: int) -> list[Budget]:
        """Return a page of the budgets that sessions opened for themselves, by path."""
        if self._ledger.store.url == _IN_MEMORY:
            found = self._ledger.budgets(kind="session")
            return [each for each in found if each.path > after][:most]
        sql, values = select_budgets("{schema}.", kind="session", after=after, most=most)
        return self._tables.read(lambda rows: list(map(budget_of, rows.run(sql, *values))))

    def call_sums(self, paths: Sequence[str]) -> dict[str, CallSums]:
        """Return what the calls that each of *paths* paid came to, one query for all of them."""
        found = {path: CallSums() for path in paths}
        if not found:
            return found
        if self._ledger.store.url == _IN_MEMORY:
            for each in self._ledger.store.reservations(Filter()):
                if each.budget in found:
                    settled = 0 if each.settled is None else each.settled.in_nanos
                    held = each.amount.in_nanos if each.state == "open" else 0
                    found[each.budget].add(1, settled, held)
            return found
        sql = _CALL_SUMS + ", ".join("?" * len(found)) + ") GROUP BY budget"
        for budget, calls, *parts in self._tables.read(lambda rows: list(rows.run(sql, *found))):
            found[budget].add(calls, whole_sum(parts[:2]), whole_sum(parts[2:]))
        return found

    def number_before(self, path: str) -> int:
        """Return the number before that of the first entry of the budget at *path*; 0 of none."""
        if self._ledger.store.url == _IN_MEMORY:
            changes = (
                e for e in self._ledger.store.entries(Filter(budget=path)) if e.budget == path
            )
            return next((each.seq - 1 for each in changes), 0)
        ((found,),) = self._tables.read(lambda rows: rows.run(_FIRST, path))
        return 0 if found is None else found - 1

    def get(self, path: str) -> Budget:
        """Return the budget at exactly *path*.

        Raises:
            NotFound: None stands there.
            InvalidPath: *path* is none.
        """
        found = self._ledger.store.budget(parse_path(path))
        if found is None:
            raise NotFound(kind="budget", name=path, hint="an admin's PUT of this path makes it")
        return found

    def balances(self, budget: Budget) -> list[Balance]:
        """Return each limit of *budget* in its current interval."""
        now, observed = self._ledger.instant(), bool(self._observed([budget]))
        accounts = self._ledger.store.accounts(budget.path, now)
        return _own(budget, accounts, now, observed=observed)

    def _observed(self, budgets: Sequence[Budget]) -> set[str]:
        """Return the roots above *budgets* whose trees are observed."""
        at = self._ledger.store.budget
        roots = {each.path.partition("/")[0] for each in budgets}
        return {root for root in roots if (found := at(root)) is not None and found.observed}

    def balances_of_all(self, budgets: Sequence[Budget]) -> list[list[Balance]]:
        """Return for each of *budgets* what `balances` does, with a few queries for all of them."""
        if self._ledger.store.url == _IN_MEMORY:
            return [self.balances(each) for each in budgets]
        now = self._ledger.instant()
        observed = self._observed(budgets)
        return self._tables.read(lambda rows: _read_balances(rows, budgets, now, observed))


def _read_balances(
    rows: Rows, budgets: Sequence[Budget], now: int, observed: set[str]
) -> list[list[Balance]]:
    # As the stores have it: time in the books never runs back.
    moment = max([now, *(at for (at,) in rows.run(_LAST))])
    # To find accounts, `Books` asks for no other rows than these.
    books = Books(cast("LedgerRows", _Fetched(rows, budgets, moment)))
    return [
        _own(
            each,
            books.accounts_of(each.path, moment),
            now,
            observed=each.path.partition("/")[0] in observed,
        )
        for each in budgets
    ]


def _own(budget: Budget, accounts: Iterable[Account], now: int, *, observed: bool) -> list[Balance]:
    paused = budget.is_paused(now) is not None
    return [
        balance(each, paused=paused, observed=observed)
        for each in accounts
        if each.line.budget == budget.path
    ]


class _Fetched:
    """The rows of some budgets and of their accounts in one interval each, read at once.

    It knows no other budget, so that nothing is read of those above them.
    """

    def __init__(self, rows: Rows, budgets: Sequence[Budget], now: int) -> None:
        self._budgets = {each.path: each for each in budgets}
        account_keys = [
            (each.path, limit.unit, str(limit.window), start)
            for each in budgets
            for limit in each.limits
            for start in (limit.window.interval(now, each.timezone).start,)
        ]
        self._accounts: dict[tuple[str, str, str, int], Account] = {}
        for first in range(0, len(account_keys), _PLACES_AT_ONCE):
            some = account_keys[first : first + _PLACES_AT_ONCE]
            sql = _ACCOUNTS + " OR ".join([_AT_PLACE] * len(some))
            for row in rows.run(sql, *(value for account_key in some for value in account_key)):
                line = (found := account_of(row)).line
                self._accounts[line.budget, line.unit, line.window, line.start] = found

    def budget(self, path: str) -> Budget | None:
        """Return the budget at *path*, if it is one of them."""
        return self._budgets.get(path)

    def find_account(self, budget: str, unit: str, window: str, start: int) -> Account | None:
        """Return an account that was read; one that was never opened is not there."""
        return self._accounts.get((budget, unit, window, start))

    def next_account(self) -> int:
        """Return a number above those of all accounts: none of these is ever written."""
        return 1 << 62
