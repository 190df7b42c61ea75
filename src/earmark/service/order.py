"""Lists in the order of commits, also where several trees of budgets commit at the same time.

On PostgreSQL each tree takes its numbers under its own lock, so a number may be there to be read
before a lower one of another tree. Whoever went on after it would never see the lower one. A list
of more than one tree therefore ends at the last number that none can come before any more.
"""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from earmark.ledger.store import Filter
from earmark.ledger.values import Alert, Entry, Reservation
from earmark.service.problems import Problem
from earmark.stores.tables import Rows
from earmark.workspace.workspace import Workspace

T = TypeVar("T", Entry, Reservation, Alert)

_POSTGRES: Final = "postgresql"
#: How often, and after which pause, it is looked whether those who write have finished.
LOOKS: Final = 200
_PAUSE_S: Final = 0.005

_LAST: Final = "SELECT last_value FROM {schema}.entry_seq"
#: Whoever takes numbers has locked rows of this table first, and keeps it until all is seen.
_WRITERS: Final = (
    "SELECT DISTINCT virtualtransaction FROM pg_locks"
    " WHERE relation = CAST('{schema}.tree' AS regclass) AND locktype = 'relation'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (mode = 'RowShareLock' OR mode = 'RowExclusiveLock')"
)


def in_order(workspace: Workspace, wanted: Filter, read: Callable[[Filter], list[T]]) -> list[T]:
    """Return what *read* finds, up to where nothing that is *wanted* can come in between.

    Raises:
        Problem: 503: somebody who writes does not finish.
    """
    if wanted.budget or wanted.key or not workspace.ledger.store.url.startswith(_POSTGRES):
        return read(wanted)
    last = _complete(workspace)
    return [each for each in read(wanted) if each.seq <= last]


def _complete(workspace: Workspace) -> int:
    """Return a number up to which everything that was ever numbered is there to be read."""
    ((last,),) = workspace.tables.read(lambda rows: rows.run(_LAST))
    waited_for = workspace.tables.read(_writers)
    for _ in range(LOOKS):
        if not waited_for:
            return last
        threading.Event().wait(_PAUSE_S)
        waited_for &= workspace.tables.read(_writers)
    detail = "somebody writes to the books and does not finish: ask again, or for one budget"
    raise Problem(503, "store_unavailable", detail, headers={"Retry-After": "1"})


def _writers(rows: Rows) -> set[str]:
    return {number for (number,) in rows.run(_WRITERS)}
