"""A file that is closed by two threads at once stays open for whoever shares it."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from earmark.stores.sqlite import SqliteStore
from earmark.stores.tables_sqlite import SqliteTables
from support.last_resort import LAST_RESORT_S
from support.ledger_workers import in_threads


@pytest.mark.parametrize("closed", ["ledger", "tables"])
def test_two_threads_that_close_at_once_close_once(tmp_path: Path, closed: str) -> None:
    """What shares the file with them goes on."""
    store = SqliteStore(tmp_path / "books.db")
    tables = store.open_tables()
    one: SqliteStore | SqliteTables = store if closed == "ledger" else tables
    code, both, lines = type(one).close.__code__, threading.Barrier(2), threading.local()

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if frame.f_code is not code:
            return None
        lines.run = getattr(lines, "run", 0) + (event == "line")
        if event == "line" and lines.run == 2:
            # Where each has found out that it is open, if it asks.
            both.wait(LAST_RESORT_S)
        return trace

    def close() -> None:
        sys.settrace(trace)
        try:
            one.close()
        finally:
            sys.settrace(None)

    in_threads([close, close])
    if closed == "ledger":
        count = "SELECT count(*) FROM {schema}.nudge_mark"
        assert tables.read(lambda rows: rows.run(count)) == [(0,)]
        tables.close()
    else:
        assert store.budgets(None) == []
        store.close()
    assert not (tmp_path / "books.db-wal").exists()
