"""What can be done with a task: one frozen value for each move, with all that it takes."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from msgspec import Struct

from earmark.board.task import Quality, TaskStatus


class Claim(Struct, frozen=True, kw_only=True):
    """An agent takes a pending task for as long as its lease lasts."""

    name: ClassVar[str] = "claim"
    event_name: ClassVar[str] = "claimed"
    agent: str
    lease_until: int


class Start(Struct, frozen=True, kw_only=True):
    """It gives the task it claimed to *model*; *version* is that of the task as it knows it."""

    name: ClassVar[str] = "start"
    event_name: ClassVar[str] = "started"
    agent: str
    version: int
    model: str


class Complete(Struct, frozen=True, kw_only=True):
    """The model answered."""

    name: ClassVar[str] = "complete"
    event_name: ClassVar[str] = "completed"
    agent: str
    result: Mapping[str, Any]


class Fail(Struct, frozen=True, kw_only=True):
    """The try came to nothing; at *retry_at* there may be another."""

    name: ClassVar[str] = "fail"
    event_name: ClassVar[str] = "failed"
    agent: str
    error: str
    retry_at: int | None = None
    result: Mapping[str, Any] | None = None


class Lose(Struct, frozen=True, kw_only=True):
    """It was given to the model, and nobody knows what became of it."""

    name: ClassVar[str] = "lose"
    event_name: ClassVar[str] = "unknown"
    agent: str
    error: str


class Park(Struct, frozen=True, kw_only=True):
    """The agent puts it back: nothing was sent. With *uncount* the try does not count."""

    name: ClassVar[str] = "park"
    event_name: ClassVar[str] = "parked"
    agent: str
    due_at: int = 0
    uncount: bool = False


class TakeBack(Struct, frozen=True, kw_only=True):
    """The lease ran out: the task goes where its trail in the books says."""

    name: ClassVar[str] = "take back"
    event_name: ClassVar[str] = "taken back"
    version: int
    to: Literal[TaskStatus.PENDING, TaskStatus.UNKNOWN, TaskStatus.FAILED]
    reason: str


class Grade(Struct, frozen=True, kw_only=True):
    """Somebody looked at the result."""

    name: ClassVar[str] = "grade"
    event_name: ClassVar[str] = "graded"
    quality: Quality


class PersonDecision(Struct, frozen=True, kw_only=True):
    """What a person decides about a task, with a note and nothing else."""

    name: ClassVar[str]
    event_name: ClassVar[str]
    scope: ClassVar[Literal["spend", "admin"]] = "spend"
    """What a token needs for it."""
    summary: ClassVar[str]
    label: ClassVar[str]
    """On a button."""
    declines: ClassVar[bool] = False
    """Whether it is against the task."""
    actor: str


class Accept(PersonDecision, frozen=True, kw_only=True):
    """The result is taken; tasks that need it wait for one less."""

    name: ClassVar[str] = "accept"
    event_name: ClassVar[str] = "accepted"
    summary: ClassVar[str] = "Take the result of a task: those that need it wait for one less."
    label: ClassVar[str] = "Accept"


class Reject(PersonDecision, frozen=True, kw_only=True):
    """The result is not taken."""

    name: ClassVar[str] = "reject"
    event_name: ClassVar[str] = "rejected"
    summary: ClassVar[str] = "Do not take the result of a task."
    label: ClassVar[str] = "Reject"
    declines: ClassVar[bool] = True


class Requeue(PersonDecision, frozen=True, kw_only=True):
    """A person wants another try."""

    name: ClassVar[str] = "retry"
    event_name: ClassVar[str] = "retried"
    summary: ClassVar[str] = "Give a failed, unknown or rejected task another try."
    label: ClassVar[str] = "Retry"


class Cancel(PersonDecision, frozen=True, kw_only=True):
    """It is not to be done any more."""

    name: ClassVar[str] = "cancel"
    event_name: ClassVar[str] = "cancelled"
    summary: ClassVar[str] = "Give up a task that nobody has begun, or that ended badly."
    label: ClassVar[str] = "Cancel the task"
    declines: ClassVar[bool] = True


class Approve(PersonDecision, frozen=True, kw_only=True):
    """A person says that it may run."""

    name: ClassVar[str] = "approve"
    event_name: ClassVar[str] = "approved"
    scope: ClassVar[Literal["spend", "admin"]] = "admin"
    summary: ClassVar[str] = "Let a task run that waits for a person."
    label: ClassVar[str] = "Approve"


class Deny(PersonDecision, frozen=True, kw_only=True):
    """A person says that it may not run, which ends it."""

    name: ClassVar[str] = "deny"
    event_name: ClassVar[str] = "denied"
    scope: ClassVar[Literal["spend", "admin"]] = "admin"
    summary: ClassVar[str] = "Cancel a task that waits for a person."
    label: ClassVar[str] = "Deny"
    declines: ClassVar[bool] = True


#: What a person is asked about a task, each with its answers; commands, routes, the schema and the
#: pages follow from it.
QUESTIONS: Final[tuple[tuple[type[PersonDecision], ...], ...]] = (
    (Approve, Deny),
    (Accept, Reject),
    (Requeue,),
    (Cancel,),
)
#: Each of them by its name.
DECISIONS: Final[Mapping[str, type[PersonDecision]]] = {
    each.name: each for question in QUESTIONS for each in question
}

#: By the agent that has the task.
HolderMove = Start | Complete | Fail | Lose | Park
#: By people, and by those who grade for them.
PersonMove = Grade | PersonDecision

Move = Claim | HolderMove | TakeBack | PersonMove
