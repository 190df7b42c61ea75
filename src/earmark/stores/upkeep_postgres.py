"""Looking after a PostgreSQL schema: `earmark.stores.upkeep.Upkeep`."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import count
from typing import Final

import psycopg

from earmark.clock import END_OF_TIME, Clock
from earmark.stores.migrations import Migration
from earmark.stores.migrations_postgres import (
    in_schema,
    migrate_postgres,
    postgres_schema_state,
    prepare_postgres,
)
from earmark.stores.postgres_errors import raise_from
from earmark.stores.postgres_session import (
    WAIT_BRIEFLY,
    Connection,
    check_server,
    connect,
    durability,
)
from earmark.stores.postgres_snapshot import PostgresSnapshot
from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.tables import Row
from earmark.stores.upkeep import TABLES, Status, not_empty

#: Trees, sequences and what the planner knows all follow from the rows.
_COMPLETE: Final = f"""
DELETE FROM {{schema}}.tree;
INSERT INTO {{schema}}.tree (name, last, entries, at, next_due, budgets_at, waited_until)
SELECT
    e.name, e.last, e.entries, e.at, coalesce(r.next_due, {END_OF_TIME}),
    coalesce(e.budgets_at, 0), 0
FROM (
    SELECT
        split_part(budget, '/', 1) AS name, max(seq) AS last, count(*) AS entries, max(at) AS at,
        max(seq) FILTER (WHERE kind IN ('limit', 'pause', 'resume', 'extension')) AS budgets_at
    FROM {{schema}}.entry GROUP BY 1
) e
LEFT JOIN (
    SELECT split_part(budget, '/', 1) AS name, min(expires) AS next_due
    FROM {{schema}}.reservation WHERE state = 'open' GROUP BY 1
) r USING (name);
SELECT setval('{{schema}}.entry_seq', (SELECT max(seq) FROM {{schema}}.entry));
SELECT setval('{{schema}}.account_id', (SELECT max(id) FROM {{schema}}.account));
ANALYZE {", ".join(f"{{schema}}.{table}" for table in TABLES)}
"""


class PostgresUpkeep:
    """A schema, connected to for each piece of work."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = PostgresUrl.parse(url)
        self._clock = clock

    @property
    def name(self) -> str:
        """The store's URL without its password."""
        return self._url.name

    def exists(self) -> bool:
        """Return whether the schema has tables."""
        with self._connection() as connection:
            schema_state = postgres_schema_state(connection, self._url.schema, self.name)
            return bool(schema_state.applied)

    def status(self) -> Status:
        """Return what stands in the schema; changes nothing."""
        with self._connection() as connection:
            schema_state = postgres_schema_state(connection, self._url.schema, self.name)
            rows: dict[str, int] = {}
            held = 0
            if schema_state.is_readable:
                rows = {table: self._count(connection, table) for table in TABLES}
                held = self._count(connection, "reservation WHERE state = 'open'")
            version = connection.info.parameter_status("server_version") or "of unknown version"
            return Status(
                store=self.name,
                engine=f"PostgreSQL {version.partition(' ')[0]}",
                schema_state=schema_state,
                rows=rows,
                open_holds=held,
                settings=durability(connection),
            )

    def migrate(self, *, finish: bool) -> tuple[Migration, ...]:
        """Apply what is pending, and return it."""
        with self._connection() as connection:
            check_server(connection, self._url)
            return migrate_postgres(
                connection, self._url.schema, self.name, self._clock, finish=finish
            )

    @contextmanager
    def loading(self) -> Generator["PostgresLoad"]:
        """Fill the schema, made if there is none; keeps all of it or, after an error, nothing."""
        with self._connection() as connection:
            check_server(connection, self._url)
            prepare_postgres(connection, self._url.schema, self.name, self._clock)
            with connection.transaction():
                load = PostgresLoad(connection, self._url)
                load.check_empty()
                yield load

    @contextmanager
    def _connection(self) -> Generator[Connection]:
        connection = connect(self._url)
        try:
            yield connection
        except psycopg.Error as error:
            raise_from(error, self._url)
        finally:
            connection.close()

    def _count(self, connection: Connection, table: str) -> int:
        return count_rows(connection, self._url.schema, table)


class PostgresLoad:
    """The rows of an empty schema; see `earmark.stores.upkeep.Load`."""

    def __init__(self, connection: Connection, url: PostgresUrl) -> None:
        self._connection = connection
        self._url = url

    def check_empty(self) -> None:
        """Refuse a schema that has rows; until the end nobody else adds any."""
        locked = ", ".join(f"{{schema}}.{table}" for table in ("tree", *TABLES))
        self._execute(f"{WAIT_BRIEFLY}; LOCK {locked} IN EXCLUSIVE MODE")
        found = {table: n for table in TABLES if (n := self.count(table))}
        if found:
            raise not_empty(self._url.name, found)

    def put(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        """Add *rows*, which are streamed, to *table*."""
        sql = in_schema(f"COPY {{schema}}.{table} ({columns}) FROM STDIN", self._url.schema)
        with self._connection.cursor() as cursor, cursor.copy(sql) as copy:
            for row in rows:
                copy.write_row(row)

    def complete(self) -> None:
        """Write the trees and where the sequences go on."""
        self._execute(_COMPLETE)

    def count(self, table: str) -> int:
        """Return how many rows *table* has."""
        return count_rows(self._connection, self._url.schema, table)

    def snapshot(self) -> PostgresSnapshot:
        """Return what was loaded, before it is committed."""
        return _Uncommitted(self._connection, self._url)

    def _execute(self, sql: str) -> None:
        self._connection.execute(in_schema(sql, self._url.schema))


class _Uncommitted(PostgresSnapshot):
    """Reads in a transaction that goes on."""

    def __init__(self, connection: Connection, url: PostgresUrl) -> None:
        self._connection = connection
        self._url = url
        self._names = count()

    def close(self) -> None:
        """Leave the connection open, and its transaction."""


def count_rows(connection: Connection, schema: str, table: str) -> int:
    """Return how many rows *table* has."""
    query = in_schema(f"SELECT count(*) FROM {{schema}}.{table}", schema)
    row = connection.execute(query).fetchone()
    assert row is not None, "an aggregate answers with one row"
    return int(row[0])
