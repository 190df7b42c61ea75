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
class RunsPage:
    """A page of the runs."""

    runs: Sequence[RunSummary]
    now: int
    next_page: str
    """The address of the page after this one; empty where there is none."""
    first_page: str
    """The address of the first page; empty where this is it."""

    @property
    def summary(self) -> str:
        """How the latest one stands."""
        if not self.runs:
            return "No runs"
        return f"Run {self.runs[0].run_id}: {self.runs[0].status_at(self.now)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """The page of one run."""

    record: RunRecord
    balance: tuple[Money, Money] | None
    """What is settled and held on its budget now; None where it has none."""
    now: int

    @property
    def status(self) -> str:
        """How it stands now."""
        return self.record.status_at(self.now)

    @property
    def summary(self) -> str:
        """The same as a sentence."""
        return f"Run {self.record.run_id}: {self.status}, {len(self.record.lines)} lines"

    @property
    def totals(self) -> Sequence[tuple[str, str]]:
        """What it came to; while it runs, what the books say now."""
        return _totals(self.record, self.balance)

    @property
    def alarm(self) -> str:
        """What the ledger booked beyond the lines; empty where nothing was."""
        odd = self.record.statement.unaccounted if self.record.statement else Money()
        return f"the ledger has {odd} USD that no line explains" if odd else ""

    @property
    def error(self) -> str:
        """Why it failed; empty where it did not."""
        error: Mapping[str, Any] = (self.record.statement and self.record.statement.error) or {}
        return str(error.get("message", ""))

    @property
    def output(self) -> str:
        """What it put out, as text."""
        value = self.record.statement.output if self.record.statement else None
        if value is None:
            return ""
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        return text[:LONGEST_JSON]


def runs_page(found: Sequence[RunSummary], now: int, *, is_first: bool) -> RunsPage:
    """Return a page of runs; *found* holds one more than fits where there is another page."""
    page = found[:MOST]
    more = urlencode({"after": cursor_of(mark_of(page[-1]))}) if len(found) > MOST else ""
    return RunsPage(
        runs=page,
        now=now,
        next_page=f"/runs?{more}" if more else "",
        first_page="" if is_first else "/runs",
    )


def mark_of_outcome(outcome: str) -> str:
    """Return the class of the chip that says how a run or a line stands."""
    return _MARKS.get(outcome, "pending" if outcome in set(LineOutcome) else "running")


def stage_of(line: StatementLine) -> str:
    """Return the stage's name; the beginning of its id where it has none."""
    return line.stage if line.stage != line.stage_id else line.stage[:_SHORT_ID]


def remark_on(line: StatementLine) -> str:
    """Return what is worth knowing of a line beside its numbers."""
    return "; ".join(part for part in _remarks(line) if part)


def took(nanos: int) -> str:
    """Return how long it took: `1.2 ms`, `3.40 s`."""
    if nanos < 10 * _MILLISECOND:
        return f"{nanos // 100_000 / 10} ms"
    return f"{nanos / NANOS_PER_SECOND:.2f} s"


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


def _remarks(line: StatementLine) -> tuple[str, ...]:
    return (
        line.mark,
        f"overrun {line.overrun}" if line.overrun else "",
        "" if line.clamped_to is None else f"max_tokens lowered to {line.clamped_to}",
        line.detail if line.outcome is not LineOutcome.OK else "",
        line.note,
    )
