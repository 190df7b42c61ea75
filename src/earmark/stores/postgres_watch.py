"""How a process that waits hears of commits elsewhere: `LISTEN`, while somebody waits.

Writers only notify trees that somebody waits in: a notification takes a lock of the whole database.
So a watcher leaves word in the tree until when it wants to hear of it, and renews that.
"""

import threading
from collections.abc import Collection
from typing import Final

import psycopg

from earmark.clock import NANOS_PER_SECOND
from earmark.stores.postgres_errors import raise_from
from earmark.stores.postgres_link import Link
from earmark.stores.postgres_session import Connection
from earmark.stores.postgres_url import PostgresUrl

CHANNEL: Final = "earmark"
#: Seconds for which a watcher leaves word; it renews it at each look.
_REGISTERED_S: Final = 10
#: How often a pooler is asked, through which no notification comes.
_POLL_S: Final = 0.05

_REGISTER: Final = """
UPDATE {s}.tree SET waited_until = extract(epoch FROM clock_timestamp()) * 1000000000 + %s
WHERE name = %s
    AND waited_until < extract(epoch FROM clock_timestamp()) * 1000000000 + %s
"""
_HEAD: Final = "SELECT coalesce(sum(last), 0)::bigint FROM {s}.tree"


class PostgresWatch:
    """Tells that another process may have committed; for one thread at a time."""

    def __init__(self, url: PostgresUrl) -> None:
        self._url = url
        self._link = Link(url)
        self._listening: Connection | None = None
        self._lock = threading.Lock()
        self._changes = 0
        self._head = -1

    def wait(self, trees: Collection[str], seen: int, patience_s: float) -> int:
        """Return a number other than *seen* once something was committed in *trees*.

        It waits for at most *patience_s*, and not at all for what happened before the first call.

        Raises:
            StoreUnavailable: The server cannot be reached now.
        """
        with self._lock:
            try:
                connection = self._link.connection
                if connection is not self._listening:
                    self._listen(connection)
                self._register(connection, trees)
                self._read_head(connection)
                if self._changes == seen:
                    self._await_commit(connection, patience_s)
            except psycopg.Error as error:
                self._drop()
                raise_from(error, self._url)
            except BaseException:
                # Interrupted, perhaps between a statement and its answer.
                self._drop()
                raise
            return self._changes

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._link.drop()
        self._listening = None

    def _listen(self, connection: Connection) -> None:
        if not self._link.pooled:
            connection.execute(f"LISTEN {CHANNEL}".encode())
        self._listening = connection

    def _register(self, connection: Connection, trees: Collection[str]) -> None:
        span = _REGISTERED_S * NANOS_PER_SECOND
        # One by one: who locks several trees at once, as a batch does, must keep their order.
        for tree in trees:
            connection.execute(self._sql(_REGISTER), (span, tree, span // 2))

    def _read_head(self, connection: Connection) -> None:
        """Count a change if there are new entries since the last look."""
        ((head,),) = connection.execute(self._sql(_HEAD)).fetchall()
        if head != self._head:
            # In this order: interrupted in between, it counts one change twice, not never.
            self._changes += 1
            self._head = head

    def _await_commit(self, connection: Connection, patience_s: float) -> None:
        if self._link.pooled:
            threading.Event().wait(min(patience_s, _POLL_S))
        else:
            for _ in connection.notifies(timeout=patience_s, stop_after=1):
                pass
        self._read_head(connection)

    def _sql(self, text: str) -> bytes:
        return text.replace("{s}", f'"{self._url.schema}"').encode()
