"""Every error Earmark raises, and the one table of their exit codes and HTTP statuses.

    EarmarkError
    ├─ InputError (ValueError)          the caller's fault; asking again changes nothing
    │  ├─ InvalidAmount                 not an amount of money or units
    │  │  └─ FloatAmount (TypeError)    a float is never money
    │  ├─ InvalidDuration · InvalidLimit · InvalidPath · InvalidKey · InvalidUsage
    │  ├─ InvalidComposition            with the place inside the graph
    │  ├─ InvalidStage                  with the place inside the stage's definition
    │  └─ InvalidConfig                 with the file and the setting
    ├─ Refusal                          a decided no; nothing was changed
    │  ├─ BudgetExceeded                the amount does not fit: why, where, by how much
    │  ├─ NoBudget                      no limit anywhere on the path
    │  ├─ KeyReused                     a key came back with other content
    │  ├─ ReservationClosed             the reservation is no longer open
    │  └─ CheckFailed                   a composition's types, effects or prices are refused
    ├─ NotFound                         no such thing by that name
    ├─ CallFailed                       one model or stage call failed; says what is known of its
    cost ├─ StageFailed                      a stage of a run failed for good
    └─ StoreError                       the books could not be read or written
       ├─ StoreUnavailable              the outcome may be unknown: call again with the same key
       ├─ StoreClosed                   the ledger was closed
       ├─ StoreCorrupt                  the file is not a healthy store
       └─ SchemaMismatch                written by a newer Earmark

Each class has typed fields, a stable `code`, and one sentence: what was refused, the numbers, what
to do next. A message never holds a provider's key, a password or a prompt.
"""

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal


class Reason(StrEnum):
    """Why an amount was refused; of several reasons the most lasting one is given."""

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
class EarmarkError(Exception):
    """The root of the tree; `code` names the fact for machines."""

    code: ClassVar[str] = "error"
    statement: Any = field(default=None, repr=False)
    """What the run that this error ended cost; `None` outside of runs."""

    def sentence(self) -> str:
        """Return what happened, the numbers, and what to do next."""
        return self.code

    def facts(self) -> dict[str, Any]:
        """Return the typed fields by name; a wire format decides how each is written."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.repr}

    def __str__(self) -> str:
        return self.sentence()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), {f.name: getattr(self, f.name) for f in fields(self)})


def _rebuild(kind: type[EarmarkError], values: dict[str, Any]) -> EarmarkError:
    return kind(**values)


# The caller's fault -------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False)
class InputError(EarmarkError, ValueError):
    """The request itself is wrong; asking again changes nothing."""

    code: ClassVar[str] = "input_error"


@dataclass(kw_only=True, eq=False)
class InvalidAmount(InputError):
    """Not an amount: negative, not a number, finer than a nano-dollar, or absurdly large."""

    code: ClassVar[str] = "invalid_amount"
    text: str
    want: str

    def sentence(self) -> str:
        """Say what was given and what an amount looks like."""
        return f"{self.text} is not an amount: give {self.want}"


@dataclass(kw_only=True, eq=False)
class FloatAmount(InvalidAmount, TypeError):
    """A float was given as money; its digits are not the ones that were typed."""

    code: ClassVar[str] = "float_amount"


@dataclass(kw_only=True, eq=False)
class InvalidDuration(InputError):
    """Not a duration or not a moment in time."""

    code: ClassVar[str] = "invalid_duration"
    text: str
    want: str

    def sentence(self) -> str:
        """Say what was given and what a duration looks like."""
        return f"{self.text!r} is not a duration: give {self.want}"


@dataclass(kw_only=True, eq=False)
class InvalidLimit(InputError):
    """Not a limit: unknown unit, window or time zone; *kind* names which."""

    code: ClassVar[str] = "invalid_limit"
    text: str
    want: str
    kind: str = "limit"

    def sentence(self) -> str:
        """Say what was given and what a limit, or that part of one, looks like."""
        return f"{self.text!r} is not a {self.kind}: give {self.want}"


@dataclass(kw_only=True, eq=False)
class InvalidPath(InputError):
    """Not a budget path."""

    code: ClassVar[str] = "invalid_path"
    text: str
    want: str

    def sentence(self) -> str:
        """Say what was given and what a path looks like."""
        return f"{self.text!r} is not a budget path: give {self.want}"


@dataclass(kw_only=True, eq=False)
class InvalidKey(InputError):
    """Not a key or not labels of an operation."""

    code: ClassVar[str] = "invalid_key"
    text: str
    want: str

    def sentence(self) -> str:
        """Say what was given and what a key looks like."""
        return f"{self.text!r} is not a key: give {self.want}"


@dataclass(kw_only=True, eq=False)
class InvalidUsage(InputError):
    """Counted units that cannot be: negative, or a part larger than its whole."""

    code: ClassVar[str] = "invalid_usage"
    detail: str

    def sentence(self) -> str:
        """Say which count is wrong."""
        return f"usage refused: {self.detail}"


@dataclass(kw_only=True, eq=False)
class InvalidComposition(InputError):
    """A graph that is no composition; *place* is a JSON pointer into it."""

    code: ClassVar[str] = "invalid_composition"
    place: str
    detail: str

    def sentence(self) -> str:
        """Say where the graph is wrong, and how."""
        return f"composition refused at {self.place or '/'}: {self.detail}"


@dataclass(kw_only=True, eq=False)
class InvalidStage(InputError):
    """A stage's definition that is none; *place* is a JSON pointer into it."""

    code: ClassVar[str] = "invalid_stage"
    place: str
    detail: str

    def sentence(self) -> str:
        """Say where the definition is wrong, and how."""
        return f"stage refused at {self.place or '/'}: {self.detail}"


