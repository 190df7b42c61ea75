"""The charge of a guarded call, and the port to a record of it."""

from dataclasses import dataclass
from typing import Protocol, cast

from earmark.admission.call import Reply
from earmark.errors import BudgetExceeded
from earmark.errors.inputs import wrong_argument
from earmark.ledger.values import State, TableRows
from earmark.money import Money
from earmark.pricing.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """How a call was booked: what it held, what it counts as having cost, and why."""

    key: str
    budget: str
    hold: Money
    """All that was held for it, extensions included."""
    settled: Money
    """What is booked: its cost; where `state` is `presumed` the larger of hold and known cost."""
    overrun: Money
    """How much of it exceeds the hold."""
    state: State
    usage: Usage | None = None
    """What was counted, by kind."""
    unknown: tuple[str, ...] = ()
    """`path = number` of each counter of the reply whose price is unknown."""
    model: str | None = None
    """The model that answered."""
    request_id: str | None = None
    """The provider's own id of the request."""
    clamped_to: int | None = None
    """The output tokens it was limited to, if fewer than its caller wanted."""
    waited_ns: int = 0
    """How long it waited in the ledger's queue."""
    duration_ns: int = 0
    """How long it took once it was sent."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldQuote:
    """What a call would hold, had it been opened; nothing was."""

    hold: Money
    """What would be held; of a refused call the least that was asked for."""
    max_output_tokens: int | None
    """The output limit that would be sent, per choice."""
    clamped_to: int | None
    """The same where it is less than was asked for."""
    refusal: BudgetExceeded | None
    """Why nothing would be held without waiting; `None` where it fits."""
    would_refuse: BudgetExceeded | None = None
    """Why not, if its observed tree were enforced; `None` where it would fit."""


class Recorder(Protocol):
    """Writes a record of a call in the transaction that books it."""

    def write(self, rows: TableRows, charge: Charge, failure: BaseException | None) -> None:
        """Write how the call ended and what it was charged.

        It runs in the thread that commits, and runs again for the same call, with the same values,
        if its booking is repeated. If it raises, the call is booked without a record.
        """
        ...

    def written(self) -> None:
        """Handle that the last record is durable; runs in the loop of the call."""
        ...


def check_recorder(value: object) -> Recorder | None:
    """Return *value*, a recorder or `None`; raises `InvalidUsage` for anything else."""
    if value is None:
        return None
    # By name: `isinstance` of a protocol takes several times as long, and this is asked per call.
    methods = getattr(value, "write", None), getattr(value, "written", None)
    if isinstance(value, type) or not all(map(callable, methods)):
        raise wrong_argument("recorder", value, "an object with the methods write and written")
    return cast("Recorder", value)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A reply and its charge."""

    reply: Reply
    charge: Charge
