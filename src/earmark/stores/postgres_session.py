"""What a session of PostgreSQL is set to, and what it has prepared: for every connection we open.

Nothing may depend on how the server, the database or the user is set up: each session, and each
transaction again, as a pooler may give it another one, says for itself how long it waits, where
names are looked up and what a commit waits for. No other module of ours has a `SET`.
"""

from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import Buffer, PGresult

from earmark.errors import StoreUnavailable
from earmark.stores.postgres_errors import MEANINGS, raise_from, refusal_code, unstorable
from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.tables import Row

Connection = psycopg.Connection[tuple[Any, ...]]

# What is set -------------------------------------------------------------------------------------

#: Milliseconds. Nobody waits for ever: a lock is waited for as long as a stopped client may keep
#: one, a statement as long as a thousand late reservations take.
TIMEOUTS: Final = {
    "lock_timeout": 10_000,
    "statement_timeout": 30_000,
    "idle_in_transaction_session_timeout": 5_000,
}


def _pins(scope: str, timeouts: Mapping[str, int]) -> str:
    """Return SQL that sets what must not depend on how the server, database or user is set up.

    What a session has set for itself stays when the server's configuration is loaded again. Off,
    `synchronous_commit` would lose what was acknowledged; its other values are the owner's choice.
    """
    pinned = {**timeouts, "search_path": "pg_catalog", "array_nulls": "on"}
    synchronous = "coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on')"
    is_local = str(scope == "LOCAL").lower()
    settings = [f"SET {scope} {name} = {value}" for name, value in pinned.items()]
    settings.append(f"SELECT set_config('synchronous_commit', {synchronous}, {is_local})")
    return "; ".join(settings)


_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: In front of every transaction: a pooler may give each one another server connection.
BEGIN: Final = f"BEGIN ISOLATION LEVEL read committed; {_pins('LOCAL', TIMEOUTS)}".encode()
#: One view of the books for several reads.
BEGIN_READING: Final = f"{_READING}; {_pins('LOCAL', TIMEOUTS)}".encode()
#: The same for as long as it takes: an audit of millions of rows.
BEGIN_SNAPSHOT: Final = f"{_READING}; {_pins('LOCAL', dict.fromkeys(TIMEOUTS, 0))}".encode()
_FOR_SESSION: Final = (
    f"{_pins('SESSION', TIMEOUTS)}; SET default_transaction_isolation = 'read committed'".encode()
)

#: Settings without which an acknowledged commit can be lost, or a torn page be kept.
DURABLE: Final = ("fsync", "synchronous_commit", "full_page_writes")
#: SQL that is true where a commit now is kept, whatever has been configured since it was checked.
SAFE: Final = " AND ".join(f"current_setting('{name}') <> 'off'" for name in DURABLE)

#: Within a transaction, waits for every lock as long as it takes.
WAIT_FOR_LOCKS: Final = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"
#: Within a transaction, waits for a lock as long as those may wait that wait for it meanwhile.
WAIT_BRIEFLY: Final = f"SET LOCAL lock_timeout = {TIMEOUTS['lock_timeout']}"

#: What text is kept in, and the encodings of databases that hold every character.
_UTF8: Final = b"UTF8"
_ENCODINGS: Final = frozenset({"UTF8", "SQL_ASCII"})
OLDEST: Final = 15
_READS: Final = "transaction_read_only"
_ENCODING: Final = "server_encoding"


# Opening ------------------------------------------------------------------------------------------


def connect(url: PostgresUrl) -> Connection:
    """Return a new connection that commits each statement by itself and prepares none.

    Raises:
        StoreUnavailable: The server cannot be reached, or refuses the user or the database.
    """
    try:
        return open_connection(url, prepares=False)
    except psycopg.Error as error:
        raise_from(error, url)


def open_connection(url: PostgresUrl, *, prepares: bool = True) -> Connection:
    """Return a new connection that commits each statement by itself, as nothing is set in it yet.

    Raises:
        psycopg.Error: The server cannot be reached now.
        StoreUnavailable: It refuses the user or the database, which does not pass by itself.
    """
    try:
        threshold = 2 if prepares else None
        return psycopg.connect(url.conninfo, autocommit=True, prepare_threshold=threshold)
    except psycopg.Error as error:
        if refusal_code(str(error)).startswith(("28", "3D")):
            raise_from(error, url)
        raise


def set_up(connection: Connection) -> bool:
    """Set what holds for the whole session; return whether there is one, and no pooler between.

    Through a pooler, nothing of a session outlives a transaction: nothing is set or prepared.
    """
    row = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    if row is None or row[0] == connection.info.backend_pid:
        connection.execute(_FOR_SESSION, prepare=False)
        return True
    # A pooler answers: the process it names is not the one that serves.
    connection.prepare_threshold = None
    return False


