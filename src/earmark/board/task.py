"""What stands on the board: tasks, their tries and the decisions about them; frozen values.

    pending → claimed → running → completed | failed | unknown
    completed → graded → accepted | rejected          failed, unknown, rejected → pending (retried)
    pending, failed, unknown, rejected → cancelled

Instants are nanoseconds since the epoch, 0 where something has not happened yet.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from earmark.clock import Instant, InstantOrZero
from earmark.money import USD_PATTERN, Money

#: What tasks are about, besides whatever name a user gives.
TYPES: Final = (
    "code_gen",
    "consult",
    "review",
    "classification",
    "summarization",
    "data_pipeline",
    "health_check",
    "deploy",
)

LONGEST_TITLE: Final = 200
MOST_LABELS: Final = 20
LONGEST_LABEL: Final = 64
LONGEST_NAME: Final = 100
"""Of an agent, a person or a key."""
MOST_NEEDS: Final = 100
MOST_ATTEMPTS: Final = 100
MOST_TOKENS: Final = 10_000_000
TYPE_PATTERN: Final = "[a-z][a-z0-9_.-]{0,63}"


def _shown(**schema: object) -> Meta:
    """Return what a schema says of a field; `draft.py` is what checks it."""
    return Meta(extra_json_schema=schema)


Approval = Literal["", "wanted", "given", "denied"]

#: How a try ended: empty while it runs, `lost` with its lease, `parked` before anything was sent.
AttemptOutcome = Literal["", "completed", "failed", "unknown", "lost", "parked"]


class TaskStatus(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    CLAIMED = "claimed"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It was given to a model and nobody knows what became of it: a person decides."""
    GRADED = "graded"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


#: States that no heartbeat and no grader leads out of.
SETTLED: Final = frozenset({TaskStatus.ACCEPTED, TaskStatus.CANCELLED})


class Priority(IntEnum):
    """How soon: P0 goes first."""

    P0 = 0
    P1 = 1
    P2 = 2
    P3 = 3


class ModelWork(Struct, frozen=True, kw_only=True, tag="model"):
    """One question to one model."""

    model: str = ""
    """`provider/model`; the heartbeat's own where empty."""
    prompt: str = ""
    """The text that is sent; the task's title and description where empty. No template."""
    system: str = ""
    max_tokens: Annotated[int, _shown(minimum=1, maximum=MOST_TOKENS)] | None = None


class CompositionWork(Struct, frozen=True, kw_only=True, tag="composition"):
    """A whole composition, run under a budget of its own."""

    graph: Mapping[str, Any]
    """The composition's JSON."""
    input: Any = None
    budget: Annotated[
        str,
        _shown(
            pattern=USD_PATTERN,
            description="The most one run may spend: US dollars, exact.",
            examples=["0.25"],
        ),
    ]
    """The most one run may spend: USD as a decimal string."""


TaskWork = ModelWork | CompositionWork


class Quality(Struct, frozen=True, kw_only=True):
    """What somebody who looked at a result says of it."""

    overall: int
    """0 to 100 %."""
    passed: bool
    graded_by: str
    graded_at: Instant
    note: str = ""


class Task(Struct, frozen=True, kw_only=True):
    """One unit of dispatch as it stands now."""

    id: str
    """UUID."""
    number: int
    """In the order of addition, from 1."""
    title: str
    """May begin with its series: `[SELF-10] Persistent budget tracker`."""
    description: str
    """Markdown."""
    type: str
    priority: Priority
    labels: tuple[str, ...]
    destructive: bool
    """A person approves it before it runs, and nothing repeats it by itself."""
    assignee: str
    """The one agent that may claim it; empty for any."""
    work: TaskWork
    needs: tuple[str, ...]
    """Ids of tasks that must be accepted first."""
    status: TaskStatus
    approval: Approval
    approved_by: str
    waiting: int
    """How many of `needs` are not accepted yet."""
    attempts: int
    max_attempts: int
    agent: str
    """Who claimed it: `Cloud Lu`."""
    model: str
    """To whom that agent gave it: `anthropic/claude-sonnet-4-20250514`."""
    lease_until: InstantOrZero
    due_at: InstantOrZero
    """Not before this."""
    created_at: Instant
    created_by: str
    claimed_at: InstantOrZero
    started_at: InstantOrZero
    completed_at: InstantOrZero
    result: Mapping[str, Any] | None
    error: str
    quality: Quality | None
    """None: nobody graded it."""
    version: int

    @property
    def series(self) -> str:
        """The tag in front of the title, without brackets: `SELF-10`; empty if there is none."""
        tag, bracket, _ = self.title.removeprefix("[").partition("]")
        return tag if bracket and self.title.startswith("[") else ""

    @property
    def bare_title(self) -> str:
        """The title without its series tag."""
        return self.title.removeprefix(f"[{self.series}]").strip() if self.series else self.title

    @property
    def claimed_by(self) -> str:
        """Who works on it at both levels: `Cloud Lu → claude-sonnet-4-20250514`."""
        return f"{self.agent} → {self.model.rpartition('/')[2]}" if self.model else self.agent


class Attempt(Struct, frozen=True, kw_only=True):
    """One try of a task, and what leads from it to the books."""

    task_id: str
    number: int
    """From 1."""
    agent: str
    model: str
    key: str
    """Of its reservation; empty for a composition."""
    run_id: str
    """Of its run; empty for a model stage."""
    budget: str
    """Who paid: for a composition, the run's own budget."""
    started_at: Instant
    ended_at: InstantOrZero
    """0 while it runs."""
    outcome: AttemptOutcome
    input_tokens: int | None = None
    output_tokens: int | None = None


class TaskDecision(Struct, frozen=True, kw_only=True):
    """One decision about a task."""

    number: int
    """In the order of decisions on the whole board, from 1."""
    task_id: str
    at: Instant
    actor: str
    move: str
    """`added`, `claimed`, `started`, `completed`, `accepted` …"""
    status: TaskStatus
    """Of the task, after it."""
    note: str


class TaskDraft(Struct, frozen=True, kw_only=True):
    """A task that somebody wants on the board."""

    title: Annotated[str, _shown(minLength=1, maxLength=LONGEST_TITLE)]
    description: Annotated[str, _shown(description="Markdown.")] = ""
    type: Annotated[str, _shown(pattern=f"^{TYPE_PATTERN}$")] = "consult"
    priority: Priority = Priority.P2
    labels: Annotated[
        tuple[Annotated[str, _shown(minLength=1, maxLength=LONGEST_LABEL)], ...],
        _shown(maxItems=MOST_LABELS),
    ] = ()
    destructive: bool = False
    assignee: Annotated[str, _shown(maxLength=LONGEST_NAME)] = ""
    work: TaskWork = ModelWork()
    needs: Annotated[tuple[str, ...], _shown(maxItems=MOST_NEEDS)] = ()
    max_attempts: Annotated[int, _shown(minimum=1, maximum=MOST_ATTEMPTS)] = 3
    due_at: InstantOrZero = 0


class TaskCost(Struct, frozen=True, kw_only=True):
    """What a task cost in all its tries, from the ledger and nowhere else."""

    settled: Money
    held: Money
    """What open reservations may still cost."""
    presumed: Money
    """The part of *settled* whose true cost nobody knows."""
    input_tokens: int | None
    """None where no reply said."""
    output_tokens: int | None
    unknown: tuple[str, ...] = ()
    """The counters of replies whose price nobody knows: the cost is not fully known."""
