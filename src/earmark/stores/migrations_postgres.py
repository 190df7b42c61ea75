"""Migrations on PostgreSQL: an empty schema is made at once, an older one only when somebody asks.

A server is shared. An upgrade may wait for the locks of running programs, needs rights that they
need not have, and locks out the programs that are too old for it: an operator decides when, with
`earmark store migrate`. So a program that finds an older schema refuses it.

Each migration is one transaction that holds an advisory lock until its end: two that start at once
take turns, whatever pooler is in between.
"""

from hashlib import sha256
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from earmark.clock import Clock
from earmark.errors import StoreCorrupt, StoreUnavailable
from earmark.stores.migrations import Migration, SchemaState, applied_from, known_migrations
from earmark.stores.postgres_session import WAIT_BRIEFLY, WAIT_FOR_LOCKS, Connection

_EXISTS: Final = "SELECT count(*) FROM pg_namespace WHERE nspname = %s"
_TABLES: Final = """
SELECT coalesce(bool_or(c.relname = 'migration'), false), count(*)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
"""
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS {schema}.migration (
    number bigint PRIMARY KEY,
    name text NOT NULL,
    applied_at bigint NOT NULL
)
"""
_APPLIED: Final = "SELECT number, name, applied_at FROM {schema}.migration ORDER BY number"
_NOTE: Final = "INSERT INTO {schema}.migration (number, name, applied_at) VALUES (%s, %s, %s)"


def prepare_postgres(
    connection: Connection,
    schema: str,
    name: str,
    clock: Clock,
    *,
    known: tuple[Migration, ...] | None = None,
) -> None:
    """Make the tables of an empty *schema*, or check that they are what this program needs.

    Args:
        connection: In autocommit mode.
        schema: The PostgreSQL schema; made if there is none.
        name: The store's URL without a password, for errors.
        clock: Says when a migration was applied.
        known: The migrations the program knows; its own, unless a test brings others.

    Raises:
        SchemaMismatch: The tables are older or newer than this program.
        StoreCorrupt: The schema has tables of another program.
    """
    schema_state = postgres_schema_state(connection, schema, name, known=known)
    if not schema_state.applied:
        migrate_postgres(connection, schema, name, clock, finish=False, known=known)
        schema_state = postgres_schema_state(connection, schema, name, known=known)
    schema_state.check_known(name)
    schema_state.check_complete(name)


def migrate_postgres(
    connection: Connection,
    schema: str,
    name: str,
    clock: Clock,
    *,
    finish: bool,
    known: tuple[Migration, ...] | None = None,
) -> tuple[Migration, ...]:
    """Apply what may be applied, each in its own transaction, and return it.

    An empty schema is made in one transaction, so that nobody ever sees a part of it.
    """
    done: list[Migration] = []
    while steps := _apply_next(connection, schema, name, clock, finish=finish, known=known):
        done.extend(steps)
    return tuple(done)


def postgres_schema_state(
    connection: Connection,
    schema: str,
    name: str,
    *,
    known: tuple[Migration, ...] | None = None,
) -> SchemaState:
    """Return which migrations the schema has; none if there is no such schema.

    Raises:
        StoreCorrupt: It has tables, and they are another program's.
    """
    known = known or known_migrations("postgres")
    ((ours, tables),) = _rows(connection, _TABLES, schema)
    if not ours and tables:
        detail = f"the schema '{schema}' has tables of another program: name one with ?schema="
        raise StoreCorrupt(store=name, detail=detail)
    if not ours:
        return SchemaState(known, ())
    return SchemaState(known, applied_from(_rows(connection, in_schema(_APPLIED, schema))))


def in_schema(sql: str, schema: str) -> bytes:
    """Return *sql* with the quoted name of the schema in the place of `{schema}`."""
    quoted = '"' + schema.replace('"', '""') + '"'
    return sql.replace("{schema}", quoted).encode()


def _apply_next(
    connection: Connection,
    schema: str,
    name: str,
    clock: Clock,
    *,
    finish: bool,
    known: tuple[Migration, ...] | None,
) -> tuple[Migration, ...]:
    with connection.transaction():
        # Whoever migrates at the same time is waited for.
        connection.execute(WAIT_FOR_LOCKS)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_lock_number(schema),))
        # A change of a table waits for the transactions that use it, and others for the change.
        connection.execute(WAIT_BRIEFLY.encode())
        schema_state = postgres_schema_state(connection, schema, name, known=known)
        schema_state.check_known(name)
        steps = schema_state.applicable(finish=finish)
        if schema_state.applied:
            steps = steps[:1]
        elif not _rows(connection, _EXISTS, schema)[0][0]:
            # Not `IF NOT EXISTS`: that takes the right to make schemas even where there is one.
            connection.execute(in_schema("CREATE SCHEMA {schema}", schema))
        for migration in steps:
            _apply(connection, schema, name, migration, clock)
        return steps


def _apply(
    connection: Connection, schema: str, name: str, migration: Migration, clock: Clock
) -> None:
    connection.execute(in_schema(_TABLE, schema))
    try:
        connection.execute(in_schema(migration.sql, schema))
    except psycopg.errors.LockNotAvailable as error:
        detail = f"{migration} waited in vain for programs that use the tables; nothing was changed"
        raise StoreUnavailable(store=name, detail=f"{detail}: ask again") from error
    row = (migration.number, migration.name, clock.instant())
    connection.execute(in_schema(_NOTE, schema), row)


def _rows(connection: Connection, sql: str | bytes, *values: object) -> list[tuple[Any, ...]]:
    text = sql if isinstance(sql, bytes) else sql.encode()
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(text, values or None).fetchall()


def _lock_number(schema: str) -> int:
    digest = sha256(f"earmark migrations {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
