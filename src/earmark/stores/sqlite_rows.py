"""Rows of the SQLite store: their values, and the statements that read and write them."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import json
from collections.abc import Iterator
from typing import Final

import apsw

from earmark.budget.budget import Budget
from earmark.budget.fields import BudgetKind
from earmark.budget.window import Interval
from earmark.clock import END_OF_TIME
from earmark.ledger.changes import Changes
from earmark.ledger.store import Filter
from earmark.ledger.values import Account, Alert, Entry, Reservation
from earmark.stores.rows import (
    ACCOUNT_COLUMNS,
    ALERT_COLUMNS,
    BUDGET_COLUMNS,
    COUNTED,
    DETAILS,
    ENTRY_COLUMNS,
    RESERVATION_COLUMNS,
    account_of,
    account_row,
    alert_row,
    asked,
    budget_of,
    budget_row,
    counts_of,
    entry,
    entry_row,
    in_state,
    is_of_many,
    joined_row,
    of_key,
    reservation,
    reservation_row,
    select,
    select_budgets,
    select_opened,
)
from earmark.stores.tables import Row

# Reading.
RESERVATION_READ: Final = RESERVATION_COLUMNS + DETAILS.format(schema="")
BUDGET: Final = f"SELECT {BUDGET_COLUMNS} FROM budget WHERE path = ?"
ACCOUNT: Final = f"SELECT {ACCOUNT_COLUMNS} FROM account WHERE id = ?"
ACCOUNTS: Final = f"SELECT {ACCOUNT_COLUMNS} FROM account ORDER BY id"
FIND_ACCOUNT: Final = (
    f"SELECT {ACCOUNT_COLUMNS} FROM account"
    ' WHERE budget = ? AND unit = ? AND "window" = ? AND start = ?'
)
LAST_ACCOUNT: Final = "SELECT coalesce(max(id), 0) FROM account"
RESERVATION: Final = f'SELECT {RESERVATION_READ} FROM reservation WHERE "key" = ?'
# One statement for a batch's keys, of any number: a list of placeholders would be compiled anew.
_AMONG: Final = '"key" IN (SELECT value FROM json_each(?))'
RESERVATIONS_OF: Final = f"SELECT {RESERVATION_READ} FROM reservation WHERE {_AMONG}"
HIGHEST: Final = 'SELECT max("key") FROM reservation'
COUNTED_ROWS: Final = f"SELECT {RESERVATION_READ} FROM reservation WHERE {COUNTED}"
OPERATION: Final = 'SELECT content FROM operation WHERE "key" = ?'
ENTRY_DATA: Final = "SELECT data FROM entry WHERE seq = ?"
# Copied from PostgreSQL, the last entry need not be the latest.
LAST_ENTRY: Final = (
    "SELECT seq, max(at, (SELECT coalesce(max(at), 0) FROM copied)) FROM entry"
    " ORDER BY seq DESC LIMIT 1"
)
DUE: Final = (
    "SELECT \"key\" FROM reservation WHERE state = 'open' AND expires <= ? ORDER BY expires LIMIT ?"
)
# Commits happen at the last entry's instant where the clock is behind it.
IS_DUE: Final = (
    "SELECT EXISTS (SELECT 1 FROM reservation WHERE state = 'open' AND expires <= max(?,"
    " coalesce((SELECT at FROM entry ORDER BY seq DESC LIMIT 1), 0),"
    " coalesce((SELECT max(at) FROM copied), 0)))"
)
NEXT_DUE: Final = "SELECT min(expires) FROM reservation WHERE state = 'open' AND expires > ?"

# Writing. Columns are named: a newer program's `pre` migration may have added others.
PUT_BUDGET: Final = f"INSERT OR REPLACE INTO budget ({BUDGET_COLUMNS}) VALUES (?, ?, ?)"
ADD_ACCOUNT: Final = (
    f"INSERT INTO account ({ACCOUNT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
SET_ACCOUNT: Final = (
    'UPDATE account SET "end" = ?, "limit" = ?, settled = ?, held = ?, alerted = ?, alerted_of = ?'
    " WHERE id = ?"
)
ADD_RESERVATION: Final = (
    f"INSERT INTO reservation ({RESERVATION_COLUMNS})"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
CLOSE_RESERVATION: Final = (
    "UPDATE reservation SET state = ?, closed = ?, actual_usd = ?, actual_calls = ?,"
    ' actual_tokens = ?, actual_counts = ?, last = ? WHERE "key" = ?'
)
GROW_RESERVATION: Final = (
    "UPDATE reservation SET usd = ?, calls = ?, tokens = ?, counts = ?, asked = ?, expires = ?,"
    ' last = ? WHERE "key" = ?'
)
JOIN_ACCOUNTS: Final = 'UPDATE reservation SET accounts = ?, parts = ? WHERE "key" = ?'
ADD_ENTRY: Final = f"INSERT INTO entry ({ENTRY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_ALERT: Final = (
    f"INSERT OR IGNORE INTO alert ({ALERT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
ADD_OPERATION: Final = 'INSERT INTO operation ("key", content) VALUES (?, ?)'


class SqliteRows:
    """What one connection can read; `earmark.ledger.rows.LedgerRows` and the lists of the store."""

    def __init__(self, connection: apsw.Connection) -> None:
        # A connection makes a new cursor for each statement; these two are for all.
        self._execute = connection.cursor().execute
        self._many = connection.cursor().executemany
        self._fetched: dict[str, Reservation | None] = {}
        self._highest: str | None = None

    def learn_highest(self) -> None:
        """Read the highest key: no key above it needs a look, as long as nobody else writes.

        Keys ascend by default, so that nearly every new one is known to be new without asking.
        """
        row = self._first(HIGHEST)
        self._highest = "" if row is None or row[0] is None else row[0]

    def _is_new(self, key: str) -> bool:
        # Both compare code points: Python's strings, and SQLite's BINARY collation of UTF-8.
        return self._highest is not None and key > self._highest

    def fetch(self, keys: list[str]) -> None:
        """Read the reservations of *keys* at once, for the `reservation` calls that follow."""
        self._fetched = dict.fromkeys(keys)
        perhaps = [key for key in keys if not self._is_new(key)]
        if perhaps:
            for row in self._execute(RESERVATIONS_OF, (json.dumps(perhaps),)):
                self._fetched[row[0]] = reservation(row)

    def fetched_nothing(self) -> None:
        """Forget what `fetch` read."""
        self._fetched = {}

    def reservation(self, key: str) -> Reservation | None:
        """Return what *key* opened."""
        try:
            return self._fetched[key]
        except KeyError:
            if self._is_new(key):
                return None
            row = self._first(RESERVATION, (key,))
            return None if row is None else reservation(row)

    def budget(self, path: str) -> Budget | None:
        """Return the budget at exactly *path*."""
        row = self._first(BUDGET, (path,))
        return None if row is None else budget_of(row)

    def budgets(self, prefix: str | None, kind: BudgetKind | None = None) -> list[Budget]:
        """Return the budgets at or below *prefix*, by path; those of one *kind*, if given."""
        sql, values = select_budgets("", prefix or "", kind)
        return list(map(budget_of, self._execute(sql, values)))

    def account(self, number: int) -> Account:
        """Return the account of that number."""
        row = self._first(ACCOUNT, (number,))
        assert row is not None, f"account {number} of a reservation is in the store"
        return account_of(row)

    def find_account(self, budget: str, unit: str, window: str, start: int) -> Account | None:
        """Return the account of that limit and interval."""
        row = self._first(FIND_ACCOUNT, (budget, unit, window, start))
        return None if row is None else account_of(row)

    def next_account(self) -> int:
        """Return a number above those of all accounts."""
        return self._one(LAST_ACCOUNT) + 1

    def operation(self, key: str) -> str | None:
        """Return the content of the operation that was accepted under *key*."""
        row = self._first(OPERATION, (key,))
        return None if row is None else row[0]

    def entry_data(self, seq: int) -> str:
        """Return the `data` of the entry of that number."""
        row = self._first(ENTRY_DATA, (seq,))
        assert row is not None, f"entry {seq} of a reservation is in the store"
        return row[0]

    def counted(self, path: str, interval: Interval) -> Iterator[Reservation]:
        """Yield the reservations for which `counting.is_counted` says so."""
        values = (path, f"{path}/", f"{path}0", interval.start, interval.end)
        return map(reservation, self._execute(COUNTED_ROWS, values))

    def head(self) -> tuple[int, int]:
        """Return the number and instant of the last entry; zeros without one."""
        row = self._first(LAST_ENTRY)
        return (0, 0) if row is None else (row[0], row[1])

    def due(self, now: int, most: int) -> list[str]:
        """Return the keys of open reservations whose deadline has passed, the oldest first."""
        return [row[0] for row in self._execute(DUE, (now, most))]

    def is_due(self, now: int) -> bool:
        """Return whether the deadline of an open reservation has passed, if one asked now."""
        return bool(self._one(IS_DUE, (now,)))

    def next_due(self, now: int) -> int:
        """Return the earliest deadline after *now* of the open reservations."""
        row = self._first(NEXT_DUE, (now,))
        return END_OF_TIME if row is None or row[0] is None else row[0]

    def reservations(self, query: Filter) -> Iterator[Reservation]:
        """Yield matching reservations in the order they were opened."""
        if is_of_many(query):
            sql, values = select_opened(RESERVATION_READ, "", query)
            return map(reservation, self._execute(sql, values))
        keys = None if query.keys is None else json.dumps([*query.keys])
        tests = [('"key" = ?', query.key), (_AMONG, keys)]
        state = in_state(query.state)
        sql, values = select(RESERVATION_READ, "reservation", "opened", "seq", tests, query, state)
        return map(reservation, self._execute(sql, values))

    def entries(self, query: Filter) -> Iterator[Entry]:
        """Yield matching entries in the order of commits."""
        tests = [(of_key(), query.key)]
        sql, values = select(ENTRY_COLUMNS, "entry", "at", "seq", tests, query)
        return map(entry, self._execute(sql, values))

    def alerts(self, query: Filter) -> Iterator[Alert]:
        """Yield the alerts of matching budgets in the order of commits."""
        sql, values = select(ALERT_COLUMNS, "alert", "at", "seq, threshold", [], query)
        return (Alert(*row) for row in self._execute(sql, values))

    def accounts(self) -> Iterator[Account]:
        """Yield every account."""
        return (account_of(row) for row in self._execute(ACCOUNTS))

    def write(self, changes: Changes, unwritten: set[int]) -> None:
        """Write each changed row once, in the order of its B-tree where that is known."""
        many = self._many
        accounts = changes.accounts.values()
        if unwritten:
            many(ADD_ACCOUNT, [account_row(a) for a in accounts if a.id in unwritten])
            accounts = [a for a in accounts if a.id not in unwritten]
        many(
            SET_ACCOUNT,
            [
                (a.line.end, a.line.limit, a.settled, a.held, a.alerted, a.alerted_of, a.line.id)
                for a in accounts
            ],
        )
        self._write_reservations(changes)
        many(ADD_ENTRY, map(entry_row, changes.entries))
        if changes.alerts:
            many(ADD_ALERT, [alert_row(a) for a in changes.alerts])
        if changes.budgets:
            many(PUT_BUDGET, map(budget_row, changes.budgets.values()))
        if changes.operations:
            many(ADD_OPERATION, changes.operations)

    def _write_reservations(self, changes: Changes) -> None:
        first, highest = changes.entries[0].seq if changes.entries else 0, self._highest
        fresh: list[Row] = []
        closed: list[Row] = []
        grown: list[Row] = []
        for r in changes.reservations.values():
            if r.seq >= first:
                fresh.append(reservation_row(r))
                if highest is not None and r.key > highest:
                    highest = r.key
            elif r.actual is not None:
                a, actual = r.actual, counts_of(r.actual)
                closed.append((r.state, r.closed, a.usd, a.calls, a.tokens, actual, r.last, r.key))
            if r.seq < first and r.asked is not r.hold:
                h, held = r.hold, counts_of(r.hold)
                grown.append((h.usd, h.calls, h.tokens, held, asked(r), r.expires, r.last, r.key))
        many = self._many
        if fresh:
            many(ADD_RESERVATION, fresh)
            self._highest = highest
        if grown:
            many(GROW_RESERVATION, grown)
        if closed:
            many(CLOSE_RESERVATION, closed)
        if changes.joined:
            many(JOIN_ACCOUNTS, [joined_row(changes.reservations[key]) for key in changes.joined])

    def _first(self, sql: str, values: Row = ()) -> Row | None:
        # Read to its end: a statement left half read keeps the transaction's view of the file, and
        # the next BEGIN IMMEDIATE fails for good once another process has written.
        found = self._execute(sql, values).fetchall()
        return found[0] if found else None

    def _one(self, sql: str, values: Row = ()) -> int:
        row = self._first(sql, values)
        assert row is not None, "an aggregate answers with one row"
        return row[0]
