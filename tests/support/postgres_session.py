"""The PostgreSQL server that the tests of a session share, and the schemas it gives them.

It is started when the first test needs it. `EARMARK_TEST_POSTGRES=URL` uses another server instead.
"""

import hashlib
import os
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from earmark.stores.migrations import known_migrations
from support.postgres_programs import NoPostgresError
from support.postgres_server import PostgresServer, Server

if TYPE_CHECKING:
    import psycopg


class _Session:
    """The server that tests share, and the schemas they made on somebody else's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.server: Server | None = None
        self.missing: NoPostgresError | None = None
        #: On a server that outlives the session, another session may have the same folders.
        self.token = secrets.token_hex(4)
        self.schemas: set[str] = set()
        #: Whose schema is whose, and those that were given back: to make one takes 0.1 s.
        self.given: dict[Path, str] = {}
        self.free: list[str] = []


_session: Final = _Session()


def shared_server() -> Server:
    """Return the session's server, started when first asked for.

    Raises:
        NoPostgresError: There is none to be had here.
    """
    with _session.lock:
        if _session.missing is not None:
            raise _session.missing
        if _session.server is None:
            url = os.environ.get("EARMARK_TEST_POSTGRES")
            try:
                _session.server = Server(url) if url else PostgresServer()
            except NoPostgresError as missing:
                _session.missing = missing
                raise
        return _session.server


def fresh_url(folder: Path) -> str:
    """Return the URL of books in a schema that belongs to *folder*; skips the test if none runs."""
    server, place = shared_or_skip(), folder.resolve()
    if place not in _session.given:
        name = hashlib.blake2b(f"{_session.token} {place}".encode(), digest_size=12)
        _session.given[place] = _session.free.pop() if _session.free else f"test_{name.hexdigest()}"
    schema = _session.given[place]
    _session.schemas.add(schema)
    return server.url(schema=schema)


def recycle(folder: Path) -> None:
    """Empty the books of *folder*, which nobody has open any more, for the next `fresh_url`."""
    schema = _session.given.pop(folder.resolve(), None)
    if schema is not None:
        with shared_server().connect() as connection:
            connection.execute(_EMPTY.replace("{schema}", schema).encode(), prepare=False)
            if _is_ours(connection, schema):
                _session.free.append(schema)


def _is_ours(connection: "psycopg.Connection", schema: str) -> bool:
    """Return whether *schema* is as the program makes it: a test may have migrated it further."""
    query = "SELECT number, name FROM {schema}.migration ORDER BY number"
    try:
        found = connection.execute(query.replace("{schema}", schema).encode()).fetchall()
    except connection.ProgrammingError:
        return False
    return found == [(each.number, each.name) for each in known_migrations("postgres")]


_EMPTY: Final = """
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT relname, relkind FROM pg_class
        WHERE relnamespace = to_regnamespace('{schema}') AND relkind IN ('r', 'S')
        AND relname <> 'migration'
    LOOP
        IF found.relkind = 'r' THEN
            EXECUTE format('DELETE FROM {schema}.%I', found.relname);
        ELSE
            EXECUTE format('ALTER SEQUENCE {schema}.%I RESTART', found.relname);
        END IF;
    END LOOP;
END
$$
"""


def shared_or_skip() -> Server:
    """Return the session's server, or skip the test and say why there is none."""
    try:
        return shared_server()
    except NoPostgresError as missing:
        pytest.skip(f"no PostgreSQL: {missing}")


def end_session() -> None:
    """Stop the session's server if it is one's own; leave nothing on another."""
    with _session.lock:
        server, _session.server = _session.server, None
        if isinstance(server, PostgresServer):
            server.close()
        elif server is not None:
            server.drop(*_session.schemas)


def password_of(url: str) -> str:
    """Return the password in *url*; skips where the server at hand asks for none."""
    password = urlsplit(url).password
    if not password:
        pytest.skip("EARMARK_TEST_POSTGRES names a server without a password")
    return password
