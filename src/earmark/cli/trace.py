"""`earmark trace`: past runs, from the journal beside the books."""

from typing import Annotated, Final

import typer

from earmark.cli.runs import latest_runs, run_of
from earmark.cli.session import Session, command, group
from earmark.cli.statement import lines_table, statement_parts
from earmark.cli.store_access import open_existing
from earmark.cli.table import Table
from earmark.clock import iso
from earmark.runs.journal import RunRecord
from earmark.runs.statement import RunStatus
from earmark.workspace.resources.runs import RUN, RUN_STATEMENT

app = group("Show a past run, or list the latest ones.")

_HEADINGS: Final = ("run", "started", "status", "budget", ">limit usd", "composition")
_SHORT_ID: Final = 12


@command(app)
def trace(
    session: Session,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The run; the latest ones unless given.")
    ] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="List at most so many.")] = 20,
) -> None:
    """Show the statement of a run; without RUN, list the latest runs, newest first."""
    with open_existing(session) as ledger:
        if run is not None:
            _show(session, run_of(ledger, run), ledger.clock.instant())
        else:
            _list(session, latest_runs(ledger, limit), ledger.clock.instant())


def _list(session: Session, found: list[RunRecord], now: int) -> None:
    session.answer(
        {"runs": [RUN.encode(each, status=each.status_at(now)) for each in found]},
        Table(headings=_HEADINGS, rows=[_row(each, now) for each in found], empty="no runs"),
    )


def _show(session: Session, record: RunRecord, now: int) -> None:
    statement = record.statement
    if statement is not None:
        session.answer(statement.to_json(), *statement_parts(statement))
        return
    status = record.status_at(now)
    lines = [line.to_json() for line in record.lines]
    session.answer(
        RUN_STATEMENT.encode(record, status=status, lines=lines),
        lines_table(record.lines),
        f"run {record.run_id} has no statement: {_WITHOUT_STATEMENT[status]};"
        " one that was cut off cannot be resumed: run again, it starts anew and pays anew"
        f" (`earmark holds --run {record.run_id}` lists what is unresolved)",
    )


_WITHOUT_STATEMENT: Final = {
    RunStatus.RUNNING: "it runs, or was killed less than ten minutes ago",
    RunStatus.INTERRUPTED: "it was interrupted, for its process has been silent for ten minutes",
}


def _row(record: RunRecord, now: int) -> tuple[str, ...]:
    return (
        record.run_id,
        iso(record.started_at)[:19] + "Z",
        str(record.status_at(now)),
        record.budget,
        str(record.limit),
        record.composition_id[:_SHORT_ID],
    )
