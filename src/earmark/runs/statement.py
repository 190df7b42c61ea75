"""What a run cost, line by line, with totals that are the ledger's own."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from earmark.clock import iso
from earmark.money import Money
from earmark.runs.statement_line import NOTHING, LineOutcome, StatementLine


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    OK = "ok"
    REFUSED = "refused"
    """A budget, a price, a type or a policy said no."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """It has no statement, and its process has been silent for so long that it is gone."""


class Statement(Struct, frozen=True, kw_only=True):
    """One run and what it cost; immutable. Its totals are the ledger's for the run's budget."""

    run_id: str
    composition_id: str
    budget: str
    """The path of the run's own budget."""
    limit: Money
    status: RunStatus
    output: Any = None
    error: Mapping[str, Any] | None = None
    """`code`, `message` and the typed fields of what ended the run; None if it succeeded."""
    lines: tuple[StatementLine, ...] = ()
    spent: Money = NOTHING
    """What is settled on the run's budget, overruns and presumed holds included."""
    held: Money = NOTHING
    """What is still held: calls whose outcome is not known yet."""
    unaccounted: Money = NOTHING
    """What the ledger booked on the run's budget beyond the lines; anything but 0 is alarming,
    unless a stage spends under the run's path by itself."""
    started_at: int
    ended_at: int
    warnings: tuple[str, ...] = ()

    @property
    def presumed(self) -> Money:
        """How much of `spent` is presumed: what those calls cost is unknown, so the hold counts."""
        return total(line.settled for line in self.lines if line.presumed)

    @property
    def overrun(self) -> Money:
        """How much calls cost above their holds."""
        return total(line.overrun for line in self.lines)

    @property
    def duration_ns(self) -> int:
        """Nanoseconds from start to end."""
        return self.ended_at - self.started_at

    def to_json(self) -> dict[str, Any]:
        """Return the statement as JSON values: amounts as decimal strings, instants as RFC 3339."""
        return {
            "run_id": self.run_id,
            "composition_id": self.composition_id,
            "budget": self.budget,
            "limit": str(self.limit),
            "status": str(self.status),
            "output": self.output,
            "error": None if self.error is None else dict(self.error),
            "spent": str(self.spent),
            "held": str(self.held),
            "presumed": str(self.presumed),
            "overrun": str(self.overrun),
            "unaccounted": str(self.unaccounted),
            "started_at": iso(self.started_at),
            "ended_at": iso(self.ended_at),
            "started_at_ns": self.started_at,
            "ended_at_ns": self.ended_at,
            "warnings": list(self.warnings),
            "lines": [line.to_json() for line in self.lines],
        }

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> "Statement":
        """Read what `to_json` wrote."""
        return cls(
            run_id=form["run_id"],
            composition_id=form["composition_id"],
            budget=form["budget"],
            limit=Money(form["limit"]),
            status=RunStatus(form["status"]),
            output=form["output"],
            error=form["error"],
            spent=Money(form["spent"]),
            held=Money(form["held"]),
            unaccounted=_signed(form["unaccounted"]),
            started_at=form["started_at_ns"],
            ended_at=form["ended_at_ns"],
            warnings=tuple(form["warnings"]),
            lines=tuple(StatementLine.from_json(line) for line in form["lines"]),
        )

    def table(self) -> str:
        """Return the statement as text for people: a line for each attempt, then the totals."""
        rows = [_HEADER, *(_row(line) for line in self.lines)]
        return "\n".join([*_aligned(rows), "", *_totals(self)])


def total(amounts: Iterable[Money]) -> Money:
    """Return the sum of *amounts*; of none, 0."""
    return Money.nanos(sum(amount.in_nanos for amount in amounts))


_HEADER = ("stage", "path", "try", "outcome", "hold", "settled", "tokens", "time", "")
_NUMERIC = frozenset({2, 4, 5, 6, 7})
_SHORT_ID = 12
_SHORT_NS = 10_000_000


def _row(line: StatementLine) -> tuple[str, ...]:
    outcome = f"{line.outcome}, presumed" if line.presumed else str(line.outcome)
    tokens = "" if line.usage is None else str(line.usage.tokens)
    stage = line.stage if line.stage != line.stage_id else line.stage[:_SHORT_ID]
    books = (str(line.hold), str(line.settled)) if line.key else ("", "")
    return (
        stage,
        line.path or "/",
        str(line.attempt),
        outcome,
        *books,
        tokens,
        _seconds(line.duration_ns),
        _remark(line),
    )


def _remark(line: StatementLine) -> str:
    parts = [line.model or "", line.mark]
    if line.overrun:
        parts.append(f"overrun {line.overrun}")
    if line.clamped_to is not None:
        parts.append(f"max_tokens lowered to {line.clamped_to}")
    if line.outcome is not LineOutcome.OK:
        parts.append(line.detail.splitlines()[0] if line.detail else "")
    parts.append(line.note)
    return "; ".join(part for part in parts if part)


def _totals(statement: Statement) -> list[str]:
    text = [f"run {statement.run_id}: {statement.status}"]
    spent = f"spent {statement.spent} of {statement.limit} USD on '{statement.budget}'"
    if statement.presumed:
        spent += f", {statement.presumed} of it presumed"
    if statement.held:
        spent += f"; {statement.held} still held"
    if statement.overrun:
        spent += f"; {statement.overrun} above the holds"
    text.append(spent)
    if statement.unaccounted:
        text.append(f"WARNING: the ledger holds {statement.unaccounted} USD that no line explains")
    text.extend(f"warning: {warning}" for warning in statement.warnings)
    if statement.error is not None:
        text.append(str(statement.error["message"]))
    return text


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    return [
        "  ".join(_cell(i, text, widths[i]) for i, text in enumerate(row)).rstrip() for row in rows
    ]


def _cell(column: int, text: str, width: int) -> str:
    return text.rjust(width) if column in _NUMERIC else text.ljust(width)


def _seconds(nanos: int) -> str:
    return f"{nanos / 1e9:.2f}s" if nanos >= _SHORT_NS else f"{nanos / 1e6:.1f}ms"


def _signed(text: str) -> Money:
    return Money() - Money(text[1:]) if text.startswith("-") else Money(text)