@dataclass(kw_only=True, eq=False)
class InvalidConfig(InputError):
    """A setting that cannot be used; *place* names the file and the setting."""

    code: ClassVar[str] = "invalid_config"
    place: str
    detail: str

    def sentence(self) -> str:
        """Say which setting is wrong, and how."""
        return f"configuration refused at {self.place}: {self.detail}"


# A decided no -------------------------------------------------------------------------------------


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
    resets_at: datetime | None = None
    detail: str = ""

    @property
    def retryable(self) -> bool:
        """Whether asking again soon can succeed: only what is in flight is in the way."""
        return self.reason is Reason.HELD

    def facts(self) -> dict[str, Any]:
        """Return the typed fields by name, `retryable` among them."""
        return {**super().facts(), "retryable": self.retryable}

    def sentence(self) -> str:
        """Say which budget refused how much of what, why, and when it may fit."""
        if not self.budget:
            return f"{self.reason}: {self.detail}"
        who = f"budget '{self.budget}' refused"
        if self.requested is not None:
            who += f" {self.requested} {self.unit}"
        if self.limit is None:
            return f"{who}: {self.detail or _REMEDY[self.reason]}"
        numbers = (
            f"{self.available} of {self.limit} {self.unit} {self.window} available"
            f" ({self.settled} settled, {self.held} held)"
        )
        until = "" if self.reason is Reason.TOO_LARGE else _until(self.resets_at)
        return f"{who}: {numbers}; {_REMEDY[self.reason]}{until}"


_REMEDY = {
    Reason.TOO_LARGE: "it is more than the whole limit: ask for less or raise the limit",
    Reason.PAUSED: "the budget is paused: resume it",
    Reason.UNPRICED: "its cost is unknown: give it a price or a bound",
    Reason.EXHAUSTED: "it is spent: extend the budget, or wait",
    Reason.HELD: "it is held by what is in flight: wait for that to settle",
}


def _until(moment: datetime | None) -> str:
    return "" if moment is None else f"; resets at {moment.isoformat().replace('+00:00', 'Z')}"


@dataclass(kw_only=True, eq=False)
class NoBudget(Refusal):
    """No budget on the path has a limit; nothing runs unlimited by accident."""

    code: ClassVar[str] = "no_budget"
    budget: str

    def sentence(self) -> str:
        """Say which path is without a limit and how to set one."""
        return (
            f"no limit on '{self.budget}' or above it: set one, for example"
            f" `earmark budget set {self.budget} --limit '10 usd per day'`"
        )


@dataclass(kw_only=True, eq=False)
class KeyReused(Refusal):
    """The key of an accepted operation came back with other content."""

    code: ClassVar[str] = "key_reused"
    key: str
    field: str
    first: str
    now: str

    def sentence(self) -> str:
        """Say which part of the content differs."""
        return (
            f"key '{self.key}' was used before with {self.field} {self.first}, now {self.now}:"
            " use a new key for a new operation"
        )


@dataclass(kw_only=True, eq=False)
class ReservationClosed(Refusal):
    """The reservation is no longer open, so it cannot be changed this way."""

    code: ClassVar[str] = "reservation_closed"
    key: str
    state: str

    def sentence(self) -> str:
        """Say what became of the reservation."""
        return f"reservation '{self.key}' is already {self.state}: reserve again under a new key"


