"""Migrations on SQLite: applied when the file is opened, `post` ones only when somebody asks.

The file belongs to the programs of one machine, which are upgraded with it; there is nobody else to
ask first.
"""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Final

import apsw

from earmark.clock import Clock
from earmark.errors import StoreCorrupt
from earmark.stores.migrations import (
    Applied,
    Migration,
    SchemaState,
    applied_from,
    known_migrations,
)

#: "EARM": marks the file as Earmark's (`PRAGMA application_id`).
APPLICATION: Final = 0x4541524D

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT
"""
_HAS_TABLE: Final = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'migration'"
_APPLIED: Final = "SELECT number, name, applied_at FROM migration ORDER BY number"
_NOTE: Final = "INSERT OR IGNORE INTO migration (number, name, applied_at) VALUES (?, ?, ?)"


def prepare_sqlite(
    connection: apsw.Connection,
    name: str,
    clock: Clock,
    *,
    known: tuple[Migration, ...] | None = None,
) -> None:
    """Make the tables, or bring them up to what this program needs; the caller holds the turn.

    Raises:
        SchemaMismatch: A newer program changed them, or a `post` migration has to come first.
        StoreCorrupt: The file is a database of another program.
    """
    migrate_sqlite(connection, name, clock, finish=False, known=known)
    schema_state = sqlite_schema_state(connection, name, known=known)
    schema_state.check_complete(name)


def migrate_sqlite(
    connection: apsw.Connection,
    name: str,
    clock: Clock,
    *,
    finish: bool,
    known: tuple[Migration, ...] | None = None,
) -> tuple[Migration, ...]:
    """Apply what may be applied, each in its own transaction, and return it.

    An empty file is made in one transaction, so that nobody ever finds a part of it.
    """
    schema_state = sqlite_schema_state(connection, name, known=known)
    schema_state.check_known(name)
    connection.pragma("journal_mode", "wal")
    done: list[Migration] = []
    while sqlite_schema_state(connection, name, known=known).applicable(finish=finish):
        done.extend(_apply_next(connection, name, clock, finish=finish, known=known))
    return tuple(done)


def sqlite_schema_state(
    connection: apsw.Connection, name: str, *, known: tuple[Migration, ...] | None = None
) -> SchemaState:
    """Return which migrations the file has.

    Raises:
        StoreCorrupt: It is a database of another program.
    """
    mark = _number(connection, "PRAGMA application_id")
    if mark != APPLICATION and _number(connection, "SELECT count(*) FROM sqlite_schema"):
        raise StoreCorrupt(store=name, detail="the file is a database of another program")
    return SchemaState(known or known_migrations("sqlite"), _applied(connection))


def schema_number(connection: apsw.Connection) -> int:
    """Return the number of the last migration that the file has: one page is read."""
    return _number(connection, "PRAGMA user_version")


def _applied(connection: apsw.Connection) -> tuple[Applied, ...]:
    version = schema_number(connection)
    rows: list[tuple[int, str, int]] = []
    if _number(connection, _HAS_TABLE):
        rows = [
            (int(str(n)), str(name), int(str(at))) for n, name, at in connection.execute(_APPLIED)
        ]
    elif version == 1:
        # Earmark 0.1 counted, and kept no table.
        rows = [(1, "books", 0)]
    if version > max((number for number, *_ in rows), default=0):
        rows.append((version, "unnamed", 0))
    return applied_from(rows)


def _apply_next(
    connection: apsw.Connection,
    name: str,
    clock: Clock,
    *,
    finish: bool,
    known: tuple[Migration, ...] | None,
) -> tuple[Migration, ...]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Looked at again: without the turn, another program may have been faster.
        schema_state = sqlite_schema_state(connection, name, known=known)
        schema_state.check_known(name)
        steps = schema_state.applicable(finish=finish)
        if schema_state.applied:
            steps = steps[:1]
        _apply(connection, steps, schema_state.applied, clock)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return steps


def _apply(
    connection: apsw.Connection,
    steps: tuple[Migration, ...],
    had: tuple[Applied, ...],
    clock: Clock,
) -> None:
    connection.execute(_TABLE)
    for migration in steps:
        connection.execute(migration.sql)
    all_ = (*had, *(Applied(each, clock.instant()) for each in steps))
    rows = [(each.migration.number, each.migration.name, each.at) for each in all_]
    connection.executemany(_NOTE, rows)
    connection.pragma("application_id", APPLICATION)
    connection.pragma("user_version", max(number for number, *_ in rows))


def _number(connection: apsw.Connection, sql: str) -> int:
    return int(str(connection.execute(sql).fetchall()[0][0]))
