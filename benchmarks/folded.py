"""What SQLite can do with the ledger's rows: commits of whole batches by one thread, no ledger."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import apsw

from benchmarks.load import COST, HOLD, LEAF, make_budgets
from earmark.clock import NANOS_PER_SECOND, SystemClock
from earmark.ids import new_key
from earmark.stores.open import open_ledger

#: So many operations are made ready before the clock runs.
_AT_ONCE: Final = 4096
_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA cache_size = -65536",
)

Row = tuple[Any, ...]
Named = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The rows that one reserve and one settle of the ledger leave behind, by column."""

    opened: Named
    closed: Named
    """What the settle changed in the row of the reserve."""
    entries: tuple[Named, Named]
    accounts: list[Row]


@dataclass(slots=True)
class Batch:
    """What one commit writes."""

    opened: list[Row] = field(default_factory=list[Row])
    closed: list[Row] = field(default_factory=list[Row])
    entries: list[Row] = field(default_factory=list[Row])

    @property
    def operations(self) -> int:
        """How many operations that is."""
        return len(self.opened) + len(self.closed)


class FoldedLoop:
    """Writes the ledger's rows with its driver and its durability, and decides nothing.

    Reservations are opened and settled in turns, each settled by a later batch than the one that
    opened it. The rows are made before the clock runs, so only SQLite and the disk are measured.
    """

    def __init__(self, path: Path, batch: int) -> None:
        self._size = batch
        self._rows = learn(path)
        self._database = apsw.Connection(str(path))
        for pragma in _PRAGMAS:
            self._database.execute(pragma)
        # A cursor for all, as the ledger has: a connection makes a new one for each statement.
        self._execute = self._database.cursor().execute
        self._many = self._database.cursor().executemany
        self._insert = _insert("reservation", self._rows.opened)
        changed = ", ".join(f'"{column}" = ?' for column in self._rows.closed)
        self._update = f'UPDATE reservation SET {changed} WHERE "key" = ?'  # noqa: S608 - ours
        self._entry = _insert("entry", self._rows.entries[0])
        self._clock = SystemClock()
        self._seq = count(self._rows.entries[1]["seq"] + 1)
        self._open: deque[str] = deque()
        self._settles = True
        first = Batch()
        for _ in range(batch):
            self._reserve(first)
        self._commit(first)

    def rate(self, seconds: float) -> float:
        """Return how many operations a second become durable."""
        taken = done = 0
        while taken < seconds * NANOS_PER_SECOND:
            batches = [self._batch() for _ in range(-(-_AT_ONCE // self._size))]
            began = perf_counter_ns()
            for batch in batches:
                self._commit(batch)
            taken += perf_counter_ns() - began
            done += sum(batch.operations for batch in batches)
        return done * NANOS_PER_SECOND / taken

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _batch(self) -> Batch:
        batch = Batch()
        for _ in range(self._size):
            if self._settles:
                self._settle(batch)
            else:
                self._reserve(batch)
            self._settles = not self._settles
        return batch

    def _reserve(self, batch: Batch) -> None:
        key, seq = new_key(self._clock), next(self._seq)
        self._open.append(key)
        batch.opened.append(_row(self._rows.opened, key, seq))
        batch.entries.append(_row(self._rows.entries[0], key, seq))

    def _settle(self, batch: Batch) -> None:
        key, seq = self._open.popleft(), next(self._seq)
        batch.closed.append((*_row(self._rows.closed, key, seq), key))
        batch.entries.append(_row(self._rows.entries[1], key, seq))

    def _commit(self, batch: Batch) -> None:
        many = self._many
        self._execute("BEGIN IMMEDIATE")
        many("UPDATE account SET settled = ?, held = ? WHERE id = ?", self._rows.accounts)
        if batch.opened:
            many(self._insert, batch.opened)
        if batch.closed:
            many(self._update, batch.closed)
        many(self._entry, batch.entries)
        self._execute("COMMIT")


def folded(path: Path, batch: int, seconds: float) -> float:
    """Return the operations per second of a loop in batches of *batch* on new books at *path*."""
    with closing(FoldedLoop(path, batch)) as loop:
        return loop.rate(seconds)


def learn(path: Path) -> Learned:
    """Make books at *path* and return what the ledger writes there."""
    with (
        open_ledger(f"sqlite:///{path}") as ledger,
        closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as reader,
    ):
        make_budgets(ledger)
        key = ledger.reserve(LEAF, HOLD).key
        opened = _found(reader, "reservation", key)[0]
        ledger.settle(key, COST)
        closed = _found(reader, "reservation", key)[0]
        reserve, settle = _found(reader, "entry", key)
        return Learned(
            opened=opened,
            closed={name: new for name, new in closed.items() if new != opened[name]},
            entries=(reserve, settle),
            accounts=reader.execute("SELECT settled, held, id FROM account").fetchall(),
        )


def _found(database: apsw.Connection, table: str, key: str) -> list[Named]:
    sql = f'SELECT * FROM {table} WHERE "key" = ? ORDER BY seq'  # noqa: S608 - our own tables
    cursor = database.execute(sql, (key,))
    columns = [name for name, *_ in cursor.get_description()]
    return [dict(zip(columns, row, strict=True)) for row in cursor]


def _insert(table: str, columns: Named) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - our own tables


def _row(like: Named, key: str, seq: int) -> Row:
    """Return the row *like* one of the ledger's, under *key* and written as number *seq*."""
    return tuple({**like, **_new(like, key, seq)}.values())


def _new(like: Named, key: str, seq: int) -> Named:
    return {
        name: value for name, value in (("key", key), ("seq", seq), ("last", seq)) if name in like
    }
