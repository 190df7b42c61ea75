"""Tasks: what is wanted, what stands, what was decided."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from earmark.board.task import Approval, TaskStatus
from earmark.service.models.base import FlagField, Form, MomentField, NoteField, RequestBody, Usd


class ModelWork(RequestBody):
    """One question to one model."""

    kind: Literal["model"] = "model"
    model: str = Field(default="", strict=True, max_length=301)
    prompt: str = Field(default="", strict=True)
    system: str = Field(default="", strict=True)
    max_tokens: int | None = Field(default=None, strict=True, ge=1, le=10_000_000)


class CompositionWork(RequestBody):
    """A whole composition under a budget of its own."""

    kind: Literal["composition"]
    graph: dict[str, Any]
    input: Any = None
    budget: Usd


WorkField = Annotated[ModelWork | CompositionWork, Field(discriminator="kind")]


class TaskBody(RequestBody):
    """A task that somebody wants on the board."""

    title: str = Field(strict=True, min_length=1, max_length=200)
    description: str = Field(default="", strict=True, description="Markdown.")
    type: str = Field(default="consult", strict=True, pattern=r"^[a-z][a-z0-9_.-]{0,63}$")
    priority: Literal["P0", "P1", "P2", "P3"] = "P2"
    labels: list[Annotated[str, Field(strict=True, min_length=1, max_length=64)]] = Field(
        default=[], max_length=20
    )
    destructive: FlagField = False
    assignee: str = Field(default="", strict=True, max_length=100)
    work: WorkField = ModelWork()
    needs: list[Annotated[str, Field(strict=True, max_length=64)]] = Field(
        default=[], max_length=100
    )
    max_attempts: int = Field(default=3, strict=True, ge=1, le=100)
    due_at: AwareDatetime | None = None


class NoteBody(RequestBody):
    """What to say with it."""

    note: NoteField = ""


class GradeBody(RequestBody):
    """How good the result is."""

    overall: int = Field(strict=True, ge=0, le=100)
    passed: FlagField
    note: NoteField = ""


class Cost(Form):
    """What a task cost, as the ledger has it."""

    settled: str
    held: str
    presumed: str
    input_tokens: int | None
    output_tokens: int | None
    unknown: list[str]
    """The counters of replies whose price nobody knows."""


class Quality(Form):
    """What somebody said of a result."""

    overall: int
    passed: bool
    graded_by: str
    graded_at: MomentField | None
    note: str


class Task(Form):
    """One unit of dispatch as it stands now."""

    id: str
    number: int
    series: str
    title: str
    description: str
    type: str
    priority: Literal["P0", "P1", "P2", "P3"]
    labels: list[str]
    destructive: bool
    assignee: str
    work: WorkField
    needs: list[str]
    waiting: int
    status: TaskStatus
    approval: Approval
    approved_by: str
    attempts: int
    max_attempts: int
    agent: str
    model: str
    claimed_by: str
    lease_until: MomentField | None
    due_at: MomentField | None
    created_at: MomentField
    created_by: str
    claimed_at: MomentField | None
    started_at: MomentField | None
    completed_at: MomentField | None
    cost: Cost | None
    quality: Quality | None
    result: dict[str, Any] | None
    error: str
    version: int


class Attempt(Form):
    """One try of a task, and what leads from it to the books."""

    number: int
    agent: str
    model: str
    key: str
    run_id: str
    budget: str
    started_at: MomentField
    ended_at: MomentField | None
    outcome: str
    input_tokens: int | None
    output_tokens: int | None


class TaskEvent(Form):
    """One decision about a task."""

    number: int
    task_id: str
    at: MomentField
    actor: str
    move: str
    status: TaskStatus
    note: str


class TaskDetails(Task):
    """A task with its tries and its history."""

    tries: list[Attempt]
    history: list[TaskEvent]