def check_server(connection: Connection, url: PostgresUrl) -> None:
    """Refuse a server that may forget what it acknowledged, unless the URL says it may.

    Raises:
        StoreUnavailable: One of `fsync`, `synchronous_commit` and `full_page_writes` is off, the
            server only reads, it is older than PostgreSQL 15, or the database's encoding has no
            place for some characters.
    """
    if connection.info.server_version < OLDEST * 10_000:
        detail = f"PostgreSQL {connection.info.server_version // 10_000} is too old"
        raise StoreUnavailable(store=url.name, detail=f"{detail}: use {OLDEST} or newer")
    settings = _settings(connection, (*DURABLE, _READS, _ENCODING))
    if (encoding := settings.pop(_ENCODING)) not in _ENCODINGS:
        detail = f"the database keeps text in {encoding}, which cannot hold every character"
        raise StoreUnavailable(store=url.name, detail=f"{detail}: make one with ENCODING 'UTF8'")
    if settings.pop(_READS) == "on":
        raise StoreUnavailable(store=url.name, detail=MEANINGS["25006"])
    off = [name for name, value in settings.items() if value == "off"]
    if off and not url.unsafe:
        named = " and ".join(off)
        detail = (
            f"the server has {named} off and may forget what it acknowledged: switch on, "
            "or say '?unsafe=test' in the URL of a test"
        )
        raise StoreUnavailable(store=url.name, detail=detail)


def durability(connection: Connection) -> dict[str, str]:
    """Return the settings that decide whether a commit is made and survives a power cut."""
    return _settings(connection, (*DURABLE, _READS))


def _settings(connection: Connection, names: Collection[str]) -> dict[str, str]:
    query = "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS s (name)"
    rows = connection.execute(query, ([*names],), prepare=False).fetchall()
    return {str(name): str(value) for name, value in rows}


def is_idle(connection: Connection) -> bool:
    """Return whether the session is between transactions and speaks UTF-8, as it was made."""
    server = connection.pgconn
    return (
        server.transaction_status == TransactionStatus.IDLE
        and server.parameter_status(b"client_encoding") == _UTF8
    )


# Using --------------------------------------------------------------------------------------------


@contextmanager
def transaction(connection: Connection, begin: bytes = BEGIN) -> Generator[None]:
    """Make one transaction of what is done on *connection* meanwhile; an error undoes it."""
    connection.execute(begin, prepare=False)
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):
            # Not by the driver: after a ROLLBACK it drops every prepared statement of the session,
            # those it did not make itself included. None of ours refers to what was rolled back.
            _check(connection, connection.pgconn.exec_(b"ROLLBACK"))
        raise
    connection.execute("COMMIT", prepare=False)


class FunctionCall:
    """A call of one of the schema's functions; it costs half of what a cursor's statement does.

    The statement is prepared once a connection, and its values are text as the server reads it. A
    session that has lost it answers with an error that `Link.retry` makes a new connection for.
    """

    def __init__(self, function: str, parameters: Mapping[str, str], condition: str = "") -> None:
        """Call *function* with arguments for *parameters*, types by name, in their order.

        *condition* is SQL of settings and times; `{at}` in it is one more argument, an instant in
        nanoseconds or null. Where it is false, the function is not called.
        """
        marks = [
            f"{name} => ${n}::{kind}" for n, (name, kind) in enumerate(parameters.items(), start=1)
        ]
        query = f"SELECT * FROM {function}({', '.join(marks)})"
        if condition:
            query += f" WHERE {condition.format(at=f'${len(marks) + 1}::bigint')}"
        self._query = query.encode()
        self._name = function.encode()
        self._connection: Connection | None = None

    def __call__(self, connection: Connection, values: Iterable[object], *, pooled: bool) -> Row:
        """Return the one row of the function's answer as text; blocks until it is there.

        Raises:
            SessionUnfit: The condition is false.
        """
        texts: list[Buffer | None] = [
            None if value is None else str(value).encode() for value in values
        ]
        # The server reads a text up to its first NUL, and would keep less than it was given.
        if b"\0" in b"".join(filter(None, texts)):
            raise unstorable("\0")
        server = connection.pgconn
        if pooled:
            return _only_row(connection, server.exec_params(self._query, texts))
        if connection is not self._connection:
            _check(connection, server.prepare(self._name, self._query))
            self._connection = connection
        # The driver's types forget that null is a value here, too.
        return _only_row(connection, server.exec_prepared(self._name, cast("list[Buffer]", texts)))


class SessionUnfit(psycopg.OperationalError):
    """The session or the server is no longer as it was when the connection was checked."""

    def __str__(self) -> str:
        return "the server's settings or the clocks are not as they were"


def _only_row(connection: Connection, answer: PGresult) -> Row:
    _check(connection, answer)
    if not answer.ntuples:
        raise SessionUnfit
    assert answer.ntuples == 1, "a function with OUT parameters gives one row"
    found = [answer.get_value(0, column) for column in range(answer.nfields)]
    return tuple([None if value is None else value.decode() for value in found])


def _check(connection: Connection, answer: PGresult) -> None:
    if answer.status not in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
        raise error_from_result(answer, encoding=connection.info.encoding)
