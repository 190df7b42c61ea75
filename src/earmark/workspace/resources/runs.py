"""Runs as JSON."""

from typing import Any, Final

from earmark.runs.journal import RunRecord, RunSummary
from earmark.runs.statement import RunStatus
from earmark.workspace.json_form import Extra, JsonForm

#: Without its lines and its statement; `status` is as it stands now.
RUN: Final[JsonForm[RunRecord | RunSummary]] = JsonForm[Any](
    RunSummary,
    *("run_id", "composition_id", "budget", "limit"),
    Extra("status", RunStatus),
    "started_at",
    name="Run",
    about="One run of a composition.",
)
RUN_STATEMENT: Final[JsonForm[RunRecord | RunSummary]] = JsonForm[Any](
    RunSummary,
    *RUN.members,
    Extra("lines", list[dict[str, Any]]),
    name="RunStatement",
    about="What a run cost, line by line; while it runs, the lines written so far.",
    accepts_more=True,
)
