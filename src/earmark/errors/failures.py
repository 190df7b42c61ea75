"""What failed: calls, stages, stores, and things that are not there."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from earmark.errors.base import EarmarkError


@dataclass(kw_only=True, eq=False)
class NotFound(EarmarkError):
    """No such reservation, budget, run, stage, model or file."""

    code: ClassVar[str] = "not_found"
    kind: str
    name: str
    hint: str = ""

    def __str__(self) -> str:
        return f"no {self.kind} '{self.name}'" + (f": {self.hint}" if self.hint else "")


@dataclass(kw_only=True, eq=False)
class CallFailed(EarmarkError):
    """One call failed; *billed* says what is known of its cost.

    `no`: it was refused before any work, so it cost nothing. `unknown`: it may have been billed, so
    the whole hold counts as spent until somebody settles it truly, or *known_cost* where that is
    more: what the counters cost that came before it failed; *unknown* names those without a price.
    `yes`: *usage* or *cost* is known. *note*: why it is not known, in words that can be kept beside
    the cost for ever: none of a prompt, a reply or a foreign error. *retry_after*: the seconds the
    other side asks to wait, where that is short. *model* and *request_id*: the provider's own
    names, where it told them.
    """

    code: ClassVar[str] = "call_failed"
    detail: str
    billed: Literal["no", "unknown", "yes"]
    retryable: bool = False
    status: int | None = None
    retry_after: float | None = None
    usage: Any = None
    cost: Any = None
    known_cost: Any = None
    unknown: tuple[str, ...] = ()
    note: str = ""
    model: str | None = None
    request_id: str | None = None
    charge: Any = None

    def __str__(self) -> str:
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

    def __str__(self) -> str:
        return f"stage '{self.stage}' failed at {self.path} (attempt {self.attempt}): {self.detail}"


@dataclass(kw_only=True, eq=False)
class StoreError(EarmarkError):
    """The books could not be read or written."""

    code: ClassVar[str] = "store_error"
    store: str
    detail: str

    def __str__(self) -> str:
        return f"store {self.store}: {self.detail}"


@dataclass(kw_only=True, eq=False)
class StoreUnavailable(StoreError):
    """The store cannot be reached, written or read now; call again with the same key."""

    code: ClassVar[str] = "store_unavailable"


@dataclass(kw_only=True, eq=False)
class ClockStepped(StoreUnavailable):
    """The machine's clock was set, by more than five minutes, since the store was opened."""

    code: ClassVar[str] = "clock_stepped"


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
    """The tables of the store are newer than this program, or older and to be migrated first."""

    code: ClassVar[str] = "schema_mismatch"


@dataclass(kw_only=True, eq=False)
class UnknownField(StoreError):
    """A budget has a field of a newer program; nothing is decided by that budget until then."""

    code: ClassVar[str] = "unknown_field"
    budget: str
    field: str
    store: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return (
            f"budget '{self.budget}' has the field '{self.field}', which this program does not"
            " know: use a newer Earmark"
        )


@dataclass(kw_only=True, eq=False)
class UnknownUnit(StoreError):
    """A limit or a count is of a unit of a newer program; nothing is decided by it until then."""

    code: ClassVar[str] = "unknown_unit"
    unit: str
    store: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return (
            f"the books count '{self.unit}', a unit which this program does not know:"
            " use a newer Earmark"
        )
