"""What a run tells while it goes on: frozen values, in the order things happened."""

from collections.abc import Callable
from dataclasses import dataclass

from earmark.composition.plan import Plan
from earmark.money import Money
from earmark.runs.statement import Statement
from earmark.runs.statement_line import StatementLine


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The composition was checked and its budget is open."""

    run_id: str
    composition_id: str
    budget: str
    limit: Money
    plan: Plan
    warnings: tuple[str, ...] = ()
    """What less limits the run than its caller may think, and what the plan warns of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """An attempt begins; its reservation may still have to wait."""

    path: str
    stage: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnded:
    """An attempt is over and booked: done, failed, refused, cancelled, or taken from the cache."""

    line: StatementLine
    spent: Money
    """What the run has spent by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRetried:
    """A part of the graph failed and will be tried again."""

    path: str
    attempt: int
    """The attempt that failed."""
    max_attempts: int
    delay_ms: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The run is over, and this is its statement."""

    statement: Statement


RunEvent = RunStarted | StageStarted | StageEnded | StageRetried | RunEnded

#: Called in the run's own task; must return soon. What it raises ends the run.
OnEvent = Callable[[RunEvent], None]
