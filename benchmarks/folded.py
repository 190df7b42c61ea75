"""What SQLite can do with the ledger's rows: commits of whole batches by one thread, no ledger."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from contextlib import closing
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit writes."""

    opened: list[Row]
    closed: list[Row]
    entries: list[Row]

    @property
    def operations(self) -> int:
        """How many operations that is."""
        return len(self.opened) + len(self.closed)


class FoldedLoop:
    """Writes the ledger's rows with its driver and its durability, and decides nothing.

    Half of a batch opens reservations, half settles those of the batch before. The rows are made
    before the clock runs, so only SQLite and the disk are measured.
    """

    def __init__(self, path: Path, batch: int) -> None:
        self._size = batch
        self._rows = learn(path)
        self._database = apsw.Connection(str(path))
        for pragma in _PRAGMAS:
            self._database.execute(pragma)
        self._insert = _insert("reservation", self._rows.opened)
        changed = ", ".join(f'"{column}" = ?' for column in self._rows.closed)
        self._update = f'UPDATE reservation SET {changed} WHERE "key" = ?'  # noqa: S608 - ours
        self._entry = _insert("entry", self._rows.entries[0])
        self._clock = SystemClock()
        self._seq = count(self._rows.entries[1]["seq"] + 1)
        self._before: list[str] = []

    def rate(self, seconds: float) -> float:
        """Return how many operations a second become durable."""
        taken = done = 0
        while taken < seconds * NANOS_PER_SECOND:
            batches = [self._batch() for _ in range(_AT_ONCE // self._size)]
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
        keys = [new_key(self._clock) for _ in range(self._size // 2)]
        rows, (reserve, settle) = self._rows, self._rows.entries
        batch = Batch([], [], [])
        for key in keys:
            seq = next(self._seq)
            batch.opened.append(_row(rows.opened, key, seq))
            batch.entries.append(_row(reserve, key, seq))
        for key in self._before:
            seq = next(self._seq)
            batch.closed.append((*_row(rows.closed, key, seq), key))
            batch.entries.append(_row(settle, key, seq))
        self._before = keys
        return batch

    def _commit(self, batch: Batch) -> None:
        many = self._database.executemany
        self._database.execute("BEGIN IMMEDIATE")
        many("UPDATE account SET settled = ?, held = ? WHERE id = ?", self._rows.accounts)
        many(self._insert, batch.opened)
        many(self._update, batch.closed)
        many(self._entry, batch.entries)
        self._database.execute("COMMIT")


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
