"""`earmark store`: what the books are kept in: its state, its migrations, a copy of it."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from earmark.cli.progress import ProgressLine
from earmark.cli.session import Session, command, group
from earmark.cli.store_access import settings_of, store_of
from earmark.cli.table import Table
from earmark.clock import SystemClock, iso
from earmark.stores.copy import CopyReport, copy_store
from earmark.stores.migrations import Applied, Migration
from earmark.stores.open_upkeep import open_upkeep
from earmark.stores.upkeep import Status, Upkeep

app = group("Show, migrate and copy what the books are kept in.")


@command(app)
def status(session: Session) -> None:
    """Show the migrations, the number of rows and how durable a commit is; changes nothing."""
    found = _upkeep(session).status()
    session.answer(_status_json(found), *_status_lines(found))


@command(app)
def migrate(
    session: Session,
    *,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish",
            help="Also what older programs do not survive: none of them may run any more.",
        ),
    ] = False,
) -> None:
    """Bring the tables up to what this program needs; what is done is not done again."""
    upkeep = _upkeep(session)
    done = upkeep.migrate(finish=finish)
    left = upkeep.status().schema_state.pending
    form = {"store": upkeep.name, "applied": _names(done), "pending": _names(left)}
    session.answer(form, *_migrate_lines(done, left))


@command(app)
def copy(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="FROM", help="The URL of the store to copy.")],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="The URL of an empty store, made if there is none.")
    ],
    *,
    with_holds: Annotated[
        bool, typer.Option("--with-holds", help="Copy open holds too: they are open in both then.")
    ] = False,
) -> None:
    """Copy a store to an empty one, audited on both sides before it is kept: all or nothing.

    Stop the programs that use FROM before, and give them TO afterwards.
    """
    clock = SystemClock()
    with ProgressLine(clock, sys.stderr) as progress:
        report = copy_store(
            source,
            target,
            with_holds=with_holds,
            clock=clock,
            progress=lambda what, rows: progress.tell(f"{rows:,} {what}"),
        )
    session.answer(_copy_json(report), *_copy_lines(report))
    if report.missed:
        session.tell("FROM was written to meanwhile; the copy does not have that: copy again")


def _upkeep(session: Session) -> Upkeep:
    return open_upkeep(store_of(session, settings_of(session)), SystemClock())


# As JSON and for people ---------------------------------------------------------------------------


def _status_json(found: Status) -> dict[str, Any]:
    return {
        "store": found.store,
        "engine": found.engine,
        "applied": [_applied_json(each) for each in found.schema_state.applied],
        "pending": _names(found.schema_state.pending),
        "unknown": _names(found.schema_state.unknown),
        "rows": found.rows,
        "open_holds": found.open_holds,
        "settings": found.settings,
    }


def _applied_json(each: Applied) -> dict[str, Any]:
    return {"migration": str(each.migration), "at": iso(each.at) if each.at else None}


def _names(migrations: tuple[Migration, ...]) -> list[str]:
    return [str(each) for each in migrations]


def _status_lines(found: Status) -> list[Table | str]:
    schema_state = found.schema_state
    states = {
        **{str(each.migration): _when(each.at) for each in schema_state.applied},
        **{str(each): "applied, not known to this program" for each in schema_state.unknown},
        **{str(each): "pending" for each in schema_state.pending},
    }
    return [
        f"{found.store} · {found.engine}",
        " · ".join(f"{name} {value}" for name, value in found.settings.items()),
        Table(headings=("migration", "applied"), rows=list(states.items()), empty="no migrations"),
        *_rows_lines(found.rows, found.open_holds),
    ]


def _when(at: int) -> str:
    return f"{iso(at)[:19]}Z" if at else "before it was noted"


def _rows_lines(rows: Mapping[str, int], open_holds: int) -> list[Table | str]:
    if not rows:
        return ["the tables are not those this program knows"]
    listed = [(table, f"{count:,}") for table, count in rows.items()]
    held = "1 hold is" if open_holds == 1 else f"{open_holds:,} holds are"
    return [Table(headings=("table", ">rows"), rows=listed), f"{held} open"]


def _migrate_lines(done: tuple[Migration, ...], left: tuple[Migration, ...]) -> list[str]:
    finish = "when no older program runs any more, `earmark store migrate --finish` applies"
    return [
        *(f"applied {each}" for each in done),
        *([] if done else ["nothing to apply"]),
        *([f"{finish} {', '.join(_names(left))}"] if left else []),
    ]


def _copy_json(report: CopyReport) -> dict[str, Any]:
    return {
        "source": report.source,
        "target": report.target,
        "rows": report.rows,
        "settled": report.audit.settled,
        "held": report.audit.held,
        "unresolved": report.audit.unresolved,
        "missed": report.missed,
    }


def _copy_lines(report: CopyReport) -> list[Table | str]:
    listed = [(table, f"{count:,}") for table, count in report.rows.items()]
    return [
        f"copied {report.source} to {report.target}",
        Table(headings=("table", ">rows"), rows=listed),
        f"on both sides: settled {report.audit.settled} USD · held {report.audit.held} USD",
    ]
