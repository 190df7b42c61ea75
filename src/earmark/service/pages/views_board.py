"""The board as a page shows it: which tasks were asked for, and a row for each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final
from urllib.parse import urlencode

from earmark.board.listing import TaskFilter
from earmark.board.task import TYPES, Priority, Task, TaskCost, TaskStatus
from earmark.errors import InvalidTask
from earmark.service.pages.formatting import moment
from earmark.service.pages.views_agents import Beat

#: Rows on a page.
MOST: Final = 40
#: How they may be sorted besides newest first.
OLDEST, BY_PRIORITY = "oldest", "priority"

_LONGEST: Final = 200
_PLACE: Final = re.compile(r"([0-3])\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardQuery:
    """What the address asks for; an empty field asks for nothing in particular."""

    status: str = ""
    type: str = ""
    priority: str = ""
    label: str = ""
    agent: str = ""
    text: str = ""
    order: str = ""
    after: str = ""

    def link(self, **changes: str) -> str:
        """Return the address that asks for the same but for *changes*, from its first page on."""
        changed = replace(self, **{"after": "", **changes})
        parameters = {f.name: getattr(changed, f.name) for f in fields(changed)}
        query = urlencode({name: value for name, value in parameters.items() if value})
        return f"/?{query}" if query else "/"

    @property
    def narrowed(self) -> bool:
        """Whether it asks for less than the whole board."""
        return any((self.status, self.type, self.priority, self.label, self.agent, self.text))


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task of the list, what it cost, and why it waits or what went wrong."""

    task: Task
    cost: TaskCost | None
    note: str
    bad: bool
    """Whether the note is about a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCount:
    """How many tasks are in one state."""

    status: str
    number: int
    link: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """The page of the board."""

    query: BoardQuery
    rows: tuple[TaskRow, ...]
    counts: tuple[StatusCount, ...]
    total: int
    beats: tuple[Beat, ...]
    next_page: str
    """The address of the page after this one; empty where there is none."""
    first_page: str
    """The address of the first page; empty where this is it."""
    statuses: tuple[str, ...] = tuple(TaskStatus)
    types: tuple[str, ...] = TYPES
    priorities: tuple[str, ...] = tuple(each.name for each in Priority)

    @property
    def summary(self) -> str:
        """The counts as one sentence."""
        facts = [f"{count.number} {count.status}" for count in self.counts if count.number]
        return "Tasks: " + (", ".join(facts) or "none")


def parse_board_query(query: Mapping[str, str]) -> BoardQuery:
    """Return what the query of an address asks for; names it does not know say nothing."""
    names = {f.name for f in fields(BoardQuery)}
    return BoardQuery(**{n: query[n].strip()[:_LONGEST] for n in names if n in query})


def task_filters(query: BoardQuery) -> tuple[TaskFilter, ...]:
    """Return what to look for on the board, one after the other until a page is full.

    Raises:
        InvalidTask: It names a state, a priority or a place that there is not.
    """
    level, number = _parse_cursor(query.after)
    first = TaskFilter(
        status=frozenset({_status(query.status)}) if query.status else frozenset(),
        type=query.type or None,
        label=query.label or None,
        priority=_priority(query.priority) if query.priority else None,
        agent=query.agent or None,
        text=query.text or None,
        after=number,
        newest_first=query.order not in {OLDEST, BY_PRIORITY},
    )
    if query.order != BY_PRIORITY or first.priority is not None:
        return (first,)
    levels = [each for each in Priority if each >= level]
    return tuple(
        replace(first, priority=each, after=number if each == level else 0) for each in levels
    )


def board_view(
    query: BoardQuery,
    found: Sequence[Task],
    *,
    costs: Mapping[str, TaskCost],
    counts: Mapping[TaskStatus, int],
    beats: tuple[Beat, ...],
    now: int,
) -> BoardView:
    """Return the page; *found* holds one task more than fits on it where there is another page."""
    page = found[:MOST]
    last = page[-1] if len(found) > MOST else None
    return BoardView(
        query=query,
        rows=tuple(TaskRow(task, costs.get(task.id), *_note(task, now)) for task in page),
        counts=tuple(_count(query, status, counts.get(status, 0)) for status in TaskStatus),
        total=sum(counts.values()),
        beats=beats,
        next_page=query.link(after=f"{int(last.priority)}.{last.number}") if last else "",
        first_page=query.link() if query.after else "",
    )


def _note(task: Task, now: int) -> tuple[str, bool]:
    if task.status in {TaskStatus.FAILED, TaskStatus.UNKNOWN}:
        return task.error, True
    if task.status is not TaskStatus.PENDING:
        return "", False
    if task.approval == "wanted":
        return "waits for a person's approval", False
    if task.waiting:
        return f"waits for {task.waiting} of the tasks it needs", False
    if task.error:
        return f"last try: {task.error}", True
    due = moment(task.due_at, now) if task.due_at > now else None
    return (f"due {due.age}" if due else ""), False


def _count(query: BoardQuery, status: TaskStatus, number: int) -> StatusCount:
    chosen = query.status == status
    link = query.link(status="" if chosen else str(status))
    return StatusCount(status=str(status), number=number, link=link, chosen=chosen)


def _status(text: str) -> TaskStatus:
    try:
        return TaskStatus(text)
    except ValueError:
        raise InvalidTask(
            text=text, want="one of " + ", ".join(TaskStatus), kind="status"
        ) from None


def _priority(text: str) -> Priority:
    try:
        return Priority[text.upper()]
    except KeyError:
        raise InvalidTask(text=text, want="P0, P1, P2 or P3", kind="priority") from None


def _parse_cursor(text: str) -> tuple[int, int]:
    """Return the priority and the number of the last task of the page before: `1.532`."""
    match = _PLACE.fullmatch(text or "0.0")
    if match is None:
        raise InvalidTask(text=text, want="the address that the page before gave", kind="place")
    return int(match[1]), int(match[2])
