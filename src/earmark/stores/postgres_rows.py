"""Rows of the PostgreSQL store: the statements that read them."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from psycopg import errors

from earmark.budget.budget import Budget
from earmark.budget.fields import BudgetKind
from earmark.budget.units import UNITS
from earmark.budget.window import Interval
from earmark.clock import END_OF_TIME
from earmark.ledger.store import Filter
from earmark.ledger.values import Account, Alert, Entry, Reservation
from earmark.stores.postgres_batch import tree_of
from earmark.stores.postgres_session import Connection
from earmark.stores.rows import (
    ACCOUNT_COLUMNS,
    ALERT_COLUMNS,
    BUDGET_COLUMNS,
    COUNTED,
    DETAILS,
    ENTRY_COLUMNS,
    RESERVATION_COLUMNS,
    account_of,
    budget_of,
    entry,
    in_state,
    is_of_many,
    of_key,
    reservation,
    select,
    select_budgets,
    select_opened,
)
from earmark.stores.tables import Row

#: Account numbers are taken from the server so many at a time.
_NUMBERS_AT_ONCE: Final = 32
#: Numbers for accounts that only a reader imagines; real ones never get there.
_IMAGINED: Final = 1 << 62

_TREE: Final = "name, last, at, next_due"

TreeRow = tuple[str, int, int, int]
"""A tree's name, the number and instant of its last entry, and its next deadline."""


