"""`earmark backup`: the books in one file, copied while they are in use."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from earmark.cli.progress import ProgressLine
from earmark.cli.session import Session, command, group
from earmark.cli.store_access import settings_of, store_of
from earmark.clock import SystemClock
from earmark.stores.backup import BackupReport, back_up

app = group("Copy the books while they are in use, and audit the copy.")


@command(app)
def backup(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A SQLite file to make.")],
) -> None:
    """Copy the books to FILE as of one commit, and audit the copy; nothing has to stop for it.

    A copy that the audit finds wrong is not kept. To restore, stop the programs, and put FILE where
    the books were (with `-wal` and `-shm` files of the old ones removed), or copy it into an empty
    store: `earmark store copy sqlite:///FILE postgresql://… --with-holds`.
    """
    clock = SystemClock()
    with ProgressLine(clock, sys.stderr) as progress:
        report = back_up(
            store_of(session, settings_of(session)),
            file,
            clock=clock,
            progress=lambda what, count: progress.tell(f"{count:,} {what}"),
        )
    session.answer(_json(report), *_lines(report))


def _json(report: BackupReport) -> dict[str, object]:
    audit = report.audit
    return {
        "store": report.source,
        "file": str(report.file),
        "bytes": report.size,
        "entries": audit.entries,
        "reservations": audit.reservations,
        "unresolved": audit.unresolved,
        "settled": audit.settled,
        "held": audit.held,
    }


def _lines(report: BackupReport) -> list[str]:
    audit = report.audit
    counts = f"{audit.entries:,} entries, {audit.reservations:,} reservations"
    return [
        f"copied {report.source} to {report.file}: {report.size:,} bytes",
        f"audited: {counts}, settled {audit.settled} USD, held {audit.held} USD",
    ]
