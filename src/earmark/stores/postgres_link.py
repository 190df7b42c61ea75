"""One connection to PostgreSQL: opened safely, with time-outs, opened again when it was lost."""

import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn, TypeVar, cast

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import Buffer, PGresult

from earmark.errors import EarmarkError, InvalidKey, StoreCorrupt, StoreError, StoreUnavailable
from earmark.ledger.owner_process import OwnerProcess
from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.rows import Row

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]

#: What a lost connection or a conflict is worth: about twelve seconds of trying again, which is
#: longer than a server takes to start or a partition to be noticed.
PAUSES_S: Final = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 4.0)

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
_FOR_GOOD: Final = (
    f"{_pins('SESSION', TIMEOUTS)}; SET default_transaction_isolation = 'read committed'".encode()
)

#: Settings without which an acknowledged commit can be lost, or a torn page be kept.
DURABLE: Final = ("fsync", "synchronous_commit", "full_page_writes")
#: SQL that is true where a commit now is kept, whatever has been configured since it was checked.
SAFE: Final = " AND ".join(f"current_setting('{name}') <> 'off'" for name in DURABLE)
#: Deadlock, serialisation failure, a key used at the same moment, no lock in time, statement or
#: transaction took too long.
_AGAIN: Final = frozenset({"40P01", "40001", "23505", "55P03", "57014", "25P03", "25P04"})
#: The server or the network went away, and whether the last statement was done is not known; or
#: the session has lost what was prepared in it.
_LOST: Final = ("08", "57P", "26000")
#: What is wrong with a value or a row, such as a number out of range or a violated constraint.
_OF_VALUES: Final = ("22", "23")
#: Without a code of the server, these are the driver's refusal of a value or a statement.
_REFUSED_HERE: Final = (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)
#: What text is kept in, and the encodings of databases that hold every character.
_UTF8: Final = b"UTF8"
_ENCODINGS: Final = frozenset({"UTF8", "SQL_ASCII"})


class Link:
    """A connection that is made when it is needed; one thread uses it at a time."""

    def __init__(self, url: PostgresUrl, check: Callable[[Connection], None] | None = None) -> None:
        """Connect to *url* when asked; *check* refuses a new connection by raising."""
        self.url = url
        self._check_more = check
        self.pooled = False
        """Whether a pooler stands between: then nothing of a session outlives a transaction."""
        self._connection: Connection | None = None
        self._process = OwnerProcess()

    @property
    def connection(self) -> Connection:
        """The connection; made now if there is none, or if the last one is lost or was changed.

        Raises:
            psycopg.Error: The server cannot be reached now.
            StoreUnavailable: It refuses the user or the database, or is not safe.
        """
        held = self._connection
        if held is None or held.closed or not _is_idle(held):
            self.drop()
            held = self._connect()
        return held

    def _connect(self) -> Connection:
        # Known at once: whoever is interrupted drops it.
        made = self._connection = _connected(self.url)
        try:
            self.pooled = is_pooled(made)
            check_server(made, self.url)
            if self._check_more is not None:
                self._check_more(made)
            if self.pooled:
                made.prepare_threshold = None
            else:
                made.execute(_FOR_GOOD, prepare=False)
        except BaseException:
            self.drop()
            raise
        return made

    def _is_lost(self, error: psycopg.Error) -> bool:
        held = self._connection
        if held is None or held.closed:
            return True
        state = _state(error)
        # What has no code is the driver's own trouble with the connection, not the server's answer.
        return state.startswith(_LOST) if state else not isinstance(error, _REFUSED_HERE)

    def drop(self) -> None:
        """Close the connection: the next use makes a new one. Interrupted, it is called again."""
        held = self._connection
        # In a forked child the socket is the parent's: closing it would say goodbye in its name.
        if held is not None and self._process.is_this:
            with suppress(psycopg.Error):
                held.close()
        # Last: one that is not closed yet is found here again, and with it what it has locked.
        self._connection = None

    def steadily(self, work: Callable[[], T], undone: Callable[[], None] = lambda: None) -> T:
        """Return what *work* gives; done again, on a new connection, when it was cut off.

        *work* is safe to repeat. *undone* is called before each repetition. Only what can pass is
        tried again: a lost connection or session, a conflict, a lock or a time limit. Interrupted
        at any line, also while an error is handled, it calls *undone* and drops the connection.

        Raises:
            StoreUnavailable: The server did not come back; what *work* did is not known.
            StoreError: It refused a value; nothing was done.
            InvalidKey: A text has a character that PostgreSQL cannot keep; nothing was done.
        """
        try:
            return self._tried_again(work, undone)
        except Exception:
            raise
        except BaseException:
            undone()
            self.drop()
            raise

    def _tried_again(self, work: Callable[[], T], undone: Callable[[], None]) -> T:
        for left in reversed(range(len(PAUSES_S))):
            try:
                return work()
            except psycopg.Error as error:
                undone()
                if self._is_lost(error):
                    self.drop()
                elif _state(error) not in _AGAIN:
                    raise_from(error, self.url)
                if not left:
                    raise_from(error, self.url)
            except UnicodeEncodeError as error:
                undone()
                raise unstorable(error.object[error.start : error.end]) from None
            except Exception:
                # Perhaps raised between a statement and its answer.
                undone()
                self.drop()
                raise
            threading.Event().wait(PAUSES_S[-1 - left])
        raise AssertionError("the last try returns or raises")


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


