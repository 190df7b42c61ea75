"""Tasks for people: a list of them, and one with all that is known of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from earmark.board.task import Attempt, Task, TaskCost, TaskDecision, TaskStatus
from earmark.cli.session import AnswerPart
from earmark.cli.table import Table
from earmark.clock import NANOS_PER_SECOND, to_datetime
from earmark.workspace.jsonable import expand_exponents

_LIST: Final = (
    *(">task", "status", "priority", "type", "title", "claimed by", "created", ">usd"),
    "",
)
_TRIES: Final = (">try", "agent", "model", "outcome", "started", "paid by", ">input", ">output")
_HISTORY: Final = ("when", "who", "what", "status", "")
_NOBODY: Final = "-"
#: Seconds of the units that a stretch of time is told in: the largest that fits.
_AGES: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def tasks_table(found: Sequence[Task], costs: Mapping[str, TaskCost], now: int) -> Table:
    """Return a list of tasks, each with what it has cost so far."""
    rows = [_row(task, costs[task.id], now) for task in found]
    return Table(headings=_LIST, rows=rows, empty="no tasks")


def _row(task: Task, cost: TaskCost, now: int) -> tuple[str, ...]:
    return (
        f"#{task.number}",
        str(task.status),
        task.priority.name,
        task.type,
        task.title,
        task.claimed_by,
        age(task.created_at, now),
        str(cost.settled) if task.attempts else "",
        _obstacle(task, now),
    )


def _obstacle(task: Task, now: int) -> str:
    if task.status is not TaskStatus.PENDING:
        return ""
    said = ["waits for approval"] if task.approval == "wanted" else []
    said += [f"waits for {task.waiting} of its needs"] if task.waiting else []
    said += [f"due in {_stretch(task.due_at - now)}"] if now < task.due_at else []
    return ", ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """One task and everything that leads from it."""

    task: Task
    attempts: Sequence[Attempt]
    history: Sequence[TaskDecision]
    cost: TaskCost
    needed: Sequence[Task]
    now: int

    def parts(self) -> Iterable[AnswerPart | str]:
        """Return the panels, from what is asked to what came of it."""
        yield f"#{self.task.number} {safe(self.task.title)}"
        yield " · ".join(self._chips())
        if self.task.description:
            yield _panel("Description", [safe(self.task.description)])
        yield _panel("Task", _facts(self._who()))
        yield _panel("Quality", _facts(self._quality()))
        yield _panel("Cost", _facts(self._cost()))
        yield from self._outcome()
        if self.attempts:
            rows = [self._attempt(each) for each in self.attempts]
            yield from ("\nTries", Table(headings=_TRIES, rows=rows))
        yield "\nHistory"
        yield Table(headings=_HISTORY, rows=[self._event(each) for each in self.history])
        yield f"\ntask {self.task.id}"

    def _chips(self) -> Iterable[str]:
        task = self.task
        yield from (str(task.status), task.type, task.priority.name, *task.labels)
        if task.destructive:
            yield "destructive"
        if task.approval:
            by = f" by {safe(task.approved_by)}" if task.approved_by else ""
            yield f"approval {task.approval}{by}"

    def _who(self) -> Iterable[tuple[str, str]]:
        task = self.task
        yield "assignee", task.assignee or _NOBODY
        yield "claimed by", task.claimed_by or _NOBODY
        yield "created", f"{age(task.created_at, self.now)} by {safe(task.created_by)}"
        yield "completed", age(task.completed_at, self.now) or _NOBODY
        yield "tries", f"{task.attempts} of {task.max_attempts}"
        for each in self.needed:
            yield "needs", f"#{each.number} {each.status}: {safe(each.title)}"
        if waits := _obstacle(task, self.now):
            yield "now", waits

    def _quality(self) -> Iterable[tuple[str, str]]:
        quality = self.task.quality
        if quality is None:
            yield "", "not graded"
            return
        yield "overall", f"{quality.overall} %"
        yield "pass", "PASS" if quality.passed else "FAIL"
        yield "graded by", safe(quality.graded_by)
        yield "graded at", _moment(quality.graded_at)
        if quality.note:
            yield "note", safe(quality.note)

    def _cost(self) -> Iterable[tuple[str, str]]:
        cost = self.cost
        yield "input tokens", _count(cost.input_tokens)
        yield "output tokens", _count(cost.output_tokens)
        yield "usd", str(cost.settled)
        if cost.held.in_nanos:
            yield "held", f"{cost.held} usd more may come"
        if cost.presumed.in_nanos:
            yield "presumed", f"{cost.presumed} usd of it: `earmark holds` settles the truth"
        if cost.unknown:
            yield "not known", f"what these cost: {safe(', '.join(cost.unknown))}"

    def _outcome(self) -> Iterable[str]:
        if self.task.error:
            yield _panel("Error", [safe(self.task.error)])
        if self.task.result is not None:
            text = expand_exponents(json.dumps(self.task.result, indent=2, ensure_ascii=False))
            yield _panel("Result", [safe(text)])

    def _attempt(self, each: Attempt) -> tuple[str, ...]:
        return (
            str(each.number),
            each.agent,
            each.model,
            each.outcome or "running",
            _moment(each.started_at),
            each.key or each.budget,
            _count(each.input_tokens),
            _count(each.output_tokens),
        )

    def _event(self, event: TaskDecision) -> tuple[str, ...]:
        cells = (event.actor, event.move, str(event.status), event.note)
        return (_moment(event.at), *map(safe, cells))


def safe(text: str) -> str:
    """Return *text* without what a terminal would obey: a model wrote some of it."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def age(instant: int, now: int) -> str:
    """Return how long ago an instant was: `2h ago`; empty for one that has not been."""
    return f"{_stretch(now - instant)} ago" if instant else ""


def _stretch(nanos: int) -> str:
    seconds = max(0, nanos) // NANOS_PER_SECOND
    size, unit = next(((s, u) for s, u in _AGES if seconds >= s), _AGES[-1])
    return f"{seconds // size}{unit}"


def _panel(heading: str, lines: Iterable[str]) -> str:
    return "\n".join(("", heading, *lines))


def _facts(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {name:<14}{value}" if name else f"  {value}" for name, value in facts]


def _count(number: int | None) -> str:
    return _NOBODY if number is None else f"{number}"


def _moment(instant: int) -> str:
    return f"{to_datetime(instant):%Y-%m-%d %H:%M:%S}Z"
