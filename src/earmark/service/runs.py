"""Runs as the service lists them: in pages, read on the workspace's own connections."""

from typing import Final

from starlette.concurrency import run_in_threadpool

from earmark.money import Money
from earmark.runs.journal import Journal, RunRecord, RunSummary
from earmark.runs.journal_tables import TablesJournal
from earmark.runs.journals import journal_beside
from earmark.runs.reconcile import reconciled
from earmark.runs.statement import Status
from earmark.service.paging import after_texts, strange_cursor
from earmark.stores.tables import Row
from earmark.workspace.workspace import Workspace

#: After which run a list goes on: when it began, and its id.
Place = tuple[int, str]

#: Above every instant: the first page begins there.
_LAST: Final = (1 << 63) - 1
_IN_MEMORY: Final = "memory:"
_RUNS: Final = (
    "SELECT run_id, composition_id, budget, limit_usd, started_at, status, alive_until"
    " FROM {schema}.run"
    " WHERE started_at < ? OR started_at = ? AND run_id < ?"
    " ORDER BY started_at DESC, run_id DESC LIMIT ?"
)


def journal_at(workspace: Workspace) -> Journal:
    """Return the journal beside *workspace*'s books; it opens nothing, and is not to be closed."""
    store = workspace.ledger.store
    return journal_beside(store) if store.url == _IN_MEMORY else TablesJournal(workspace.tables)


async def get_run(workspace: Workspace, run_id: str) -> RunRecord:
    """Return a run, the lines of one without a statement as the books have them now.

    Raises:
        NotFound: The journal has no such run.
    """
    record = await journal_at(workspace).get(run_id)
    return await run_in_threadpool(reconciled, record, workspace.ledger)


async def find_runs(workspace: Workspace, after: Place | None, most: int) -> list[RunSummary]:
    """Return a page of the runs, the newest first.

    Args:
        workspace: Beside whose books they are.
        after: The last run of the page before.
        most: How many at most.
    """
    at, run_id = after or (_LAST, "")
    if workspace.ledger.store.url == _IN_MEMORY:
        kept = await journal_at(workspace).runs(limit=_LAST)
        # Of one start the last comes first, as below.
        order = sorted(kept, key=lambda run: (run.started_at, run.run_id), reverse=True)
        found = [
            _listed(
                (
                    *(r.run_id, r.composition_id, r.budget, r.limit, r.started_at, r.status),
                    r.alive_until,
                )
            )
            for r in order
            if (r.started_at, r.run_id) < (at, run_id)
        ]
        return found[:most]
    rows = await run_in_threadpool(
        workspace.tables.read, lambda rows: rows.run(_RUNS, at, at, run_id, most)
    )
    return [_listed(row) for row in rows]


def mark_of(run: RunSummary) -> list[str]:
    """Return what the list goes on after, if *run* is the last of a page."""
    return [str(run.started_at), run.run_id]


def place_of(cursor: str | None) -> Place | None:
    """Return the place that *cursor* names; None without one.

    Raises:
        Problem: 400: it is not one of this list.
    """
    if not cursor:
        return None
    at, run_id = after_texts(cursor, 2)
    if not at.isdecimal() or not at.isascii() or int(at) > _LAST:
        raise strange_cursor()
    return int(at), run_id


def _listed(row: Row) -> RunSummary:
    run_id, composition_id, budget, limit, started_at, status, alive_until = row
    return RunSummary(
        run_id, composition_id, budget, Money(limit), started_at, Status(status), alive_until
    )