@dataclass(kw_only=True, eq=False)
class CheckFailed(Refusal):
    """A composition was refused before a call was made: its types, effects, prices or policy."""

    code: ClassVar[str] = "check_failed"
    problems: tuple[str, ...]

    def sentence(self) -> str:
        """List what the check found."""
        return "composition refused: " + "; ".join(self.problems)


# What failed --------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False)
class NotFound(EarmarkError):
    """No such reservation, budget, run, stage, model or file."""

    code: ClassVar[str] = "not_found"
    kind: str
    name: str
    hint: str = ""

    def sentence(self) -> str:
        """Say what was looked for."""
        return f"no {self.kind} '{self.name}'" + (f": {self.hint}" if self.hint else "")


@dataclass(kw_only=True, eq=False)
class CallFailed(EarmarkError):
    """One call failed; *billed* says what is known of its cost.

    `no`: it was refused before any work, so it cost nothing. `unknown`: it may have been billed, so
    the whole hold counts as spent until somebody settles it truly. `yes`: *usage* or *cost* is
    known. *retry_after*: the seconds the other side asks to wait, where that is short.
    """

    code: ClassVar[str] = "call_failed"
    detail: str
    billed: Literal["no", "unknown", "yes"]
    retryable: bool = False
    status: int | None = None
    retry_after: float | None = None
    usage: Any = None
    cost: Any = None
    charge: Any = None

    def sentence(self) -> str:
        """Say what failed and whether it may have been billed."""
        cost = {"no": "not billed", "unknown": "cost unknown", "yes": "billed"}[self.billed]
        return f"call failed ({cost}): {self.detail}"


@dataclass(kw_only=True, eq=False)
class StageFailed(EarmarkError):
    """A stage of a run failed for good; `statement` says what the run cost until then."""

    code: ClassVar[str] = "stage_failed"
    stage: str
    path: str
    attempt: int
    detail: str
    retryable: bool = True

    def sentence(self) -> str:
        """Say which stage failed, where in the graph, at which attempt."""
        return f"stage '{self.stage}' failed at {self.path} (attempt {self.attempt}): {self.detail}"


@dataclass(kw_only=True, eq=False)
class StoreError(EarmarkError):
    """The books could not be read or written."""

    code: ClassVar[str] = "store_error"
    store: str
    detail: str

    def sentence(self) -> str:
        """Say which store failed and how."""
        return f"store {self.store}: {self.detail}"


@dataclass(kw_only=True, eq=False)
class StoreUnavailable(StoreError):
    """The store cannot be reached, written or read now; call again with the same key."""

    code: ClassVar[str] = "store_unavailable"


@dataclass(kw_only=True, eq=False)
class StoreClosed(StoreError):
    """The ledger was closed."""

    code: ClassVar[str] = "store_closed"


@dataclass(kw_only=True, eq=False)
class StoreCorrupt(StoreError):
    """The file is not a healthy store; restore a backup."""

    code: ClassVar[str] = "store_corrupt"


@dataclass(kw_only=True, eq=False)
class SchemaMismatch(StoreError):
    """The store was written by a newer Earmark."""

    code: ClassVar[str] = "schema_mismatch"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an error leaves the program: a process's exit code, an HTTP status."""

    exit_code: int
    http_status: int


#: Exit codes: 1 bad input, 2 refused, 3 a stage failed. 402 is final for the SDKs' retry loops.
OUTCOMES: dict[str, Outcome] = {
    "error": Outcome(1, 500),
    "input_error": Outcome(1, 400),
    "invalid_amount": Outcome(1, 400),
    "float_amount": Outcome(1, 400),
    "invalid_duration": Outcome(1, 400),
    "invalid_limit": Outcome(1, 400),
    "invalid_path": Outcome(1, 400),
    "invalid_key": Outcome(1, 400),
    "invalid_usage": Outcome(1, 400),
    "invalid_composition": Outcome(1, 400),
    "invalid_stage": Outcome(1, 400),
    "invalid_config": Outcome(1, 400),
    "refusal": Outcome(2, 402),
    "budget_exceeded": Outcome(2, 402),
    "no_budget": Outcome(2, 402),
    "key_reused": Outcome(2, 422),
    "reservation_closed": Outcome(2, 409),
    "check_failed": Outcome(2, 422),
    "not_found": Outcome(1, 404),
    "call_failed": Outcome(3, 502),
    "stage_failed": Outcome(3, 502),
    "store_error": Outcome(1, 503),
    "store_unavailable": Outcome(1, 503),
    "store_closed": Outcome(1, 503),
    "store_corrupt": Outcome(1, 503),
    "schema_mismatch": Outcome(1, 503),
}
