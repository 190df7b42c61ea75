"""Books with millions of settled reservations, made by the database itself from one real one.

One reservation is opened and settled through the ledger; its rows are then copied under other keys
and numbers, so that the books are as right as if the ledger had written them: the audit agrees.
Nobody else may write meanwhile.
"""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import apsw
import psycopg

from benchmarks.load import COST, HOLD, LEAF, make_budgets
from earmark.stores.open import open_ledger
from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.rows import ENTRY_COLUMNS, RESERVATION_COLUMNS

#: So many rows a transaction: neither a log nor a memory grows with the table.
_AT_ONCE: Final = 250_000

#: `{s}` is the schema, `i` numbers the copies, `{series}` yields it, `{hex}` writes it. There are
#: two entries a reservation, and none may be earlier than the one before it.
_LEARN: Final = (
    "CREATE TEMP TABLE was AS SELECT * FROM {s}reservation WHERE \"key\" = '{key}'",
    "CREATE TEMP TABLE told AS SELECT * FROM {s}entry WHERE \"key\" = '{key}'",
)
_KEY: Final = 'substr("key", 1, 24) || {hex}'
_COPY: Final = (
    "INSERT INTO {s}reservation SELECT {reservation} FROM {series}, was ORDER BY i",
    "INSERT INTO {s}entry SELECT {entry} FROM {series}, told ORDER BY i, seq",
)
_BOOK: Final = (
    "UPDATE {s}account SET settled = settled + {copies} * (SELECT actual_usd FROM was)",
)
_BOOK_TREE: Final = (
    "UPDATE {s}tree SET entries = entries + 2 * {copies}, last = last + 2 * {copies}",
    "SELECT setval('{s}entry_seq', (SELECT max(last) FROM {s}tree))",
)
_SQLITE: Final = {
    "s": "",
    "series": "(WITH RECURSIVE n (i) AS (SELECT {low} UNION ALL SELECT i + 1 FROM n"
    " WHERE i < {high}) SELECT i FROM n)",
    "hex": "printf('%012x', i)",
}
_POSTGRES: Final = {
    "series": "generate_series({low}, {high}) AS n (i)",
    "hex": "lpad(to_hex(i), 12, '0')",
}


def fill(url: str, holds: int) -> None:
    """Make books at *url* with budgets and *holds* settled reservations."""
    with open_ledger(url) as ledger:
        make_budgets(ledger)
        if not holds:
            return
        key = ledger.reserve(LEAF, HOLD).key
        ledger.settle(key, COST)
    if url.startswith("sqlite:///"):
        _fill_sqlite(url.removeprefix("sqlite:///"), key, holds - 1)
    else:
        _fill_postgres(PostgresUrl.parse(url), key, holds - 1)


def _fill_sqlite(file: str, key: str, copies: int) -> None:
    with closing(apsw.Connection(file)) as database:
        # Until it is full nobody minds a power cut.
        database.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")
        for transaction in _transactions(_SQLITE, key, copies, _BOOK):
            with database:
                for statement in transaction:
                    database.execute(statement)
        # Now they do, and what is still to be written would slow down whatever is measured next.
        database.execute("PRAGMA synchronous = FULL; PRAGMA wal_checkpoint(TRUNCATE)")


def _fill_postgres(url: PostgresUrl, key: str, copies: int) -> None:
    dialect = {**_POSTGRES, "s": f'"{url.schema}".'}
    with psycopg.connect(url.conninfo, autocommit=True) as database:
        for transaction in _transactions(dialect, key, copies, (*_BOOK, *_BOOK_TREE)):
            with database.transaction():
                for statement in transaction:
                    database.execute(statement.encode())
        # As autovacuum leaves a table that was filled in months, not in minutes.
        for table in ("reservation", "entry", "account", "tree"):
            database.execute(f'VACUUM ANALYZE "{url.schema}".{table}'.encode())


def _transactions(
    dialect: dict[str, str], key: str, copies: int, book: tuple[str, ...]
) -> Iterator[list[str]]:
    def said(statements: tuple[str, ...], **parts: object) -> list[str]:
        return [each.format(**dialect, **parts) for each in statements]

    yield said(_LEARN, key=key)
    name = _KEY.format(**dialect)
    reservation = _columns(RESERVATION_COLUMNS, key=name, seq="seq + 2 * i", last="last + 2 * i")
    entry = _columns(
        ENTRY_COLUMNS,
        key=name,
        seq="seq + 2 * i",
        at="(SELECT max(at) FROM told)",
        prior="CASE prior WHEN 0 THEN 0 ELSE prior + 2 * i END",
    )
    for low in range(1, copies + 1, _AT_ONCE):
        series = dialect["series"].format(low=low, high=min(low + _AT_ONCE - 1, copies))
        parts = {**dialect, "series": series, "reservation": reservation, "entry": entry}
        yield [statement.format(**parts) for statement in _COPY]
    yield said(book, copies=copies)


def _columns(columns: str, **instead: str) -> str:
    """Return *columns* with those in *instead* replaced."""
    names = (name.strip() for name in columns.split(","))
    return ", ".join(instead.get(name.strip('"'), name) for name in names)
