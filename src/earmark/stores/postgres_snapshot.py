"""All rows of a PostgreSQL store as of one commit."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

import psycopg

from earmark.budget.budget import Budget
from earmark.ledger.values import Account, Entry, Reservation
from earmark.stores.postgres_errors import raise_from
from earmark.stores.postgres_rows import PostgresRows
from earmark.stores.postgres_session import BEGIN_SNAPSHOT, Connection
from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.rows import (
    ACCOUNT_COLUMNS,
    ENTRY_COLUMNS,
    OF_BUDGETS,
    RESERVATION_COLUMNS,
    account_of,
    entry,
    reservation,
)
from earmark.stores.tables import Row

_AT_ONCE: Final = 5_000

#: Where a tree is not what its entries say: numbers lost in the middle or at the end.
_TREES: Final = """
SELECT coalesce(t.name, e.name), t.entries, e.entries, t.last, e.last
FROM {s}.tree t FULL JOIN (
    SELECT split_part(budget, '/', 1) AS name, count(*) AS entries, max(seq) AS last
    FROM {s}.entry GROUP BY 1
) e ON e.name = t.name
WHERE (t.entries, t.last) IS DISTINCT FROM (coalesce(e.entries, 0), coalesce(e.last, 0))
ORDER BY 1
"""


class PostgresSnapshot:
    """All rows as of one commit; other processes go on writing meanwhile."""

    gapless: bool = False

    def __init__(self, connection: Connection, url: PostgresUrl) -> None:
        """Read through *connection*, which is closed in the end."""
        self._connection = connection
        self._url = url
        self._names = count()
        with self._translated():
            connection.execute(BEGIN_SNAPSHOT, prepare=False)

    def budgets(self) -> list[Budget]:
        """Return every budget."""
        rows = PostgresRows(self._url.schema)
        rows.connection = self._connection
        with self._translated():
            return rows.budgets(None)

    def accounts(self) -> Iterator[Account]:
        """Yield every account."""
        return map(account_of, self._stream(ACCOUNT_COLUMNS, "account", "id"))

    def reservations(self) -> Iterator[Reservation]:
        """Yield every reservation."""
        return map(reservation, self._stream(RESERVATION_COLUMNS, "reservation", "seq"))

    def entries(self) -> Iterator[Entry]:
        """Yield every entry; those of one tree in the order of commits."""
        return map(entry, self._stream(ENTRY_COLUMNS, "entry", "seq"))

    def budget_changes(self) -> Iterator[Entry]:
        """Yield the entries that changed a budget; those of one tree in the order of commits."""
        return map(entry, self._stream(ENTRY_COLUMNS, "entry", "seq", OF_BUDGETS))

    def table(self, name: str, columns: str) -> Iterator[Row]:
        """Yield *columns* of every row of a table as they are stored."""
        return self._stream(columns, name, columns.partition(",")[0])

    def problems(self) -> list[str]:
        """Return where trees and entries disagree: each tree counts its entries."""
        with self._translated():
            rows = self._connection.execute(self._sql(_TREES)).fetchall()
        return list(map(_problem, rows))

    def close(self) -> None:
        """End the snapshot."""
        self._connection.close()

    def _stream(self, columns: str, table: str, order: str, where: str = "TRUE") -> Iterator[Row]:
        query = self._sql(f"SELECT {columns} FROM {{s}}.{table} WHERE {where} ORDER BY {order}")
        with (
            self._translated(),
            self._connection.cursor(name=f"earmark_{next(self._names)}") as cursor,
        ):
            cursor.itersize = _AT_ONCE
            yield from cursor.execute(query)

    def _sql(self, text: str) -> bytes:
        return text.replace("{s}", f'"{self._url.schema}"').encode()

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise_from(error, self._url)


def _problem(row: Row) -> str:
    name, counted, found, last, highest = row
    return (
        f"tree '{name}' counted {counted or 0} entries to number {last or 0}, "
        f"and has {found or 0} to number {highest or 0}"
    )
