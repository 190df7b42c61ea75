"""What can be done with a task: one frozen value for each move, with all that it takes."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

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


class Accept(Struct, frozen=True):
    """The result is taken; tasks that need it wait for one less."""

    name: ClassVar[str] = "accept"
    event_name: ClassVar[str] = "accepted"


class Reject(Struct, frozen=True):
    """The result is not taken."""

    name: ClassVar[str] = "reject"
    event_name: ClassVar[str] = "rejected"


class Requeue(Struct, frozen=True):
    """A person wants another try."""

    name: ClassVar[str] = "retry"
    event_name: ClassVar[str] = "retried"


class Cancel(Struct, frozen=True):
    """It is not to be done any more."""

    name: ClassVar[str] = "cancel"
    event_name: ClassVar[str] = "cancelled"


class Approve(Struct, frozen=True, kw_only=True):
    """A person says that it may run."""

    name: ClassVar[str] = "approve"
    event_name: ClassVar[str] = "approved"
    actor: str


class Deny(Struct, frozen=True, kw_only=True):
    """A person says that it may not run, which ends it."""

    name: ClassVar[str] = "deny"
    event_name: ClassVar[str] = "denied"
    actor: str


#: By the agent that has the task.
HolderMove = Start | Complete | Fail | Lose | Park
#: By people, and by those who grade for them.
PersonMove = Grade | Accept | Reject | Requeue | Cancel | Approve | Deny

Move = Claim | HolderMove | TakeBack | PersonMove
