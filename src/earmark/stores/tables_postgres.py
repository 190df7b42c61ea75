"""Tables in a PostgreSQL schema, beside the ledger's: `earmark.stores.tables`."""

import threading
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import Final, TypeVar

from earmark.ledger.owner_process import OwnerProcess
from earmark.stores.migrations_postgres import in_schema
from earmark.stores.postgres_link import Link
from earmark.stores.postgres_session import (
    BEGIN,
    BEGIN_READING,
    SAFE,
    Connection,
    SessionUnfit,
    transaction,
)
from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.tables import Row, Rows

T = TypeVar("T")

_LOCK: Final = f"SELECT {SAFE} FROM pg_advisory_xact_lock(%s)".encode()


class PostgresTables:
    """One connection that writes and one that reads; each is made anew when it was lost."""

    def __init__(self, url: str) -> None:
        """Use the schema that *url* names; a ledger has made the tables."""
        self._url = PostgresUrl.parse(url)
        self._process = OwnerProcess()
        self._closed = False
        self._writer = Link(self._url)
        self._reader = Link(self._url)
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()

    @property
    def name(self) -> str:
        """The store's URL without a password."""
        return self._url.name

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Do *work* in one durable transaction, alone among those that name *lock*."""

        def once() -> T:
            connection = self._writer.connection
            with transaction(connection, BEGIN):
                # First, and by itself: every later statement sees what its last holder committed.
                row = connection.execute(_LOCK, (self._number(lock),)).fetchone()
                if row is not None and not (row[0] or self._url.unsafe):
                    raise SessionUnfit
                return work(PostgresTableRows(connection, self._url.schema))

        with self._write_lock:
            self._check()
            return self._writer.retry(once)

    def read(self, work: Callable[[Rows], T]) -> T:
        """Do *work* on one commit."""

        def once() -> T:
            connection = self._reader.connection
            with transaction(connection, BEGIN_READING):
                return work(PostgresTableRows(connection, self._url.schema))

        with self._read_lock:
            self._check()
            return self._reader.retry(once)

    def close(self) -> None:
        """Let go of the connections."""
        with self._write_lock, self._read_lock:
            self._closed = True
            self._writer.drop()
            self._reader.drop()

    def _number(self, lock: str) -> int:
        digest = sha256(f"earmark {self._url.schema} {lock}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def _check(self) -> None:
        self._process.check(self.name, closed=self._closed)


class PostgresTableRows:
    """One connection's tables."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    def run(self, sql: str, *values: object) -> list[Row]:
        """Run one statement and return its rows."""
        cursor = self._connection.execute(_query(sql, self._schema), values)
        return cursor.fetchall() if cursor.description else []


@cache
def _query(sql: str, schema: str) -> bytes:
    return in_schema(sql.replace("?", "%s"), schema)
