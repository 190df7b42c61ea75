"""Runs as JSON."""

from typing import Any, Final

from earmark.clock import Instant
from earmark.money import Money
from earmark.runs.journal import RunRecord, RunSummary
from earmark.runs.statement import RunStatus
from earmark.workspace.json_form import Computed, Extra, JsonForm

#: Without its lines and its statement; `status` is as it stands now.
RUN: Final[JsonForm[RunRecord | RunSummary]] = JsonForm[Any](
    RunSummary,
    *("run_id", "composition_id", "budget", "limit"),
    Extra("status", RunStatus),
    "started_at",
    name="Run",
    about="One run of a composition.",
)


def _of_statement(name: str, kind: Any) -> Computed:  # noqa: ANN401 - a type of any kind
    """Return the member *name* of a run's statement, of the type *kind*; null without one."""

    def get(record: RunRecord) -> Any:  # noqa: ANN401 - of that type
        return None if record.statement is None else getattr(record.statement, name)

    get.__annotations__["return"] = kind
    return Computed(name, get)


RUN_STATEMENT: Final[JsonForm[RunRecord]] = JsonForm[Any](
    RunRecord,
    *RUN.members,
    _of_statement("ended_at", Instant | None),
    _of_statement("output", Any),
    _of_statement("error", dict[str, Any] | None),
    *(
        _of_statement(name, Money | None)
        for name in ("spent", "held", "presumed", "overrun", "unaccounted")
    ),
    _of_statement("warnings", tuple[str, ...] | None),
    Extra("lines", list[dict[str, Any]]),
    name="RunStatement",
    about="What a run cost, line by line; while it runs, the lines written so far, and no totals.",
)
