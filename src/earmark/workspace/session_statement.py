"""What the calls of a session came to: its statement."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, field

from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Account, Reservation
from earmark.money import Money
from earmark.workspace.resources.books import labels_of

_UNNAMED: Final = "?"
#: Reservations that are read at once.
_PAGE: Final = 1000


def read_calls(ledger: Ledger, budget: str) -> "list[SessionCall]":
    """Return the calls at or below *budget*, in their order."""
    calls, after = list[SessionCall](), 0
    while page := ledger.holds(budget, state=None, after=after, most=_PAGE):
        calls += map(SessionCall.of, page)
        after = page[-1].seq
    return calls


def usd_left(accounts: Sequence[Account]) -> Money | None:
    """Return what the smallest limit in USD has left; `None` where none is in USD."""
    left = [
        account.line.limit - account.settled - account.held
        for account in accounts
        if account.line.unit == "usd"
    ]
    return Money.nanos(min(left)) if left else None


class SessionCall(Struct, frozen=True, kw_only=True):
    """One call that was let in."""

    model: str
    """`provider/model`."""
    state: str
    hold: Money
    settled: Money | None

    @classmethod
    def of(cls, reservation: Reservation) -> "SessionCall":
        """Return the call that *reservation* was opened for."""
        return cls(
            model=labels_of(reservation).get("model", _UNNAMED),
            state=reservation.state,
            hold=reservation.amount,
            settled=reservation.settled,
        )

    @classmethod
    def from_json(cls, call: Mapping[str, Any]) -> "SessionCall":
        """Return a call of a gateway's `/v1/earmark/statement`."""
        settled = call["settled"]
        return cls(
            model=call["model"] or _UNNAMED,
            state=call["state"],
            hold=Money(call["hold"]),
            settled=None if settled is None else Money(settled),
        )


class CallTotals(Struct, frozen=True, kw_only=True):
    """What several calls came to."""

    calls: int
    """Those that reached their provider, as far as is known."""
    released: int
    """Those that were not billed: their holds were given back."""
    held: Money
    """Of those that are under way."""
    settled: Money
    """Of those that are not, what is presumed included."""
    presumed: Money

    @classmethod
    def of(cls, calls: Sequence[SessionCall]) -> "CallTotals":
        """Return the totals of *calls*."""
        return cls(
            calls=sum(each.state != "released" for each in calls),
            released=sum(each.state == "released" for each in calls),
            held=_sum(each.hold for each in calls if each.state == "open"),
            settled=_sum(each.settled or Money() for each in calls),
            presumed=_sum(each.settled or Money() for each in calls if each.state == "presumed"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON: amounts are decimal strings in USD."""
        return {
            "calls": self.calls,
            "released": self.released,
            "held": str(self.held),
            "settled": str(self.settled),
            "presumed": str(self.presumed),
        }


class SessionStatement(Struct, frozen=True, kw_only=True):
    """What the calls of one command came to, and what its budget has left."""

    budget: str
    calls: Sequence[SessionCall]
    limit: Money | None = None
    """Of the session; `None` for that of the budgets above alone."""
    left: Money | None = None
    """On the whole path of the budget; `None` where no limit is in USD."""
    refusals: Mapping[str, int] | None = field(default_factory=dict[str, int])
    """How many requests were refused, by reason; `None` where the gateway is another program's."""
    last_refusal: str = ""
    observed: bool = False
    """Whether its tree is observed, so that no limit binds."""

    def totals(self) -> CallTotals:
        """Return the totals of all calls."""
        return CallTotals.of(self.calls)

    def by_model(self) -> Mapping[str, CallTotals]:
        """Return the totals of each model, in the order of their first calls."""
        found: dict[str, list[SessionCall]] = {}
        for each in self.calls:
            found.setdefault(each.model, []).append(each)
        return {model: CallTotals.of(calls) for model, calls in found.items()}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON: amounts are decimal strings in USD."""
        return {
            "budget": self.budget,
            "limit": _text(self.limit),
            **self.totals().to_json(),
            "left": _text(self.left),
            "refused": None if self.refusals is None else sum(self.refusals.values()),
            "refusals": self.refusals,
            "last_refusal": self.last_refusal,
            "observed": self.observed,
            "models": {model: totals.to_json() for model, totals in self.by_model().items()},
        }


def _sum(amounts: Iterable[Money]) -> Money:
    return sum(amounts, Money())


def _text(amount: Money | None) -> str | None:
    return None if amount is None else str(amount)
