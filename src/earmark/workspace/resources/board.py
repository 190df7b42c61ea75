"""Tasks, their attempts and the decisions about them as JSON."""

from typing import Final

from earmark.board.task import Attempt, Task, TaskCost, TaskDecision
from earmark.workspace.json_form import Extra, JsonForm, declare_form, fields_of

declare_form(Attempt, *fields_of(Attempt, without=("task_id",)))
TASK_DECISION: Final = JsonForm(TaskDecision)
TASK: Final = JsonForm(
    Task, *fields_of(Task), "series", "claimed_by", Extra("cost", TaskCost | None)
)
TASK_DETAILS: Final = TASK.plus(
    "TaskDetails",
    "A task with its tries and its history.",
    Extra("tries", list[Attempt]),
    Extra("history", list[TaskDecision]),
)
