"""One task as its page shows it: panels of facts, its tries, its history, and what may be done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from earmark.board import moves
from earmark.board.rules import advance, obstacle
from earmark.board.task import (
    Attempt,
    CompositionWork,
    ModelWork,
    Quality,
    Task,
    TaskCost,
    TaskDecision,
    TaskStatus,
)
from earmark.errors import Refusal
from earmark.service.pages.formatting import (
    LONGEST_JSON,
    DisplayedTime,
    count,
    moment,
    money_of,
    pretty,
    stretch,
    usd,
)
from earmark.service.pages.views_agents import Beat
from earmark.service.pages.views_board import bare_title

_SOMEBODY: Final = Quality(overall=0, passed=False, graded_by="?", graded_at=0)
#: What people may do, in the order in which a page offers it.
_OFFERED: Final[tuple[moves.Move, ...]] = (
    moves.Approve(actor="?"),
    moves.Deny(actor="?"),
    moves.Grade(quality=_SOMEBODY),
    moves.Accept(),
    moves.Reject(),
    moves.Requeue(),
    moves.Cancel(),
)
#: Events that a page is read for, and their chips' classes.
_MARKS: Final = {"parked": "wanted", "taken back": "wanted", "failed": "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityView:
    """What somebody said of the result."""

    overall: str
    verdict: str
    passed: bool
    graded_by: str
    graded_at: DisplayedTime | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostView:
    """What it cost, from the ledger."""

    input_tokens: str
    output_tokens: str
    settled: str
    """In USD."""
    held: str
    """Empty where nothing is held."""
    presumed: str
    """Empty where nothing is presumed."""
    unknown: str
    """The counters whose price nobody knows; empty where the cost is fully known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One try."""

    number: int
    agent: str
    model: str
    outcome: str
    started: DisplayedTime | None
    took: str
    tokens: str
    books: str
    """Where its money is shown; empty where nobody paid yet."""
    books_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """One decision."""

    at: DisplayedTime | None
    move: str
    status: str
    actor: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedView:
    """A task that must be accepted first."""

    id: str
    title: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """The page of a task."""

    id: str
    series: str
    title: str
    description: str
    status: str
    type: str
    priority: str
    labels: tuple[str, ...]
    destructive: bool
    assignee: str
    claimed_by: str
    approval: str
    approved_by: str
    waits: str
    """Why nobody works on it; empty where somebody does, or nothing is left to do."""
    beats: tuple[Beat, ...]
    """The heartbeats that dispatch nothing now, where that is what it waits for."""
    error: str
    created: DisplayedTime | None
    created_by: str
    due: DisplayedTime | None
    started: DisplayedTime | None
    completed: DisplayedTime | None
    quality: QualityView | None
    cost: CostView
    work: tuple[tuple[str, str], ...]
    """What is sent: names and values."""
    prompt: str
    needs: tuple[NeedView, ...]
    result: str
    result_cut: bool
    response: str
    """The answer's text alone; empty where there is none."""
    attempts: tuple[AttemptView, ...]
    attempts_left: str
    history: tuple[EventView, ...]
    choices: frozenset[str]
    """Names of the moves that its state allows a person."""

    @property
    def said(self) -> str:
        """Where it stands, as one sentence."""
        return f"Task {self.title}: {self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """All that the page is made of."""

    task: Task
    attempts: Sequence[Attempt]
    history: Sequence[TaskDecision]
    cost: TaskCost
    needs: Sequence[Task]
    beats: Sequence[Beat]


def task_view(facts: TaskFacts, now: int) -> TaskView:
    """Return the page of a task."""
    task = facts.task
    result, cut = pretty(task.result) if task.result is not None else ("", False)
    return TaskView(
        id=task.id,
        series=task.series,
        title=bare_title(task),
        description=task.description,
        status=task.status,
        type=task.type,
        priority=task.priority.name,
        labels=task.labels,
        destructive=task.destructive,
        assignee=task.assignee,
        claimed_by=task.claimed_by,
        approval=task.approval,
        approved_by=task.approved_by,
        waits=_waits(facts, now),
        beats=_in_the_way(facts),
        error=task.error,
        created=moment(task.created_at, now),
        created_by=task.created_by,
        due=moment(task.due_at, now) if task.due_at > now else None,
        started=moment(task.started_at, now),
        completed=moment(task.completed_at, now),
        quality=_quality(task.quality, now),
        cost=_cost(facts.cost),
        work=_work(task),
        prompt=task.work.prompt if isinstance(task.work, ModelWork) else "",
        needs=tuple(NeedView(id=n.id, title=n.title, status=n.status) for n in facts.needs),
        result=result,
        result_cut=cut,
        response=_response(task),
        attempts=tuple(_attempt(each, now) for each in facts.attempts),
        attempts_left=f"{task.attempts} of {task.max_attempts}",
        history=tuple(_event(each, now) for each in reversed(facts.history)),
        choices=choices(task, now),
    )


def choices(task: Task, now: int) -> frozenset[str]:
    """Return the names of the moves that the state of *task* allows a person."""
    return frozenset(move.name for move in _OFFERED if _allowed(task, move, now))


def _allowed(task: Task, move: moves.Move, now: int) -> bool:
    try:
        advance(task, move, now)
    except Refusal:
        return False
    return True


def _waits(facts: TaskFacts, now: int) -> str:
    task = facts.task
    if task.status is not TaskStatus.PENDING:
        return ""
    why = obstacle(task, task.assignee, now)
    parked = facts.history[-1] if facts.history else None
    if not why and parked is not None and parked.move in _MARKS:
        return f"{parked.move} by {parked.actor}: {parked.note}" if parked.note else ""
    return f"It {why}." if why else ""


def _in_the_way(facts: TaskFacts) -> tuple[Beat, ...]:
    """Return the heartbeats that say why they do not take it."""
    task = facts.task
    if task.status is not TaskStatus.PENDING or task.approval == "wanted" or task.waiting:
        return ()
    mine = [b for b in facts.beats if task.assignee in {"", b.name}]
    return tuple(b for b in mine if b.reason or b.state in {"stopped", "dead"})


def _quality(quality: Quality | None, now: int) -> QualityView | None:
    if quality is None:
        return None
    return QualityView(
        overall=f"{quality.overall} %",
        verdict="PASS" if quality.passed else "FAIL",
        passed=quality.passed,
        graded_by=quality.graded_by,
        graded_at=moment(quality.graded_at, now),
        note=quality.note,
    )


def _cost(cost: TaskCost) -> CostView:
    return CostView(
        input_tokens=count(cost.input_tokens),
        output_tokens=count(cost.output_tokens),
        settled=str(cost.settled),
        held=usd(cost.held) if cost.held else "",
        presumed=usd(cost.presumed) if cost.presumed else "",
        unknown=", ".join(cost.unknown),
    )


def _work(task: Task) -> tuple[tuple[str, str], ...]:
    match task.work:
        case ModelWork(model=model, system=system, max_tokens=tokens):
            model_facts = (("Model", model or "the heartbeat's"), ("System", system))
            facts = (*model_facts, ("Max tokens", count(tokens) if tokens else ""))
        case CompositionWork(graph=graph, input=value, budget=budget):
            facts = (
                ("Composition", pretty(graph)[0]),
                ("Input", pretty({"input": value})[0]),
                ("Budget", f"{budget} USD"),
            )
    return tuple((name, text) for name, text in facts if text)


def _response(task: Task) -> str:
    said: Any = (task.result or {}).get("response_text")
    return said[:LONGEST_JSON] if isinstance(said, str) and "\n" in said else ""


def _attempt(attempt: Attempt, now: int) -> AttemptView:
    ended = attempt.ended_at
    tokens = attempt.input_tokens, attempt.output_tokens
    books, name = "", ""
    if attempt.run_id:
        books, name = f"/runs/{attempt.run_id}", f"run {attempt.run_id}"
    elif attempt.key:
        books, name = money_of(attempt.budget, attempt.key), attempt.key
    return AttemptView(
        number=attempt.number,
        agent=attempt.agent,
        model=attempt.model,
        outcome=attempt.outcome or "running",
        started=moment(attempt.started_at, now),
        took=stretch(ended - attempt.started_at) if ended else "",
        tokens="" if tokens == (None, None) else f"{count(tokens[0])} in, {count(tokens[1])} out",
        books=books,
        books_name=name,
    )


def _event(event: TaskDecision, now: int) -> EventView:
    return EventView(
        at=moment(event.at, now),
        move=event.move,
        status=event.status,
        actor=event.actor,
        note=event.note,
    )
