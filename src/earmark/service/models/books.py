"""Budgets, reservations, entries, alerts, runs and the audit."""

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field

from earmark.budget.budget import BudgetKind
from earmark.ledger.values import Kind, State
from earmark.runs.statement import RunStatus
from earmark.service.models.base import (
    Amount,
    DurationField,
    Form,
    KeyField,
    MomentField,
    NoteField,
    PathField,
    RequestBody,
    Units,
    Usd,
)  # fmt: skip


class BudgetBody(RequestBody):
    """What to change of a budget; what is not given stays, a list replaces the whole list."""

    limits: list[Annotated[str, Field(strict=True, max_length=100)]] | None = Field(
        default=None, max_length=32, examples=[["10 usd per day", "3 calls per 30min"]]
    )
    timezone: str | None = Field(default=None, strict=True, max_length=64)
    alerts: list[Annotated[str, Field(strict=True, max_length=40)]] | None = Field(
        default=None, max_length=16, description="Shares of each limit; a new budget has 0.8 and 1."
    )
    count_back: bool = Field(
        default=False,
        strict=True,
        description="Whether limits of new windows count what was spent in their interval before.",
    )
    reason: NoteField = ""


class PauseBody(RequestBody):
    """Why, and until when; until resumed where that is null."""

    reason: NoteField = ""
    until: AwareDatetime | None = None


class ReasonBody(RequestBody):
    """Why."""

    reason: NoteField = ""


class ExtensionBody(RequestBody):
    """What to add to the limit of the same unit and window, and until when."""

    limit: str = Field(strict=True, max_length=100, examples=["2 usd per day"])
    until: AwareDatetime
    reason: NoteField = ""


class Noted(Form):
    """Who did it, why, and until when."""

    actor: str
    reason: str
    until: MomentField | None


class Extension(Noted):
    """What was added to a limit for a while."""

    limit: str


class Balance(Form):
    """One limit in its current interval: limit = settled + held + available."""

    unit: str
    window: str
    limit: Amount
    settled: Amount
    held: Amount
    available: Amount
    starts_at: MomentField | None
    resets_at: MomentField | None


class Budget(Form):
    """A budget and how each of its limits stands."""

    path: str
    kind: BudgetKind
    """`budget`, or who opened it for itself: a `run`, a `session`."""
    limits: list[str]
    timezone: str
    alerts: list[str]
    paused: Noted | None
    extensions: list[Extension]
    balances: list[Balance]


class BudgetTree(Budget):
    """A budget with those below it, those of runs left out."""

    below: list[Budget]


class ReserveBody(RequestBody):
    """The most that something can cost, and who pays."""

    budget: PathField
    amount: Usd
    units: Units = Field(default={})
    key: KeyField | None = Field(
        default=None, description="Names the reservation; made from the Idempotency-Key, else new."
    )
    deadline: DurationField = "1h"
    wait: DurationField | None = Field(
        default=None, description="How long to wait for what is in flight; at most 60s."
    )
    labels: dict[str, str] = Field(default={}, max_length=64)


Details = Annotated[
    dict[str, Any],
    Field(
        default=dict[str, Any](),
        description="Kept with it, at most 4,096 characters of JSON: `model`, `request_id`, …",
    ),
]


class AmountBody(RequestBody):
    """What it really cost."""

    amount: Usd
    units: Units = Field(default={})


class SettleBody(AmountBody):
    """What it really cost, and what is kept with that."""

    details: Details


class PresumeBody(RequestBody):
    """What is known of a cost that nobody knows in full."""

    known: Usd | None = Field(
        default=None, description="What it cost at least: counted where it is more than the hold."
    )
    units: Units = Field(default={})
    details: Details


class ExtendBody(RequestBody):
    """What to add to a hold, and how long it is to last from now."""

    amount: Usd = "0"
    units: Units = Field(default={})
    deadline: DurationField | None = Field(
        default=None, description="Moves the deadline there, if that is later than it is."
    )


class Reservation(Form):
    """Amounts set aside on every budget above one, and what became of them."""

    key: str
    budget: str
    state: State
    amount: str
    settled: str | None
    overrun: str
    units: dict[str, int]
    opened_at: MomentField
    deadline: MomentField
    closed_at: MomentField | None
    labels: dict[str, str]
    details: dict[str, Any]
    """What was kept with its settlement: model, request id, usage, counters that are not known."""
    seq: int


class Reserved(Reservation):
    """A reservation, and whether the request opened it."""

    repeated: bool
    """Whether its key was used before: nothing was opened, and `state` is what it is by now."""


class Entry(Form):
    """One accepted operation."""

    seq: int
    at: MomentField
    kind: Kind
    budget: str
    key: str
    amount: str
    units: dict[str, int]
    prior: int | None
    data: dict[str, Any]


class Alert(Form):
    """A threshold that was crossed."""

    id: str
    budget: str
    unit: str
    window: str
    threshold: str
    limit: Amount
    settled: Amount
    starts_at: MomentField | None
    resets_at: MomentField | None
    at: MomentField
    seq: int


class Audit(Form):
    """Whether every balance is what its entries say."""

    ok: bool
    problems: list[str]
    entries: int
    reservations: int
    unresolved: int
    accounts: int
    settled: str
    held: str
    over: list[str]


class Run(Form):
    """One run of a composition."""

    run_id: str
    composition_id: str
    budget: str
    limit: str
    status: RunStatus
    started_at: MomentField


class RunStatement(BaseModel):
    """What a run cost, line by line; while it runs, the lines written so far."""

    run_id: str
    composition_id: str
    budget: str
    limit: str
    status: RunStatus
    started_at: MomentField
    lines: list[dict[str, Any]]
