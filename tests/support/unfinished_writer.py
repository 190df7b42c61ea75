"""A writer of entries on PostgreSQL that has taken its number and does not commit."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.rows import ENTRY_COLUMNS
from support.last_resort import until
from support.ledger_books import STORES
from support.postgres_session import shared_or_skip


@contextmanager
def writing(url: str, tree: str) -> Iterator[tuple[psycopg.Connection[Any], int]]:
    """Give a transaction that has written an entry in *tree* and is not committed; its number."""
    place = PostgresUrl.parse(url)
    take = "UPDATE {s}.tree SET last = nextval('{s}.entry_seq'), entries = entries + 1"
    write = (
        f"INSERT INTO {{s}}.entry ({ENTRY_COLUMNS}) SELECT %s{ENTRY_COLUMNS[3:]}"  # noqa: S608
        " FROM {s}.entry WHERE budget = %s LIMIT 1"
    )
    with psycopg.connect(place.conninfo) as connection:
        number = connection.execute(
            f"{take} WHERE name = %s RETURNING last".replace("{s}", place.schema).encode(), (tree,)
        ).fetchall()[0][0]
        connection.execute(write.replace("{s}", place.schema).encode(), (number, tree))
        yield connection, number


def until_looked(folder: Path, reading: "Future[Any]") -> None:
    """Return once *reading* the books of *folder* has looked for who still writes, or has ended."""
    query = (
        "SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND query LIKE '%%virtualtransaction%%' AND query LIKE %s"
    )
    schema = PostgresUrl.parse(STORES["postgres"](folder)).schema
    with shared_or_skip().connect() as connection:
        until(
            lambda: (
                reading.done() or connection.execute(query.encode(), (f"%{schema}%",)).fetchall()
            )
        )
