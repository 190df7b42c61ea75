"""Runs to write into a journal: how one begins, a line of it, how it ends."""

from typing import Any, Final

from earmark.clock import END_OF_TIME
from earmark.composition.ast import Composition, Sequential, Stage
from earmark.money import Money
from earmark.runs.journal import RunRecord
from earmark.runs.statement import RunStatus, Statement
from earmark.runs.statement_line import LineOutcome, StatementLine

GRAPH: Final = Composition(description="two", root=Sequential((Stage("work"), Stage("work"))))


def record(run_id: str, started_at: int = 1, *, alive_until: int = END_OF_TIME) -> RunRecord:
    """Return a run that begins, and goes on for ever unless told."""
    return RunRecord(
        run_id=run_id,
        composition_id=GRAPH.id,
        composition=GRAPH,
        input={"text": "ü\x00\\", "many": 10**30},
        budget=f"acme/run-{run_id}",
        limit=Money(1),
        started_at=started_at,
        alive_until=alive_until,
    )


def line(number: int, **facts: Any) -> StatementLine:
    """Return a line that can be told from others."""
    facts = {"outcome": LineOutcome.OK, "started_at": number, **facts}
    return StatementLine(
        path=f"/stages/{number}",
        stage="work",
        stage_id="id",
        number=number,
        attempt=1,
        **facts,
    )


def statement_of(run_id: str, *lines: StatementLine) -> Statement:
    """Return the end of a run."""
    return Statement(
        run_id=run_id,
        composition_id=GRAPH.id,
        budget=f"acme/run-{run_id}",
        limit=Money(1),
        status=RunStatus.OK,
        output={"text": "é"},
        error=None,
        lines=lines,
        spent=Money("0.1"),
        held=Money(0),
        unaccounted=Money(0),
        started_at=1,
        ended_at=2,
    )
