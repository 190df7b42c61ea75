"""`earmark audit`: whether the books are what their entries say."""

import sys
from dataclasses import asdict

import typer

from earmark.cli.progress import ProgressLine
from earmark.cli.session import Session, command, group
from earmark.cli.store_access import open_existing
from earmark.clock import SystemClock
from earmark.ledger.audit import AuditReport
from earmark.ledger.audit import audit as recompute
from earmark.ledger.commit_time import entries_ahead

app = group("Recompute every balance from the entries and compare.")


@command(app)
def audit(session: Session) -> None:
    """Recompute every balance from the entries and compare; changes nothing."""
    with open_existing(session) as ledger, ProgressLine(SystemClock(), sys.stderr) as progress:
        ahead = ledger.ahead()
        report = recompute(ledger.store, lambda what, rows: progress.tell(f"{rows:,} {what} read"))
    session.answer({**asdict(report), "ahead_s": ahead.total_seconds()}, *_lines(report))
    if ahead:
        session.tell(entries_ahead(ahead))
    if not report.ok:
        session.tell(f"the books are wrong in {len(report.problems)} places: restore a backup")
        raise typer.Exit(1)


def _lines(report: AuditReport) -> list[str]:
    verdict = "every balance equals its entries" if report.ok else "the books are wrong"
    reservations = f"{report.reservations:,} ({report.unresolved:,} unresolved)"
    return [
        verdict,
        f"entries {report.entries:,} · reservations {reservations} · accounts {report.accounts:,}",
        f"settled {report.settled} USD · held {report.held} USD",
        *_observed(report),
        *(f"over its limit: {each}" for each in report.over),
        *(f"wrong: {each}" for each in report.problems),
    ]


def _observed(report: AuditReport) -> list[str]:
    if not report.would_refuse:
        return []
    refused = f"{report.would_refuse:,} operations of {report.would_refuse_usd} USD"
    return [f"accepted in observed trees, where a limit would have refused: {refused}"]
