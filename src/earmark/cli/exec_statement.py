"""The statement of a command, on standard error: standard output is the command's own."""

import os
import stat
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from earmark.cli.session import Session, write_json
from earmark.cli.table import Table

if TYPE_CHECKING:
    from earmark.workspace.session_statement import SessionStatement

_HEADINGS = ("model", ">calls", ">settled", ">held")


def write_statement(
    session: Session,
    statement: "SessionStatement",
    program: str,
    exit_code: int,
    file: TextIO | None,
) -> None:
    """Write what the calls of *program* came to: for people, or as JSON if that was asked for.

    And as JSON to *file*, if there is one.
    """
    form = {**statement.to_json(), "exit_code": exit_code}
    if file is not None:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # no pipe, no terminal
            file.truncate(0)
        write_json(form, file)
    if session.json:
        write_json(form, sys.stderr)
    else:
        sys.stderr.writelines(f"{line}\n" for line in _lines(statement, program))


def _lines(statement: "SessionStatement", program: str) -> Iterator[str]:
    totals = statement.totals()
    books = "" if statement.store is None else f" in {statement.store}"
    yield f"earmark: {statement.budget}{books}"
    if statement.models:
        rows = [
            (model, str(each.calls), str(each.settled), str(each.held))
            for model, each in statement.models.items()
        ]
        yield from Table(headings=_HEADINGS, rows=rows).lines()
    elif not statement.refusals:
        yield (
            f"no call came: '{program}' asked no model, or does not read its API's address from the"
            " environment"
        )
    limit = "" if statement.limit is None else f" of {statement.limit}"
    left = "" if statement.left is None else f", {statement.left} left"
    calls = "1 call" if totals.calls == 1 else f"{totals.calls} calls"
    yield f"{calls}: {totals.settled}{limit} USD settled, {totals.held} held{left}"
    if statement.observed:
        root = statement.budget.partition("/")[0]
        yield f"observed: no limit of '{root}' or below binds, nor the command's own"
    if totals.released:
        yield f"{totals.released} more failed and were not billed"
    if totals.presumed:
        can = "once you know what one cost," if statement.store else "whoever runs the gateway can:"
        yield (
            f"{totals.presumed} USD of it is presumed: what those calls cost is not known."
            f" `earmark holds --budget {statement.budget}` lists their keys; {can}"
            " `earmark holds settle KEY USD` books it and frees the rest"
        )
    if statement.refusals:
        reasons = ", ".join(f"{count} {name}" for name, count in statement.refusals.items())
        yield f"refused: {reasons}; at last: {statement.last_refusal}"
