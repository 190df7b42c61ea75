"""Tables in a SQLite file, beside the ledger's: `earmark.stores.tables`."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import apsw

from earmark.errors import StoreClosed
from earmark.stores.sqlite_engine import SqliteEngine
from earmark.stores.tables import Row, Rows

T = TypeVar("T")


class SqliteTables:
    """The tables of a file, on the connections of its engine."""

    def __init__(self, engine: SqliteEngine) -> None:
        """Use *engine*, of which this is one user until it is closed."""
        engine.share(self)
        self._engine = engine
        self._is_closed = False

    @property
    def name(self) -> str:
        """The store's URL."""
        return self._engine.name

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Do *work* in one durable transaction; a file has one writer, whatever the lock.

        Once more if the disk failed: what was kept is found, or nothing was.
        """
        del lock
        self._check_open()
        engine = self._engine
        return engine.transaction(lambda: work(SqliteTableRows(engine.writer)))

    def read(self, work: Callable[[Rows], T]) -> T:
        """Do *work* on one commit."""
        self._check_open()
        engine = self._engine
        return engine.read(lambda: work(SqliteTableRows(engine.reader)), as_of_one_commit=True)

    def close(self) -> None:
        """Let go of the file."""
        self._is_closed = True
        self._engine.close(self)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed(store=self.name, detail="closed")


class SqliteTableRows:
    """One connection's tables."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, *values: Any) -> list[Row]:  # noqa: ANN401 - apsw's values
        """Run one statement and return its rows."""
        return self._connection.execute(_in_main(sql), values).fetchall()


@cache
def _in_main(sql: str) -> str:
    return sql.replace("{schema}.", "main.")
