"""Statements for people: a row for each attempt, then what it came to."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from earmark.cli.session import AnswerPart
from earmark.cli.table import Table
from earmark.clock import NANOS_PER_SECOND
from earmark.runs.statement import Statement
from earmark.runs.statement_line import LineOutcome, StatementLine

_NUMBERS: Final = (">hold", ">settled", ">tokens", ">time")
_HEADINGS: Final = ("stage", "path", ">try", "outcome", *_NUMBERS, "")
_SHORT_ID: Final = 12
_MILLISECOND: Final = 1_000_000


def statement_parts(statement: Statement) -> list[AnswerPart | str]:
    """Return a statement, its output first."""
    output = [] if statement.output is None else [output_text(statement.output), ""]
    return [*output, lines_table(statement.lines), *_totals(statement)]


def lines_table(lines: Sequence[StatementLine]) -> Table:
    """Return the attempts of a run."""
    return Table(
        headings=_HEADINGS, rows=[_row(line) for line in lines], empty="no stage was attempted"
    )


def output_text(output: Any) -> str:  # noqa: ANN401 - JSON of any kind
    """Return a run's output: text as it is, anything else as JSON."""
    return output if isinstance(output, str) else json.dumps(output, indent=2, ensure_ascii=False)


def took(nanos: int) -> str:
    """Return a stretch of time: `1.24s`, `3.1ms`."""
    if nanos < 10 * _MILLISECOND:
        return f"{nanos / _MILLISECOND:.1f}ms"
    return f"{nanos / NANOS_PER_SECOND:.2f}s"


def remark(line: StatementLine) -> str:
    """Return what is worth knowing of an attempt beside its numbers."""
    return "; ".join(part for part in _remarks(line) if part)


def _remarks(line: StatementLine) -> Iterable[str]:
    yield line.model or ""
    yield line.mark
    yield f"overrun {line.overrun}" if line.overrun else ""
    yield "" if line.clamped_to is None else f"max_tokens lowered to {line.clamped_to}"
    if line.outcome is not LineOutcome.OK:
        yield line.detail.partition("\n")[0]
    yield line.note


def _row(line: StatementLine) -> tuple[str, ...]:
    books = (str(line.hold), str(line.settled)) if line.key else ("", "")
    return (
        line.stage if line.stage != line.stage_id else line.stage[:_SHORT_ID],
        line.path or "/",
        str(line.attempt),
        f"{line.outcome}, presumed" if line.presumed else str(line.outcome),
        *books,
        "" if line.usage is None else f"{line.usage.tokens:,}",
        took(line.duration_ns),
        remark(line),
    )


def _totals(statement: Statement) -> Iterable[str]:
    yield (
        f"run {statement.run_id} {statement.status}: {statement.spent} of {statement.limit} USD"
        f" spent on '{statement.budget}' in {took(statement.duration_ns)}"
    )
    if statement.presumed:
        yield f"{statement.presumed} USD of it is presumed: what those calls cost is not known"
    if statement.held:
        yield f"{statement.held} USD still held (`earmark holds --run {statement.run_id}`)"
    if statement.overrun:
        yield f"{statement.overrun} USD above the holds"
    if statement.unaccounted:
        yield f"WARNING: the ledger has {statement.unaccounted} USD that no line explains"
    for warning in statement.warnings:
        yield f"warning: {warning}"
