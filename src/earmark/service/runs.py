"""Runs as the service lists them: where a page goes on, and one with its lines."""

from typing import Final

from starlette.concurrency import run_in_threadpool

from earmark.runs.journal import RunKey, RunRecord, RunSummary
from earmark.runs.reconcile import reconciled
from earmark.service.paging import after_texts, strange_cursor
from earmark.workspace.workspace import Workspace

_LATEST_START: Final = (1 << 63) - 1


async def run_of(workspace: Workspace, run_id: str) -> RunRecord:
    """Return a run, the lines of one without a statement as the books have them now.

    Raises:
        NotFound: The journal has no such run.
    """
    record = await workspace.journal.get(run_id)
    return await run_in_threadpool(reconciled, record, workspace.ledger)


def mark_of(run: RunSummary) -> list[str]:
    """Return what the list goes on after, if *run* is the last of a page."""
    return [str(run.started_at), run.run_id]


def key_at(cursor: str | None) -> RunKey | None:
    """Return the run that *cursor* names; None without one.

    Raises:
        Problem: 400: it is not one of this list.
    """
    if not cursor:
        return None
    at, run_id = after_texts(cursor, 2)
    if not at.isdecimal() or not at.isascii() or int(at) > _LATEST_START:
        raise strange_cursor()
    return int(at), run_id
