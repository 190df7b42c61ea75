"""Decided noes, with their numbers."""

import dataclasses
import shlex
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from earmark.errors.base import EarmarkError


class Reason(StrEnum):
    """Why an amount was refused: a pause first, else the most lasting reason there is."""

    TOO_LARGE = "too_large"
    """More than the whole limit: it never fits."""
    PAUSED = "paused"
    """Somebody paused the budget."""
    UNPRICED = "unpriced"
    """No price, or no bound in a unit that is limited: what it can cost is unknown."""
    EXHAUSTED = "exhausted"
    """What is settled leaves too little until the window ends."""
    HELD = "held"
    """It would fit if what is in flight came back."""


@dataclass(kw_only=True, eq=False)
class Refusal(EarmarkError):
    """A decided no with its numbers; nothing was changed."""

    code: ClassVar[str] = "refusal"


@dataclass(kw_only=True, eq=False)
class BudgetExceeded(Refusal):
    """The amount does not fit on one account above the budget.

    Amounts are `Money` where *unit* is `usd`, else whole numbers.
    """

    code: ClassVar[str] = "budget_exceeded"
    reason: Reason
    budget: str
    unit: str = "usd"
    window: str = ""
    limit: Any = None
    settled: Any = None
    held: Any = None
    available: Any = None
    requested: Any = None
    hold: Any = None
    """Of a hold that was to grow by *requested*: what it is already, a part of *held*."""
    resets_at: datetime | None = None
    detail: str = ""

    @property
    def retryable(self) -> bool:
        """Whether asking again soon can succeed: only what is in flight is in the way."""
        return self.reason is Reason.HELD

    def facts(self) -> dict[str, Any]:
        """Return the typed fields by name, `retryable` among them."""
        return {**super().facts(), "retryable": self.retryable}

    def __str__(self) -> str:
        if not self.budget:
            return f"{self.reason}: {self.detail}"
        who = f"budget '{self.budget}' refused"
        if self.requested is not None:
            who += f" {self.requested} {self.unit}"
        if self.hold is not None:
            who += f" more for a hold of {self.hold} {self.unit}"
        if self.limit is None:
            return f"{who}: {self.detail or _REMEDY[self.reason]}"
        if self.reason is Reason.UNPRICED:
            return (
                f"budget '{self.budget}' limits {self.unit} ({self.available} of {self.limit}"
                f" {self.window} available), and an amount in USD says nothing of them: give"
                f" ledger.reserve units={{'{self.unit}': n}}{_OF_A_CALL.get(self.unit, '')}"
            )
        numbers = (
            f"{self.available} of {self.limit} {self.unit} {self.window} available"
            f" ({self.settled} settled, {self.held} held)"
        )
        until = "" if self.reason is Reason.TOO_LARGE else _until(self.resets_at)
        remedy = (_REMEDY if self.hold is None else _REMEDY_OF_GROWTH)[self.reason]
        if self.reason is Reason.EXHAUSTED:
            limit = f"'AMOUNT {self.unit} {self.window}'"
            remedy += f" by `earmark budget extend {self.budget} {limit} --until WHEN`"
            # No waiting brings back what is spent of a limit in total.
            remedy += ", or wait" if self.resets_at is not None and self.hold is None else ""
        return f"{who}: {numbers}; {remedy}{until}"


#: What else says how much of a unit a call takes.
_OF_A_CALL = {
    "tokens": (
        ", or Guard.open a request, or"
        " earmark.pricing.bound.DeclaredBound(amount, n) in place of up_to"
    )
}

_REMEDY = {
    Reason.TOO_LARGE: "it is more than the whole limit: ask for less or raise the limit",
    Reason.PAUSED: "the budget is paused: resume it",
    Reason.UNPRICED: "its cost is unknown: give it a price or a bound",
    Reason.EXHAUSTED: "it is spent: extend the budget",
    Reason.HELD: "it is held by what is in flight: wait for that to settle",
}

_REMEDY_OF_GROWTH = {
    **_REMEDY,
    Reason.TOO_LARGE: "that is more than the whole limit: end it here, or raise the limit",
    Reason.EXHAUSTED: "the rest is spent: end it here, or extend the budget",
    Reason.HELD: "others hold the rest: end it here, or ask again once they are settled",
}


def _until(moment: datetime | None) -> str:
    return "" if moment is None else f"; resets at {_rfc3339(moment)}"


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@dataclass(kw_only=True, eq=False)
class NoBudget(Refusal):
    """No budget on the path has a limit; nothing runs unlimited by accident."""

    code: ClassVar[str] = "no_budget"
    budget: str

    def __str__(self) -> str:
        return (
            f"no limit on '{self.budget}' or above it: set one, for example by"
            f" ledger.set_budget('{self.budget}', limits=['10 usd per day']) or"
            f" `earmark budget set {self.budget} --limit '10 usd per day'`"
        )


@dataclass(kw_only=True, eq=False)
class KeyReused(Refusal):
    """The key of an accepted operation came back with other content, or to begin its work again.

    A block of work whose key has an open reservation may be under way, or was cut off and never
    settled: then what it paid for may have been billed. Settle or release it, then use a new key.
    """

    code: ClassVar[str] = "key_reused"
    key: str
    field: str
    first: str
    now: str
    advice: str = dataclasses.field(default="use a new key for a new operation", repr=False)

    def __str__(self) -> str:
        return (
            f"key '{self.key}' was used before with {self.field} {self.first}, now {self.now}:"
            f" {self.advice}"
        )