class PostgresRows:
    """What one connection can read; `earmark.ledger.rows.LedgerRows` and the lists of the store.

    What `fetch` read answers the calls that follow, until `fetched_nothing`.
    """

    def __init__(self, schema: str) -> None:
        self.connection: Connection | None = None
        """Where to read; set before each use, for a lost connection is replaced."""
        self._schema = schema
        self._budgets: dict[str, Budget | None] = {}
        self._accounts: dict[tuple[str, str, str, int], Account] = {}
        self._fetched: set[str] = set()
        self._reservations: dict[str, Reservation | None] = {}
        self._numbers: list[int] = []
        self.imagines = False
        """Whether new accounts are only for showing, so that they take no real number."""

    def all(self, statement: str, values: Collection[object] = ()) -> list[Row]:
        """Return the rows of *statement*, in which `{s}` is the schema and `?` a value."""
        assert self.connection is not None, "a reader has a connection"
        query = statement.replace("{s}", f'"{self._schema}"').replace("?", "%s")
        return self.connection.execute(query.encode(), tuple(values)).fetchall()

    # For the fold ---------------------------------------------------------------------------------

    def fetch(self, paths: Collection[str], keys: Collection[str], now: int) -> None:
        """Read at once what is needed of the budgets *paths* and of the reservations *keys*."""
        if paths:
            self._budgets.update(dict.fromkeys(paths))
            path_list = list(paths)
            for row in self.all(f"{_BUDGETS} = ANY(?)", (path_list,)):
                found = budget_of(row)
                self._budgets[found.path] = found
            # What a limit of another unit left behind is nothing to this program: were that limit
            # still there, its budget would have been refused above.
            where = 'budget = ANY(?) AND unit = ANY(?) AND start <= ? AND "end" > ?'
            for account in self._accounts_where(where, (path_list, list(UNITS), now, now)):
                line = account.line
                self._accounts[line.budget, line.unit, line.window, line.start] = account
            self._fetched.update(paths)
        if keys:
            self._reservations.update(dict.fromkeys(keys))
            for found in self._reservations_where('"key" = ANY(?)', (list(keys),)):
                self._reservations[found.key] = found

    def assume_new(self, keys: Iterable[str]) -> None:
        """Take it that *keys* opened nothing yet; the writing finds out if that is wrong."""
        self._reservations = dict.fromkeys(keys)

    def check_locked(self, trees: Collection[str], keys: Collection[str]) -> None:
        """Refuse to go on if `fetch` found a budget, or one of *keys*, outside the locked *trees*.

        Raises:
            SerializationFailure: Done again from the beginning, the batch locks that tree, too.
        """
        found = {path for path, budget in self._budgets.items() if budget is not None}
        rows = [self._reservations[key] for key in keys]
        found.update(row.budget for row in rows if row is not None)
        if any(tree_of(path) not in trees for path in found):
            raise errors.SerializationFailure("others wrote to a tree that was not locked")

    def fetched_nothing(self) -> None:
        """Forget what `fetch` read."""
        self._budgets, self._accounts, self._reservations = {}, {}, {}
        self._fetched.clear()

    def budget(self, path: str) -> Budget | None:
        """Return the budget at exactly *path*."""
        if path in self._budgets:
            return self._budgets[path]
        found = self.all(f"{_BUDGETS} = ?", (path,))
        return budget_of(found[0]) if found else None

    def account(self, number: int) -> Account:
        """Return the account of that number."""
        (found,) = self._accounts_where("id = ?", (number,))
        return found

    def find_account(self, budget: str, unit: str, window: str, start: int) -> Account | None:
        """Return the account of that limit and interval."""
        account_key = (budget, unit, window, start)
        fetched = self._accounts.get(account_key)
        if fetched is not None or budget in self._fetched:
            return fetched
        where = 'budget = ? AND unit = ? AND "window" = ? AND start = ?'
        return next(self._accounts_where(where, account_key), None)

    def next_account(self) -> int:
        """Return a number that no other account has; ascending."""
        if self.imagines:
            return _IMAGINED
        if not self._numbers:
            rows = self.all(
                "SELECT nextval('{s}.account_id') FROM generate_series(1, ?)", (_NUMBERS_AT_ONCE,)
            )
            self._numbers = sorted((row[0] for row in rows), reverse=True)
        return self._numbers.pop()

    def reservation(self, key: str) -> Reservation | None:
        """Return what *key* opened."""
        if key in self._reservations:
            return self._reservations[key]
        return next(self._reservations_where('"key" = ?', (key,)), None)

    def operation(self, key: str) -> str | None:
        """Return the content of the operation that was accepted under *key*."""
        found = self.all('SELECT content FROM {s}.operation WHERE "key" = ?', (key,))
        return found[0][0] if found else None

    def entry_data(self, seq: int) -> str:
        """Return the `data` of the entry of that number."""
        ((data,),) = self.all("SELECT data FROM {s}.entry WHERE seq = ?", (seq,))
        return data

    def counted(self, path: str, interval: Interval) -> Iterator[Reservation]:
        """Yield the reservations for which `counting.is_counted` says so."""
        values = (path, f"{path}/", f"{path}0", interval.start, interval.end)
        return self._reservations_where(COUNTED, values)

    def budgets_of(self, keys: Collection[str]) -> set[str]:
        """Return the budgets that *keys* were reserved on."""
        if not keys:
            return set()
        sql = 'SELECT DISTINCT budget FROM {s}.reservation WHERE "key" = ANY(?)'
        return {row[0] for row in self.all(sql, (list(keys),))}

    # Trees ----------------------------------------------------------------------------------------

    def trees(self, names: Collection[str]) -> list[TreeRow]:
        """Return the trees of *names* that exist."""
        return self._trees("WHERE name = ANY(?)", (list(names),))

    def lock_trees(self, names: Collection[str]) -> list[TreeRow]:
        """Lock the trees of *names* that exist, in the one order that everybody locks in."""
        where = "WHERE name = ANY(?) ORDER BY name FOR NO KEY UPDATE"
        return self._trees(where, (list(names),))

    def due_trees(self, now: int) -> list[TreeRow]:
        """Return the trees that may have a reservation past its deadline."""
        return self._trees("WHERE next_due <= ?", (now,))

    def _trees(self, clause: str, values: Collection[object]) -> list[TreeRow]:
        rows = self.all(f"SELECT {_TREE} FROM {{s}}.tree {clause}", values)
        return [(name, last, at, due) for name, last, at, due in rows]

    def add_tree(self, name: str) -> None:
        """Make the tree *name* if it does not exist."""
        self.all(_ADD_TREE, (name, END_OF_TIME))

    def due(self, tree: str, now: int, most: int) -> list[str]:
        """Return the keys of open reservations of *tree* past their deadline, the oldest first."""
        sql = f'SELECT "key" FROM {{s}}.reservation WHERE {_OPEN_IN} AND expires <= ?'
        return [row[0] for row in self.all(f"{sql} ORDER BY expires LIMIT ?", (tree, now, most))]

    def next_due(self, tree: str, now: int) -> int:
        """Return the earliest deadline after *now* of the open reservations of *tree*."""
        sql = f"SELECT min(expires) FROM {{s}}.reservation WHERE {_OPEN_IN} AND expires > ?"
        ((found,),) = self.all(sql, (tree, now))
        return END_OF_TIME if found is None else found

    def heads(self) -> dict[str, int]:
        """Return the number of the last entry of each tree."""
        return dict(self.all("SELECT name, last FROM {s}.tree"))

    def head(self) -> tuple[int, int]:
        """Return the highest number and the latest instant of any entry; zeros without one."""
        ((last, at),) = self.all(
            "SELECT coalesce(max(last), 0), coalesce(max(at), 0) FROM {s}.tree"
        )
        return last, at

    def last_number(self) -> int:
        """Return the highest number that any entry was given, committed or not."""
        ((last,),) = self.all("SELECT last_value FROM {s}.entry_seq")
        return last

    def writers(self) -> set[str]:
        """Return the transactions that may have taken numbers and are not finished."""
        return {transaction for (transaction,) in self.all(_WRITERS)}

    # Lists ----------------------------------------------------------------------------------------

    def budgets(self, prefix: str | None, kind: BudgetKind | None = None) -> list[Budget]:
        """Return the budgets at or below *prefix*, by path; those of one *kind*, if given."""
        return list(map(budget_of, self.all(*select_budgets("{s}.", prefix or "", kind))))

    def reservations(self, query: Filter) -> Iterator[Reservation]:
        """Yield matching reservations in the order they were opened."""
        if is_of_many(query):
            return map(reservation, self.all(*select_opened(_RESERVATION_READ, "{s}.", query)))
        keys = None if query.keys is None else [*query.keys]
        tests = [('"key" = ?', query.key), ('"key" = ANY(?)', keys)]
        state = in_state(query.state)
        sql = select(_RESERVATION_READ, "{s}.reservation", "opened", "seq", tests, query, state)
        return map(reservation, self.all(*sql))

    def entries(self, query: Filter) -> Iterator[Entry]:
        """Yield matching entries in the order of commits."""
        tests = [(of_key("{s}."), query.key)]
        return map(entry, self.all(*select(ENTRY_COLUMNS, "{s}.entry", "at", "seq", tests, query)))

    def alerts(self, query: Filter) -> Iterator[Alert]:
        """Yield the alerts of matching budgets in the order of commits."""
        sql = select(ALERT_COLUMNS, "{s}.alert", "at", "seq, threshold", [], query)
        return (Alert(*row) for row in self.all(*sql))

    def _accounts_where(self, where: str, values: Collection[object]) -> Iterator[Account]:
        rows = self.all(f"SELECT {ACCOUNT_COLUMNS} FROM {{s}}.account WHERE {where}", values)
        return map(account_of, rows)

    def _reservations_where(self, where: str, values: Collection[object]) -> Iterator[Reservation]:
        sql = f"SELECT {_RESERVATION_READ} FROM {{s}}.reservation WHERE {where}"
        return map(reservation, self.all(sql, values))


#: Who takes numbers has locked rows of this table first, and keeps it until all is to be read.
_WRITERS: Final = (
    "SELECT DISTINCT virtualtransaction FROM pg_locks"
    " WHERE relation = CAST('{s}.tree' AS regclass) AND locktype = 'relation'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (mode = 'RowShareLock' OR mode = 'RowExclusiveLock')"
)
_BUDGETS: Final = f"SELECT {BUDGET_COLUMNS} FROM {{s}}.budget WHERE path"
_RESERVATION_READ: Final = RESERVATION_COLUMNS + DETAILS.format(schema="{s}.")
_OPEN_IN: Final = "state = 'open' AND split_part(budget, '/', 1) = ?"
_ADD_TREE: Final = (
    "INSERT INTO {s}.tree (name, last, entries, at, next_due, budgets_at, waited_until)"
    " VALUES (?, 0, 0, 0, ?, 0, 0) ON CONFLICT DO NOTHING RETURNING name"
)
