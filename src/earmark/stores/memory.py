"""The memory store: exact for threads and tasks of one process, gone with it.

For tests and for budgets that need not outlive the process.
"""

import inspect
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from msgspec.structs import replace

from earmark.budget.budget import Budget
from earmark.budget.fields import BudgetKind
from earmark.budget.path import is_within
from earmark.budget.window import Interval
from earmark.clock import END_OF_TIME
from earmark.errors import StoreUnavailable
from earmark.ledger.books import Books
from earmark.ledger.changes import Changes
from earmark.ledger.counting import is_counted
from earmark.ledger.owner_process import OwnerProcess
from earmark.ledger.preview import preview
from earmark.ledger.store import Filter, PreviewOptions
from earmark.ledger.values import (
    Account,
    Alert,
    Amounts,
    Decision,
    Entry,
    Operation,
    Refused,
    Reservation,
)
from earmark.stores.memory_snapshot import MemorySnapshot
from earmark.stores.tables import write_also, writes_also

if TYPE_CHECKING:
    from earmark.stores.tables_memory import MemoryTables


class MemoryStore:
    """Dicts under one lock.

    A thread may be interrupted (Ctrl-C, an exception of a signal handler) at any line: the batch is
    then done in whole or not at all, and the next call works. Committed is what `_redo` was set to:
    writing it to the rows may be repeated, and whoever finds it there does so before anything else.
    The working set of an interrupted call is read anew.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows = _MemoryRows()
        self._books = Books(self._rows)
        self._redo: _Redo | None = None
        """A committed batch that may not be in all of the rows yet."""
        self._unfinished = False
        """Whether the working set is in use, or its use was interrupted; changed with `_lock`."""
        self._process = OwnerProcess()
        self._closed = False
        self._tables: MemoryTables | None = None

    @property
    def name(self) -> str:
        """The store's URL."""
        return "memory:"

    @property
    def is_local(self) -> bool:
        """Yes: it is memory."""
        return True

    @property
    def url(self) -> str:
        """The store's URL; it opens another store, as this one is nowhere but here."""
        return self.name

    def open_tables(self) -> "MemoryTables":
        """Return the tables beside the ledger, always the same; they last as long as the store."""
        with self._lock:
            if self._tables is None:
                # Only those who use them have the library loaded.
                from earmark.stores.tables_memory import MemoryTables  # noqa: PLC0415

                self._tables = MemoryTables()
            return self._tables

    @property
    def is_in_transaction(self) -> bool:
        """Whether the calling thread writes to the tables; `apply` finds out by itself if here."""
        return self._tables is not None and self._tables.is_in_transaction

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Decide and keep *batch* in order, all or nothing of it; nothing is durable.

        Raises:
            StoreUnavailable: Called by a signal handler, a finaliser, an `also` or a write to the
                tables in the middle of another call of the same thread.
        """
        if self._closed or not self._process.is_this:
            self._check_open()
        if self._tables is not None and self._tables.is_in_transaction:
            return self._refuse_nested(batch)
        if not writes_also(batch):
            return self._apply(batch, now)
        # In this order everywhere: who writes to the tables may read the ledger meanwhile.
        tables = self.open_tables()
        with tables.lock:
            tables.writing_thread = threading.get_ident()
            with tables.transaction_lock:
                return self._apply(batch, now, also=True)

    def _apply(self, batch: Sequence[Operation], now: int, *, also: bool = False) -> list[Decision]:
        with self._lock:
            before, self._unfinished = self._unfinished, True
            if before and not self._recovered():
                return self._refuse_nested(batch)
            books, rows = self._books, self._rows
            if now < rows.last_at:  # noqa: PLR1730 - a call costs more than the comparison
                now = rows.last_at
            if now >= rows.next_due:
                books.presume(rows.due(now), now)
            apply = books.apply
            decisions = [apply(operation, now) for operation in batch]
            if also:
                self._commit_with_tables(batch, decisions, now)
            else:
                self._commit(now)
            self._unfinished = False
            return decisions

    def _commit(self, now: int) -> None:
        changes, unwritten = self._books.changes, self._books.unwritten
        if changes.entries or changes.operations:
            # From here on it is committed.
            self._redo = (now, changes, unwritten)
            self._rows.write(now, changes, unwritten)
            self._redo = None
            self._books.written()

    def _commit_with_tables(
        self, batch: Sequence[Operation], decisions: Sequence[Decision], now: int
    ) -> None:
        """Commit the books and what is written beside them; interrupted between, only the books.

        Asked again under its key, an operation is known then, and writes beside the books anew.
        """
        transaction = _TablesTransaction(self)
        try:
            write_also(batch, decisions, transaction)
            self._commit(now)
            transaction.end(keep=True)
        except BaseException:
            transaction.end(keep=False)
            raise

    def _write(self) -> None:
        """Write what is committed to the rows; the caller has the lock, or is alone."""
        redo = self._redo
        if redo is not None:
            self._rows.write(*redo)
            self._redo = None

    def _recovered(self) -> bool:
        """Make the working set of an interrupted call ready; false in the middle of a call."""
        if self._is_nested():
            return False
        # Finish what the call committed, and forget what it did not.
        self._write()
        self._books.forget()
        self._books.seq = len(self._rows.entries)
        # Those whose deadline has passed may not be presumed: they are looked for again.
        self._rows.next_due = 0
        return True

    def _is_nested(self) -> bool:
        """Return whether this thread uses the working set twice: a flag may be an interrupt's."""
        users = (MemoryStore._apply.__code__, MemoryStore.accounts.__code__)
        uses, frame = 0, inspect.currentframe()
        while frame is not None:
            uses += frame.f_code in users and frame.f_locals.get("self") is self
            frame = frame.f_back
        return uses > 1

    def _refuse_nested(self, batch: Sequence[Operation]) -> list[Decision]:
        if not batch:
            # What is past its deadline is presumed by the next call.
            return []
        detail = "this thread is in the middle of a call: call from another thread"
        raise StoreUnavailable(store=self.name, detail=detail)

    def watch(self, trees: Collection[str], seen: int, patience_s: float) -> int:
        """Return the number of the last entry, sooner or later: nobody else commits here."""
        del trees
        if self._last() == seen:
            threading.Event().wait(patience_s)
        return self._last()

    def heads(self) -> Mapping[str, int]:
        """Return the number of the last entry: one order holds for all."""
        self._check_open()
        return {"": self._last()}

    def latest(self) -> int:
        """Return the instant of the last entry; 0 without one."""
        self._check_open()
        with self._lock:
            return self._last_at()

    def accounts(self, path: str, now: int) -> tuple[Account, ...]:
        """Return the accounts above *path*, leaf first, in the intervals that contain *now*."""
        self._check_open()
        with self._lock:
            now = max(now, self._last_at())
            before, self._unfinished = self._unfinished, True
            if before and not self._recovered():
                return Books(self._rows).accounts_of(path, now)
            found = self._books.accounts_of(path, now)
            self._unfinished = False
            return found

    def preview(
        self, path: str, amounts: Sequence[Amounts], now: int, **how: Unpack[PreviewOptions]
    ) -> list[Refused | None]:
        """Return why a reserve of each of *amounts* would be refused; see `Store`."""
        self._check_open()
        with self._lock:
            now, rows = max(now, self._last_at()), self._rows
            due, seq = rows.overdue(now), len(rows.entries)
            return preview(rows, path, amounts, due=due, now=now, seq=seq, **how)

    def budget(self, path: str) -> Budget | None:
        """Return the budget at exactly *path*."""
        self._check_open()
        with self._lock:
            self._write()
            return self._rows.budgets.get(path)

    def budgets(self, prefix: str | None, kind: BudgetKind | None = None) -> list[Budget]:
        """Return the budgets at or below *prefix*, by path; those of one *kind*, if given."""
        self._check_open()
        with self._lock:
            self._write()
            found = sorted(self._rows.budgets.items())
        return [
            budget
            for path, budget in found
            if (prefix is None or is_within(path, prefix)) and kind in {None, budget.kind}
        ]

    def reservation(self, key: str) -> Reservation | None:
        """Return what *key* opened."""
        self._check_open()
        with self._lock:
            self._write()
            return self._rows.reservations.get(key)

    def reservations(self, query: Filter) -> list[Reservation]:
        """Return matching reservations in the order they were opened."""
        self._check_open()
        with self._lock:
            self._write()
            rows = list(self._rows.reservations.values())
        return [row for row in rows if _matches(row, query)][: query.most]

    def entries(self, query: Filter) -> list[Entry]:
        """Return matching entries in the order of commits."""
        self._check_open()
        with self._lock:
            self._write()
            rows = list(self._rows.entries)
        return [row for row in rows if _entry_matches(row, query)][: query.most]

    def alerts(self, query: Filter) -> list[Alert]:
        """Return the alerts of matching budgets in the order of commits."""
        self._check_open()
        with self._lock:
            self._write()
            rows = list(self._rows.alerts.values())
        matching = [row for row in rows if _within(row.budget, row.at, query)]
        return [row for row in matching if row.seq > query.after][: query.most]

    def snapshot(self) -> MemorySnapshot:
        """Return copies of everything as of now."""
        self._check_open()
        with self._lock:
            self._write()
            rows = self._rows
            return MemorySnapshot(
                list(rows.budgets.values()),
                list(rows.accounts.values()),
                list(rows.reservations.values()),
                list(rows.entries),
            )

    def close(self) -> None:
        """Refuse everything from now on; the rows go with the object."""
        self._closed = True

    def _check_open(self) -> None:
        self._process.check(self.name, closed=self._closed)

    def _last_at(self) -> int:
        self._write()
        return self._rows.last_at

    def _last(self) -> int:
        with self._lock:
            self._write()
            return len(self._rows.entries)