@dataclass(kw_only=True, eq=False)
class RunIdReused(KeyReused):
    """A run was asked for under the id of an earlier one; nothing was run or changed."""

    code: ClassVar[str] = "run_id_reused"

    def __str__(self) -> str:
        return (
            f"run '{self.key}' exists, {self.field} {self.first}: a run id is used once, and a run"
            " that was cut off cannot be resumed: under another run_id, or none, it starts anew and"
            " pays anew; for work that must not be paid twice use `ledger.spend` with a key for"
            " each piece"
        )


@dataclass(kw_only=True, eq=False)
class ReservationClosed(Refusal):
    """The reservation is no longer open, so it cannot be changed this way.

    One that was presumed spent was never settled: what it paid for may have been billed.
    """

    code: ClassVar[str] = "reservation_closed"
    key: str
    state: str
    settled: Any = None
    """What a settled one cost, as `Money`."""
    closed_at: datetime | None = None

    def __str__(self) -> str:
        closed = f"reservation '{self.key}' is already {self.state}"
        if self.state == "presumed":
            return (
                f"{closed}: its work was begun and never settled, so that it may have been billed:"
                " settle or release it (`earmark holds`), then reserve again under a new key"
            )
        if self.state == "settled":
            cost = "" if self.settled is None else f" to {self.settled} usd"
            at = "" if self.closed_at is None else f" at {_rfc3339(self.closed_at)}"
            return (
                f"{closed}{cost}{at}: the work under this key was done, and under a new key it is"
                " paid for again"
            )
        return f"{closed}: reserve again under a new key"


@dataclass(kw_only=True, eq=False)
class TaskMoved(Refusal):
    """Somebody or something else moved the task on: this caller no longer decides about it."""

    code: ClassVar[str] = "task_moved"
    task: str
    detail: str

    def __str__(self) -> str:
        return f"task {self.task} moved on: {self.detail}: read it again before you go on"


@dataclass(kw_only=True, eq=False)
class TaskRefused(Refusal):
    """The state of the task does not allow the move; *allowed* are the moves it does allow."""

    code: ClassVar[str] = "task_refused"
    task: str
    move: str
    status: str
    allowed: tuple[str, ...]
    detail: str = ""

    def __str__(self) -> str:
        because = f" ({self.detail})" if self.detail else ""
        moves = ", ".join(self.allowed) or "nothing"
        return (
            f"{self.move} of task {self.task} refused: it is {self.status}{because},"
            f" which allows {moves}"
        )


@dataclass(kw_only=True, eq=False)
class VersionConflict(Refusal):
    """A patch was to be changed from one version, and another stands; 0: there is none."""

    code: ClassVar[str] = "version_conflict"
    type: str
    name: str
    expected: int
    stands: int

    def __str__(self) -> str:
        what = f"patch {self.type} '{self.name}'"
        if not self.stands:
            return f"{what} does not exist, version {self.expected} was expected: put it as new"
        expected = f"version {self.expected}" if self.expected else "none"
        return f"{what} is at version {self.stands}, {expected} was expected: read it again first"


@dataclass(kw_only=True, eq=False)
class TokenRefused(Refusal):
    """The token's state does not allow it: it has ended, or somebody else rotated it meanwhile.

    Or that of its tree: a token that observes is made in an observed tree alone.
    """

    code: ClassVar[str] = "token_refused"
    token: str
    detail: str

    def __str__(self) -> str:
        return f"token {self.token}: {self.detail}"


@dataclass(kw_only=True, eq=False)
class AgentBusy(Refusal):
    """A heartbeat runs under that name, or took it over: one name is one heartbeat's at a time."""

    code: ClassVar[str] = "agent_busy"
    agent: str
    holder: str
    until: datetime | None = None

    def __str__(self) -> str:
        if not self.holder:
            return f"the name '{self.agent}' was given up: start the heartbeat again"
        until = "" if self.until is None else f" until {_rfc3339(self.until)} or longer"
        return (
            f"'{self.agent}' is run by {self.holder}{until}:"
            " stop that heartbeat, wait for its lease to end, or give another name by --agent"
        )


@dataclass(kw_only=True, eq=False)
class TooManyRepeats(Refusal):
    """A run's retries wanted one more repeated attempt than the run may make; it was not made."""

    code: ClassVar[str] = "too_many_repeats"
    path: str
    most: int

    def __str__(self) -> str:
        return (
            f"at {self.path}: {self.most} attempts were repeated, as many as this run may:"
            " nest fewer retries, or raise max_repeats"
        )


@dataclass(kw_only=True, eq=False)
class CheckFailed(Refusal):
    """A composition was refused before a call was made: its types, effects, prices or policy."""

    code: ClassVar[str] = "check_failed"
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return "composition refused: " + "; ".join(self.problems)


@dataclass(kw_only=True, eq=False)
class ConfigNotAllowed(Refusal):
    """A configuration that was found in a folder, not named, and that nobody allowed yet."""

    code: ClassVar[str] = "config_not_allowed"
    file: str
    sha256: str = ""
    """Of the bytes that were read."""
    changed: bool = False
    """Whether another content of this file is allowed."""
    sets: tuple[str, ...] = ()
    """One line for each setting, those that run code or send data first."""

    @property
    def command(self) -> str:
        """The command that allows it."""
        return f"earmark config allow {shlex.quote(self.file)}"

    def __str__(self) -> str:
        state = "has changed since it was allowed" if self.changed else "is not allowed yet"
        more = f", and {len(self.sets) - 1} more" if len(self.sets) > 1 else ""
        sets = f" ({self.sets[0]}{more})" if self.sets else ""
        return (
            f"{self.file} was found, not named, and {state}{sets}:"
            f" read it, then allow it with `{self.command}`, or name it with --config"
        )

    def facts(self) -> dict[str, Any]:
        """Return the typed fields by name, `command` among them."""
        return {**super().facts(), "command": self.command}