class Call:
    """A call of one of the schema's functions; it costs half of what a cursor's statement does.

    The statement is prepared once a connection, and its values are text as the server reads it. A
    session that has lost it answers with an error that `Link.steadily` makes a new connection for.
    """

    def __init__(self, function: str, kinds: str, condition: str = "") -> None:
        """Call *function* with arguments of *kinds*, type names with spaces between them.

        *condition* is SQL of settings and times; `{at}` in it is one more argument, an instant in
        nanoseconds or null. Where it is false, the function is not called.
        """
        marks = [f"${n}::{kind}" for n, kind in enumerate(kinds.split(), start=1)]
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
        given: list[Buffer | None] = [
            None if value is None else str(value).encode() for value in values
        ]
        # The server reads a text up to its first NUL, and would keep less than it was given.
        if b"\0" in b"".join(filter(None, given)):
            raise unstorable("\0")
        server = connection.pgconn
        if pooled:
            return _only_row(connection, server.exec_params(self._query, given))
        if connection is not self._connection:
            _check(connection, server.prepare(self._name, self._query))
            self._connection = connection
        # The driver's types forget that null is a value here, too.
        return _only_row(connection, server.exec_prepared(self._name, cast("list[Buffer]", given)))


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


def _is_idle(connection: Connection) -> bool:
    """Return whether the session is between transactions and speaks UTF-8, as it was made."""
    server = connection.pgconn
    return (
        server.transaction_status == TransactionStatus.IDLE
        and server.parameter_status(b"client_encoding") == _UTF8
    )


def _check(connection: Connection, answer: PGresult) -> None:
    if answer.status not in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
        raise error_from_result(answer, encoding=connection.info.encoding)


def connect(url: PostgresUrl) -> Connection:
    """Return a new connection that commits each statement by itself.

    Raises:
        StoreUnavailable: The server cannot be reached, or refuses the user or the database.
    """
    try:
        return _connected(url)
    except psycopg.Error as error:
        raise_from(error, url)


def _connected(url: PostgresUrl) -> Connection:
    try:
        return psycopg.connect(url.conninfo, autocommit=True, prepare_threshold=2)
    except psycopg.Error as error:
        # These do not pass by themselves.
        if _refusal(str(error)).startswith(("28", "3D")):
            raise_from(error, url)
        raise


def is_pooled(connection: Connection) -> bool:
    """Return whether a pooler answers: the process it names is not the one that serves."""
    row = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    return row is not None and row[0] != connection.info.backend_pid


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
        raise StoreUnavailable(store=url.name, detail=_MEANINGS["25006"])
    off = [name for name, value in settings.items() if value == "off"]
    if off and not url.unsafe:
        named = " and ".join(off)
        detail = (
            f"the server has {named} off and may forget what it acknowledged: switch on, "
            "or say '?unsafe=test' in the URL of a test"
        )
        raise StoreUnavailable(store=url.name, detail=detail)


OLDEST: Final = 15
_READS: Final = "transaction_read_only"
_ENCODING: Final = "server_encoding"


def durability(connection: Connection) -> dict[str, str]:
    """Return the settings that decide whether a commit is made and survives a power cut."""
    return _settings(connection, (*DURABLE, _READS))


def _settings(connection: Connection, names: Collection[str]) -> dict[str, str]:
    query = "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS s (name)"
    rows = connection.execute(query, ([*names],), prepare=False).fetchall()
    return {str(name): str(value) for name, value in rows}


def raise_from(error: Exception, url: PostgresUrl) -> NoReturn:
    """Raise what *error* of the driver means to users, without the password."""
    if isinstance(error, EarmarkError):
        raise error
    # No `from error`: a traceback would print the driver's own words, and they are not ours.
    raise _meant(error, url) from None


def unstorable(text: str) -> InvalidKey:
    """Return the refusal of a text with the character *text*, which PostgreSQL cannot keep."""
    return InvalidKey(text=text, want="text without NUL and without half characters", kind="text")


def _meant(error: Exception, url: PostgresUrl) -> EarmarkError:
    if isinstance(error, psycopg.DataError) and not error.sqlstate:
        # The one value that the driver itself refuses is a text with a NUL.
        return unstorable("\0")
    state = _state(error) or _refusal(str(error))
    said = url.hide(" ".join(_said(error).split()))
    for start, detail in _MEANINGS.items():
        if state.startswith(start):
            return StoreUnavailable(store=url.name, detail=f"{detail} ({said})")
    if state.startswith(_OF_VALUES) and state not in _AGAIN:
        # One operation's: the others of its batch are not at fault.
        detail = f"the server refused a value; nothing was changed ({said})"
        return StoreError(store=url.name, detail=detail)
    if state[:2] in {"XX", "42"}:
        return StoreCorrupt(store=url.name, detail=f"the server cannot use its tables ({said})")
    return StoreUnavailable(store=url.name, detail=f"{said}; ask again with the same key")


_MEANINGS: Final = {
    "28": "the server does not let this user in: check name and password",
    "3D": "there is no such database: make it, or correct the URL",
    "42501": "this user lacks a right: nothing was changed",
    "53100": "the server's disk is full; nothing was changed: free some space and ask again",
    "53": "the server has no room for this now: ask again",
    "25006": "this server only reads: give the address of the one that writes",
    "55P03": "a lock was not free in time; nothing was changed: ask again",
    "57014": "the server took too long; nothing was changed: ask again",
}


def _refusal(said: str) -> str:
    """Return the code of a refused connection, which libpq gives as a sentence only."""
    return next((state for state, words in _REFUSALS.items() if words in said), "")


_REFUSALS: Final = {
    "28P01": "authentication failed",
    "28000": "pg_hba.conf",
    "3D000": "does not exist",
    "53300": "too many clients",
}


def _said(error: Exception) -> str:
    """Return the server's sentence without the rows and statements it adds, or the driver's."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or str(error)


def _state(error: Exception) -> str:
    return (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""
