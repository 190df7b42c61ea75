"""The lock of a tree of budgets, held by a test as another writer holds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from support.postgres_server import Server


@contextmanager
def locked(server: Server, schema: str, tree: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold the lock of *tree*, as another writer does."""
    with server.connect() as connection, connection.transaction():
        connection.execute(f"SELECT FROM {schema}.tree WHERE name = '{tree}' FOR UPDATE".encode())
        yield connection


def waiters(connection: psycopg.Connection[Any]) -> list[int]:
    """Return the backends that wait for a lock of *connection*."""
    rows = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    )
    return [int(pid) for (pid,) in rows]
