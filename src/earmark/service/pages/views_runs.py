"""Runs as the pages show them: the latest ones, and the statement of one, line by line."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from earmark.clock import NANOS_PER_SECOND
from earmark.money import Money
from earmark.runs.journal import RunRecord, RunSummary
from earmark.runs.statement_line import LineOutcome, StatementLine
from earmark.service.pages.formatting import (
    LONGEST_JSON,
    DisplayedTime,
    count,
    moment,
    money_of,
    usd,
)
from earmark.service.paging import cursor_of
from earmark.service.runs import mark_of

#: Runs on a page.
MOST: Final = 50
_MARKS: Final = {
    **{each: each for each in ("failed", "refused", "cancelled", "ok")},
    "interrupted": "unknown",
}
_MILLISECOND: Final = 1_000_000
_SHORT_ID: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run of the list."""

    id: str
    status: str
    mark: str
    composition: str
    budget: str
    limit: str
    started: DisplayedTime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsView:
    """A page of the runs."""

    rows: tuple[RunRow, ...]
    next_page: str
    """The address of the page after this one; empty where there is none."""
    first_page: str
    """The address of the first page; empty where this is it."""

    @property
    def said(self) -> str:
        """How the latest one stands."""
        return f"Run {self.rows[0].id}: {self.rows[0].status}" if self.rows else "No runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """One attempt of one stage."""

    stage: str
    path: str
    attempt: int
    outcome: str
    mark: str
    presumed: bool
    hold: str
    settled: str
    tokens: str
    took: str
    model: str
    remark: str
    books: str
    """Where its reservation's entries are shown; empty where it made none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """The page of one run."""

    id: str
    status: str
    mark: str
    composition_id: str
    budget: str
    limit: str
    started: DisplayedTime | None
    ended: DisplayedTime | None
    took: str
    totals: tuple[tuple[str, str], ...]
    alarm: str
    """What the ledger booked beyond the lines; empty where nothing was."""
    error: str
    warnings: tuple[str, ...]
    output: str
    lines: tuple[LineView, ...]

    @property
    def said(self) -> str:
        """How it stands."""
        return f"Run {self.id}: {self.status}, {len(self.lines)} lines"


def runs_view(found: Sequence[RunSummary], now: int, *, is_first: bool) -> RunsView:
    """Return a page of runs; *found* holds one more than fits where there is another page."""
    page = found[:MOST]
    more = urlencode({"after": cursor_of(mark_of(page[-1]))}) if len(found) > MOST else ""
    return RunsView(
        rows=tuple(_row(each, now) for each in page),
        next_page=f"/runs?{more}" if more else "",
        first_page="" if is_first else "/runs",
    )


def run_view(record: RunRecord, balance: tuple[Money, Money] | None, now: int) -> RunView:
    """Return the page of one run; *balance*: what is settled and held on its budget now."""
    statement = record.statement
    error: Mapping[str, Any] = (statement.error if statement else None) or {}
    odd = statement.unaccounted if statement else Money()
    return RunView(
        id=record.run_id,
        status=record.status_at(now),
        mark=_MARKS.get(record.status_at(now), "running"),
        composition_id=record.composition_id,
        budget=record.budget,
        limit=usd(record.limit),
        started=moment(record.started_at, now),
        ended=moment(statement.ended_at, now) if statement else None,
        took=_took(statement.duration_ns) if statement else "",
        totals=_totals(record, balance),
        alarm=f"the ledger has {odd} USD that no line explains" if odd else "",
        error=str(error.get("message", "")),
        warnings=statement.warnings if statement else (),
        output=_output(statement.output if statement else None),
        lines=tuple(_line(line, record.budget) for line in record.lines),
    )


def _row(record: RunSummary, now: int) -> RunRow:
    return RunRow(
        id=record.run_id,
        status=record.status_at(now),
        mark=_MARKS.get(record.status_at(now), "running"),
        composition=record.composition_id[:_SHORT_ID],
        budget=record.budget,
        limit=usd(record.limit),
        started=moment(record.started_at, now),
    )


def _totals(record: RunRecord, balance: tuple[Money, Money] | None) -> tuple[tuple[str, str], ...]:
    """Return what it came to; while it runs, what the books say now."""
    statement = record.statement
    spent, held = balance or (Money(), Money())
    if balance is None and statement is not None:
        spent, held = statement.spent, statement.held
    facts = [("Spent", usd(spent)), ("Of", usd(record.limit)), ("Still held", usd(held))]
    if statement is not None and statement.presumed:
        facts.append(("Of it presumed", f"{statement.presumed} USD: what it cost is not known"))
    if statement is not None and statement.overrun:
        facts.append(("Above the holds", usd(statement.overrun)))
    return tuple(facts)


def _line(line: StatementLine, budget: str) -> LineView:
    named = line.stage != line.stage_id
    return LineView(
        stage=line.stage if named else line.stage[:_SHORT_ID],
        path=line.path or "/",
        attempt=line.attempt,
        outcome=line.outcome,
        mark=_MARKS.get(line.outcome, "pending"),
        presumed=line.presumed,
        hold=usd(line.hold) if line.key else "",
        settled=usd(line.settled) if line.key else "",
        tokens="" if line.usage is None else count(line.usage.tokens),
        took=_took(line.duration_ns),
        model=line.model or "",
        remark="; ".join(part for part in _remarks(line) if part),
        books=money_of(budget, line.key) if line.key else "",
    )


def _remarks(line: StatementLine) -> tuple[str, ...]:
    return (
        line.mark,
        f"overrun {line.overrun}" if line.overrun else "",
        "" if line.clamped_to is None else f"max_tokens lowered to {line.clamped_to}",
        line.detail if line.outcome is not LineOutcome.OK else "",
        line.note,
    )


def _took(nanos: int) -> str:
    if nanos < 10 * _MILLISECOND:
        return f"{nanos // 100_000 / 10} ms"
    return f"{nanos / NANOS_PER_SECOND:.2f} s"


def _output(value: Any) -> str:  # noqa: ANN401 - JSON of any kind
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return text[:LONGEST_JSON]