#: A committed batch: its instant, what it changed, and the accounts that were in no row before.
_Redo = tuple[int, Changes, set[int]]


class _MemoryRows:
    """What the store holds; also what `Books` reads."""

    def __init__(self) -> None:
        self.budgets: dict[str, Budget] = {}
        self.accounts: dict[int, Account] = {}
        self.account_ids: dict[tuple[str, str, str, int], int] = {}
        self.last_account = 0
        """The highest number of an account."""
        self.reservations: dict[str, Reservation] = {}
        self.entries: list[Entry] = []
        self.alerts: dict[tuple[int, int, int], Alert] = {}
        self.operations: dict[str, str] = {}
        self.open: dict[str, int] = {}
        self.last_at = 0
        self.next_due = END_OF_TIME

    def budget(self, path: str) -> Budget | None:
        return self.budgets.get(path)

    def account(self, number: int) -> Account:
        return self.accounts[number]

    def find_account(self, budget: str, unit: str, window: str, start: int) -> Account | None:
        number = self.account_ids.get((budget, unit, window, start))
        return None if number is None else self.accounts[number]

    def next_account(self) -> int:
        # Not how many there are: what a batch numbered and did not change was written nowhere.
        return self.last_account + 1

    def reservation(self, key: str) -> Reservation | None:
        return self.reservations.get(key)

    def operation(self, key: str) -> str | None:
        return self.operations.get(key)

    def entry_data(self, seq: int) -> str:
        return self.entries[seq - 1].data

    def counted(self, path: str, interval: Interval) -> list[Reservation]:
        return [row for row in self.reservations.values() if is_counted(row, path, interval)]

    def write(self, now: int, changes: Changes, unwritten: set[int]) -> None:
        """Write *changes* of a batch at *now*; interrupted at any line, it is repeated."""
        self.last_at = now
        for number in unwritten.intersection(changes.accounts) if unwritten else ():
            line = changes.accounts[number].line
            self.account_ids[line.budget, line.unit, line.window, line.start] = number
            self.last_account = max(self.last_account, number)
        for number, account in changes.accounts.items():
            # The working set goes on with its own.
            self.accounts[number] = replace(account)
        for key, reservation in changes.reservations.items():
            self.reservations[key] = reservation
            if reservation.state == "open":
                expires = self.open[key] = reservation.expires
                if expires < self.next_due:  # noqa: PLR1730 - as above
                    self.next_due = expires
            else:
                self.open.pop(key, None)
        if changes.entries and changes.entries[0].seq > len(self.entries):
            # In one step, and not again: they would be there twice.
            self.entries += changes.entries
        if changes.alerts or changes.budgets or changes.operations:
            self.keep_rare(changes)

    def keep_rare(self, changes: Changes) -> None:
        for alert in changes.alerts:
            self.alerts.setdefault((alert.account, alert.threshold, alert.limit), alert)
        self.budgets.update(changes.budgets)
        self.operations.update(changes.operations)

    def overdue(self, now: int) -> list[str]:
        """Return the open reservations whose deadline has passed."""
        if now < self.next_due:
            return []
        return [key for key, expires in self.open.items() if expires <= now]

    def due(self, now: int) -> list[str]:
        """Return those that are `overdue`, which are presumed now."""
        due = self.overdue(now)
        self.next_due = min((e for e in self.open.values() if e > now), default=END_OF_TIME)
        return due


class _TablesTransaction:
    """A transaction of the tables beside the books, which its first statement begins."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._tables: MemoryTables | None = None

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        if self._tables is None:
            self._tables = self._store.open_tables()
            self._tables.begin()
        return self._tables.run(sql, *values)

    def end(self, *, keep: bool) -> None:
        tables, self._tables = self._tables, None
        if tables is not None:
            tables.end(keep=keep)


def _within(budget: str, at: int, query: Filter) -> bool:
    return (
        (query.budget is None or is_within(budget, query.budget))
        and (query.since is None or at >= query.since)
        and (query.until is None or at < query.until)
    )


def _matches(row: Reservation, query: Filter) -> bool:
    return (
        _within(row.budget, row.opened, query)
        and (query.key is None or row.key == query.key)
        and (query.keys is None or row.key in query.keys)
        and (query.prefix is None or row.key.startswith(query.prefix))
        and (query.state is None or row.state == query.state)
        and row.seq > query.after
    )


def _entry_matches(row: Entry, query: Filter) -> bool:
    return (
        _within(row.budget, row.at, query)
        and (query.key is None or row.key == query.key)
        and (query.prefix is None or row.key.startswith(query.prefix))
        and row.seq > query.after
    )
