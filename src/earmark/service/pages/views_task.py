"""The page of one task: why it waits, what is sent, and what may be decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from earmark.board.moves import QUESTIONS, Grade, Move, PersonDecision
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
    count,
    money_of,
    pretty,
)
from earmark.service.pages.views_agents import Beat

#: Events that a page is read for, and their chips' classes.
_MARKS: Final = {"parked": "wanted", "taken back": "wanted", "failed": "failed"}
_ANYBODY: Final = "?"
_GRADE: Final = Grade(quality=Quality(overall=0, passed=False, graded_by=_ANYBODY, graded_at=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """The page of a task: what it shows as it is, and what follows from it."""

    task: Task
    attempts: Sequence[Attempt]
    history: Sequence[TaskDecision]
    cost: TaskCost
    needs: Sequence[Task]
    beats: Sequence[Beat]
    now: int

    @property
    def summary(self) -> str:
        """Where it stands, as one sentence."""
        return f"Task {self.task.bare_title}: {self.task.status}"

    @property
    def may_be_graded(self) -> bool:
        """Whether its state allows that."""
        return _is_allowed(self.task, _GRADE, self.now)

    @property
    def questions(self) -> Sequence[Sequence[type[PersonDecision]]]:
        """What a person is asked about it, each with the answers that its state allows."""
        allowed = [
            [each for each in question if _is_allowed(self.task, each(actor=_ANYBODY), self.now)]
            for question in QUESTIONS
        ]
        return [each for each in allowed if each]

    @property
    def waits(self) -> str:
        """Why nobody works on it; empty where somebody does, or nothing is left to do."""
        task = self.task
        if task.status is not TaskStatus.PENDING:
            return ""
        why = obstacle(task, task.assignee, self.now)
        parked = self.history[-1] if self.history else None
        if not why and parked is not None and parked.move in _MARKS:
            return f"{parked.move} by {parked.actor}: {parked.note}" if parked.note else ""
        return f"It {why}." if why else ""

    @property
    def beats_in_the_way(self) -> Sequence[Beat]:
        """The heartbeats that say why they do not take it, where that is what it waits for."""
        task = self.task
        if task.status is not TaskStatus.PENDING or task.approval == "wanted" or task.waiting:
            return ()
        mine = [b for b in self.beats if task.assignee in {"", b.agent.name}]
        return [b for b in mine if b.reason or b.state in {"stopped", "dead"}]

    @property
    def work(self) -> Sequence[tuple[str, str]]:
        """What is sent besides the prompt: names and values."""
        match self.task.work:
            case ModelWork(model=model, system=system, max_tokens=tokens):
                model_facts = (("Model", model or "the heartbeat's"), ("System", system))
                facts = (*model_facts, ("Max tokens", count(tokens) if tokens else ""))
            case CompositionWork(graph=graph, input=value, budget=budget):
                facts = (
                    ("Composition", pretty(graph)[0]),
                    ("Input", pretty({"input": value})[0]),
                    ("Budget", f"{budget} USD"),
                )
        return [(name, text) for name, text in facts if text]

    @property
    def response(self) -> str:
        """The answer's text alone, where it has several lines."""
        text: Any = (self.task.result or {}).get("response_text")
        return text[:LONGEST_JSON] if isinstance(text, str) and "\n" in text else ""


def books_of(attempt: Attempt) -> tuple[str, str]:
    """Return where an attempt's money is shown, and its name there; empty where nobody paid yet."""
    if attempt.run_id:
        return f"/runs/{attempt.run_id}", f"run {attempt.run_id}"
    if attempt.key:
        return money_of(attempt.budget, attempt.key), attempt.key
    return "", ""


def _is_allowed(task: Task, move: Move, now: int) -> bool:
    try:
        advance(task, move, now)
    except Refusal:
        return False
    return True
