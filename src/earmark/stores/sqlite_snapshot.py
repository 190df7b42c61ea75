"""All rows of a SQLite store as of one commit."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, Final

import apsw

from earmark.budget.budget import Budget
from earmark.ledger.store import Filter
from earmark.ledger.values import Account, Entry, Reservation
from earmark.stores.rows import ENTRY_COLUMNS, OF_BUDGETS, RESERVATION_COLUMNS, entry, reservation
from earmark.stores.sqlite_errors import translated
from earmark.stores.sqlite_file import SqliteFile
from earmark.stores.sqlite_rows import SqliteRows

_COPIED: Final = "SELECT last, entries FROM copied"
_FOUND: Final = """
SELECT
    count(*) FILTER (WHERE seq <= :last), count(*) FILTER (WHERE seq > :last),
    max(coalesce(max(seq), 0), :last)
FROM entry
"""


class SqliteSnapshot:
    """All rows as of one commit; other processes go on writing meanwhile."""

    def __init__(
        self, connection: apsw.Connection, name: str, file: SqliteFile | None = None
    ) -> None:
        """Read through *connection*, which is in a transaction, and is of *file* if that is given.

        Either is closed in the end.
        """
        self._connection = connection
        self._name = name
        self._file = file

    @property
    def gapless(self) -> bool:
        """Whether the entries are numbered without a gap: unless they came from PostgreSQL."""
        return self._copied() is None

    def budgets(self) -> list[Budget]:
        """Return every budget."""
        with translated(self._name):
            return SqliteRows(self._connection).budgets(None)

    def accounts(self) -> Iterator[Account]:
        """Yield every account."""
        with translated(self._name):
            yield from SqliteRows(self._connection).accounts()

    def reservations(self) -> Iterator[Reservation]:
        """Yield every reservation."""
        with translated(self._name):
            # Without their details, which are in the entries.
            query = f"SELECT {RESERVATION_COLUMNS} FROM reservation ORDER BY seq"
            yield from map(reservation, self._connection.execute(query))

    def entries(self) -> Iterator[Entry]:
        """Yield every entry in the order of commits."""
        with translated(self._name):
            yield from SqliteRows(self._connection).entries(Filter())

    def budget_changes(self) -> Iterator[Entry]:
        """Yield the entries that changed a budget, in the order of commits."""
        with translated(self._name):
            # By `seq` alone, SQLite would read the whole table to sort nothing.
            query = f"SELECT {ENTRY_COLUMNS} FROM entry WHERE {OF_BUDGETS} ORDER BY +seq"
            yield from map(entry, self._connection.execute(query))

    def table(self, name: str, columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield *columns* of every row of a table as they are stored."""
        with translated(self._name):
            yield from self._connection.execute(f"SELECT {columns} FROM {name}")

    def problems(self) -> list[str]:
        """Return what SQLite's own check of the file finds."""
        with translated(self._name):
            if self._file is not None:
                # What was read until now is worth nothing if it is not the file at its path.
                self._file.check()
            rows = self._connection.execute("PRAGMA integrity_check(20)")
            found = [str(row[0]) for row in rows]
            return [*([] if found == ["ok"] else found), *self._missing()]

    def _copied(self) -> tuple[int, int] | None:
        with translated(self._name):
            rows = self._connection.execute(_COPIED).fetchall()
        return (int(str(rows[0][0])), int(str(rows[0][1]))) if rows else None

    def _missing(self) -> list[str]:
        """Return what is missing among entries that were copied with gaps, and after them."""
        copied = self._copied()
        if copied is None:
            return []
        last, entries = copied
        ((upto, after, highest),) = self._connection.execute(_FOUND, {"last": last}).fetchall()
        counted = (entries, int(str(highest)) - last)
        if (upto, after) == counted:
            return []
        return [f"{upto} and {after} entries stand where {counted[0]} and {counted[1]} should"]

    def close(self) -> None:
        """End the snapshot."""
        if self._file is None:
            self._connection.close()
        else:
            self._file.close()
