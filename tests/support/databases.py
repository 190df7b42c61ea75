"""The databases that stores are kept in, as migrations see them: SQLite and PostgreSQL alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Protocol

import apsw

from earmark.clock import Clock
from earmark.stores.migrations import DatabaseKind, Migration, SchemaState, known_migrations
from earmark.stores.migrations_sqlite import migrate_sqlite, prepare_sqlite, sqlite_schema_state
from earmark.testing import ManualClock
from support.ledger_books import STORES
from support.postgres_session import shared_or_skip

Known = tuple[Migration, ...]


class Database(Protocol):
    """A database at a URL, and a program that knows some migrations."""

    url: str
    kind: DatabaseKind

    def prepare(self, known: Known | None = None) -> None:
        """Do what a program does that opens the store."""
        ...

    def migrate(self, known: Known | None = None, *, finish: bool = False) -> list[str]:
        """Do what `earmark store migrate` does; return what it applied."""
        ...

    def standing(self, known: Known | None = None) -> SchemaState:
        """Return which migrations it has."""
        ...

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement, in which `{schema}.` is where the tables are and `?` a value."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


class SqliteDatabase:
    """A file."""

    kind: DatabaseKind = "sqlite"

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.url = STORES["sqlite"](folder)
        self.clock = clock

    def prepare(self, known: Known | None = None) -> None:
        """Do what a program does that opens the store."""
        with self.connected() as connection:
            prepare_sqlite(connection, self.url, self.clock, known=known)

    def migrate(self, known: Known | None = None, *, finish: bool = False) -> list[str]:
        """Do what `earmark store migrate` does; return what it applied."""
        with self.connected() as connection:
            done = migrate_sqlite(connection, self.url, self.clock, finish=finish, known=known)
        return [str(each) for each in done]

    def standing(self, known: Known | None = None) -> SchemaState:
        """Return which migrations it has."""
        with self.connected() as connection:
            return sqlite_schema_state(connection, self.url, known=known)

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement."""
        with self.connected() as connection:
            return connection.execute(sql.replace("{schema}.", ""), values).fetchall()

    def close(self) -> None:
        """Do nothing: the folder goes."""

    @contextmanager
    def connected(self) -> Iterator[apsw.Connection]:
        """Give a connection of one's own."""
        # Each is its own file handle, so the turn is left out: SQLite's own lock must do.
        connection = apsw.Connection(self.url.removeprefix("sqlite:///"))
        connection.set_busy_timeout(600_000)
        try:
            yield connection
        finally:
            connection.close()


class PostgresDatabase:
    """A schema of its own: other tests' may have been used before."""

    kind: DatabaseKind = "postgres"

    def __init__(self, folder: Path, clock: Clock) -> None:
        from earmark.stores.postgres_url import PostgresUrl

        self._server = shared_or_skip()
        self.url = self._server.url(schema=f"test_{folder.name.lower()}_{token_hex(4)}")
        self._place = PostgresUrl.parse(self.url)
        self.clock = clock

    def prepare(self, known: Known | None = None) -> None:
        """Do what a program does that opens the store."""
        from earmark.stores.migrations_postgres import prepare_postgres

        place = self._place
        with self.connected() as connection:
            prepare_postgres(connection, place.schema, place.name, self.clock, known=known)

    def migrate(self, known: Known | None = None, *, finish: bool = False) -> list[str]:
        """Do what `earmark store migrate` does; return what it applied."""
        from earmark.stores.migrations_postgres import migrate_postgres

        place = self._place
        with self.connected() as connection:
            done = migrate_postgres(
                connection, place.schema, place.name, self.clock, finish=finish, known=known
            )
        return [str(each) for each in done]

    def standing(self, known: Known | None = None) -> SchemaState:
        """Return which migrations it has."""
        from earmark.stores.migrations_postgres import postgres_schema_state

        with self.connected() as connection:
            return postgres_schema_state(connection, self._place.schema, self.url, known=known)

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement."""
        from earmark.stores.migrations_postgres import in_schema

        query = in_schema(sql.replace("?", "%s"), self._place.schema)
        with self.connected() as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    @property
    def schema(self) -> str:
        """The name of the schema."""
        return self._place.schema

    def close(self) -> None:
        """Drop the schema."""
        self._server.drop(self.schema)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Give a connection of one's own; each statement commits."""
        import psycopg

        with psycopg.connect(self._place.conninfo, autocommit=True) as connection:
            yield connection


#: Every kind of database, by the name of its store.
DATABASES: Final[dict[str, Callable[[Path, Clock], Database]]] = {
    "sqlite": SqliteDatabase,
    "postgres": PostgresDatabase,
}


@contextmanager
def made(name: str, folder: Path) -> Iterator[Database]:
    """Give the database called *name* for *folder*, with nothing in it yet."""
    database = DATABASES[name](folder, ManualClock())
    yield database
    database.close()


def next_program(database: Database, *steps: tuple[str, str]) -> Known:
    """Return what a later program knows: this one's migrations, and *steps* by name and SQL."""
    known = known_migrations(database.kind)
    place = "" if database.kind == "sqlite" else "{schema}."
    return (
        *known,
        *(
            Migration(number, name, sql.replace("{schema}.", place))
            for number, (name, sql) in enumerate(steps, start=len(known) + 1)
        ),
    )


def drop_later_tables(connection: apsw.Connection) -> None:
    """Leave the tables of Earmark 0.1, but for the journal's, which made its own."""
    later = connection.execute(_LATER).fetchall()
    for (table,) in later:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("ALTER TABLE account DROP COLUMN alerted_of")
    for index in ("alert_by_seq", "reservation_presumed", "entry_change", "budget_listed"):
        connection.execute(f"DROP INDEX IF EXISTS {index}")
    connection.execute("ALTER TABLE budget DROP COLUMN kind")
    for column in ("parts", "counts", "actual_counts"):
        connection.execute(f"ALTER TABLE reservation DROP COLUMN {column}")
    connection.execute("ALTER TABLE entry DROP COLUMN counts")


_LATER: Final = """
SELECT name FROM sqlite_schema WHERE type = 'table'
AND name NOT IN ('budget', 'account', 'reservation', 'entry', 'alert', 'operation')
"""
