"""What a guarded call gave and what it was charged."""

from dataclasses import dataclass
from typing import Protocol

from earmark.admission.call import Reply
from earmark.errors import BudgetExceeded
from earmark.ledger.values import State, TableRows
from earmark.money import Money
from earmark.pricing.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """How a call was booked: what it held, what it is taken to have cost, and why."""

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
    """`path = number` of each counter of the reply whose price nobody knows."""
    model: str | None = None
    """The model that answered."""
    request_id: str | None = None
    """The provider's own name of the request."""
    clamped_to: int | None = None
    """The output tokens it was limited to, if fewer than its caller wanted."""
    waited_ns: int = 0
    """How long it waited for its turn."""
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


class Recorder(Protocol):
    """Keeps a record of a call, made durable by the transaction that books it."""

    def write(self, rows: TableRows, charge: Charge, failure: BaseException | None) -> None:
        """Write how the call ended and what it was charged.

        It runs in the thread that commits, and may run again for the same call, with the same
        values if its booking is repeated. If it raises, the call is booked without a record.
        """
        ...

    def written(self) -> None:
        """Take note that what was written last is durable; runs in the loop of the call."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """A reply and its charge."""

    reply: Reply
    charge: Charge
