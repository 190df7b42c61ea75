"""`earmark quilt`: the agents' shared memory, patch by patch."""

import json as jsonlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from earmark.cli.inputs import read_input
from earmark.cli.session import Session, command, group
from earmark.cli.store_access import open_existing, operator
from earmark.cli.table import Table
from earmark.clock import to_datetime
from earmark.errors import NotFound
from earmark.quilt.quilt import Patch, Quilt
from earmark.stores.open_tables import open_tables
from earmark.workspace.resources.agents import PATCH

app = group("Get, put and list patches of the agents' shared memory.")

TypeArgument = Annotated[
    str, typer.Argument(metavar="TYPE", help="What it is about: budget, control.")
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Which one: budget_2026-11-22.")]
LimitOption = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")]

_HEADINGS: Final = ("type", "name", ">version", "author", "written", "data")
_SHOWN: Final = 60


@command(app)
def get(session: Session, type: TypeArgument, name: NameArgument) -> None:  # noqa: A002 - the argument's name
    """Show a patch as it stands."""
    with _quilt(session) as quilt:
        try:
            patch = quilt.get(type, name)
        except NotFound as missing:
            missing.hint = "`earmark quilt list` shows what there is"
            raise
    session.answer(PATCH.encode(patch), *_shown(patch))


@command(app)
def put(
    session: Session,
    type: TypeArgument,  # noqa: A002 - the argument's name
    name: NameArgument,
    data: Annotated[
        str, typer.Argument(metavar="JSON", help="A JSON object, @FILE that holds one, or -.")
    ],
    *,
    expected: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Only if version N stands; 0: only if there is none."
        ),
    ] = None,
    author: Annotated[str | None, typer.Option(help="Who writes it; you unless given.")] = None,
) -> None:
    """Write the next version of a patch, or its first."""
    value = read_input(data, "JSON")
    with _quilt(session) as quilt:
        patch = quilt.put(type, name, value, author=author or operator(), expected=expected)
    session.answer(PATCH.encode(patch), *_shown(patch))


@command(app, "list")
def list_(
    session: Session,
    *,
    type: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option("--type", metavar="TYPE", help="Only of this type.")
    ] = None,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Only names that begin so.")] = "",
    limit: LimitOption = 1000,
) -> None:
    """List patches by type and name."""
    with _quilt(session) as quilt:
        _answer(session, quilt.find(type, prefix, most=limit))


@command(app)
def history(
    session: Session,
    type: TypeArgument,  # noqa: A002 - the argument's name
    name: NameArgument,
    *,
    limit: LimitOption = 100,
) -> None:
    """List the versions of a patch, the newest first."""
    with _quilt(session) as quilt:
        _answer(session, quilt.history(type, name, limit))


@contextmanager
def _quilt(session: Session) -> Generator[Quilt]:
    with open_existing(session) as ledger:
        tables = open_tables(ledger.store)
        try:
            yield Quilt(tables, ledger.clock)
        finally:
            tables.close()


def _shown(patch: Patch) -> tuple[str, str]:
    head = f"{patch.type} {patch.name}, version {patch.version} by {patch.author}"
    data = jsonlib.dumps(patch.data, indent=2, ensure_ascii=False)
    return f"{head}, {_moment(patch.updated_at)}", data


def _answer(session: Session, found: list[Patch]) -> None:
    table = Table(headings=_HEADINGS, rows=[_row(each) for each in found], empty="no patches")
    session.answer({"patches": [PATCH.encode(each) for each in found]}, table)


def _row(patch: Patch) -> tuple[str, ...]:
    data = jsonlib.dumps(patch.data, ensure_ascii=False)
    cut = data if len(data) <= _SHOWN else f"{data[:_SHOWN]}…"
    moment = _moment(patch.updated_at)
    return patch.type, patch.name, str(patch.version), patch.author, moment, cut


def _moment(instant: int) -> str:
    return f"{to_datetime(instant):%Y-%m-%d %H:%M:%S}Z"
