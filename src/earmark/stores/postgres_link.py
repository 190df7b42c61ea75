"""One connection to PostgreSQL that is opened again when it was lost, and what it repeats then."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import psycopg

from earmark.ledger.owner_process import OwnerProcess
from earmark.stores.postgres_errors import (
    LOST,
    REFUSED_HERE,
    REPEATABLE,
    raise_from,
    state_of,
    unstorable,
)
from earmark.stores.postgres_session import (
    Connection,
    check_server,
    is_idle,
    open_connection,
    set_up,
)
from earmark.stores.postgres_url import PostgresUrl

T = TypeVar("T")

#: What a lost connection or a conflict is worth: about twelve seconds of trying again, which is
#: longer than a server takes to start or a partition to be noticed.
PAUSES_S: Final = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 4.0)


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
        if held is None or held.closed or not is_idle(held):
            self.drop()
            held = self._connect()
        return held

    def _connect(self) -> Connection:
        # Known at once: whoever is interrupted drops it.
        made = self._connection = open_connection(self.url)
        try:
            check_server(made, self.url)
            if self._check_more is not None:
                self._check_more(made)
            self.pooled = not set_up(made)
        except BaseException:
            self.drop()
            raise
        return made

    def _is_lost(self, error: psycopg.Error) -> bool:
        held = self._connection
        if held is None or held.closed:
            return True
        state = state_of(error)
        # What has no code is the driver's own trouble with the connection, not the server's answer.
        return state.startswith(LOST) if state else not isinstance(error, REFUSED_HERE)

    def drop(self) -> None:
        """Close the connection: the next use makes a new one. Interrupted, it is called again."""
        held = self._connection
        # In a forked child the socket is the parent's: closing it would say goodbye in its name.
        if held is not None and self._process.is_this:
            with suppress(psycopg.Error):
                held.close()
        # Last: one that is not closed yet is found here again, and with it what it has locked.
        self._connection = None

    def retry(self, work: Callable[[], T], undone: Callable[[], None] = lambda: None) -> T:
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
            return self._try_again(work, undone)
        except Exception:
            raise
        except BaseException:
            undone()
            self.drop()
            raise

    def _try_again(self, work: Callable[[], T], undone: Callable[[], None]) -> T:
        for left in reversed(range(len(PAUSES_S))):
            try:
                return work()
            except psycopg.Error as error:
                undone()
                if self._is_lost(error):
                    self.drop()
                elif state_of(error) not in REPEATABLE:
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
