"""What the calls of a session came to: its statement."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, Final

from msgspec import Struct, field

from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Account, Reservation
from earmark.money import Money
from earmark.workspace.resources.books import labels_of

_UNNAMED: Final = "?"
#: Reservations that are read at once.
_PAGE: Final = 1000


def read_calls(ledger: Ledger, budget: str, *, after: int) -> "dict[str, CallTotals]":
    """Return what the calls at or below *budget* came to, by model, in the order of their first.

    *after* is a number of an entry before the session's: nothing up to it is read. Calls are read
    and added up page by page, and none is kept.
    """
    return totals_by_model(map(SessionCall.of, _reservations(ledger, budget, after)))


def _reservations(ledger: Ledger, budget: str, after: int) -> Iterator[Reservation]:
    while True:
        page = ledger.holds(budget, state=None, after=after, most=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].seq


def totals_by_model(calls: "Iterable[SessionCall]") -> "dict[str, CallTotals]":
    """Return the totals of *calls* by model, in the order of their first calls."""
    found: dict[str, CallTotals] = {}
    for each in calls:
        found[each.model] = found.get(each.model, CallTotals()).plus(CallTotals.of(each))
    return found


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

    calls: int = 0
    """Those that reached their provider, as far as is known."""
    released: int = 0
    """Those that were not billed: their holds were given back."""
    held: Money = Money()
    """Of those that are under way."""
    settled: Money = Money()
    """Of those that are not, what is presumed included."""
    presumed: Money = Money()

    @classmethod
    def of(cls, call: SessionCall) -> "CallTotals":
        """Return the totals of one *call*."""
        settled = call.settled or Money()
        return cls(
            calls=int(call.state != "released"),
            released=int(call.state == "released"),
            held=call.hold if call.state == "open" else Money(),
            settled=settled,
            presumed=settled if call.state == "presumed" else Money(),
        )

    def plus(self, other: "CallTotals") -> "CallTotals":
        """Return the totals of the calls of both."""
        return CallTotals(
            calls=self.calls + other.calls,
            released=self.released + other.released,
            held=self.held + other.held,
            settled=self.settled + other.settled,
            presumed=self.presumed + other.presumed,
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
    models: Mapping[str, CallTotals]
    """What the calls came to by model, in the order of their first calls."""
    limit: Money | None = None
    """Of the session; `None` for that of the budgets above alone."""
    left: Money | None = None
    """On the whole path of the budget; `None` where no limit is in USD."""
    refusals: Mapping[str, int] | None = field(default_factory=dict[str, int])
    """How many requests were refused, by reason; `None` where the gateway is another program's."""
    last_refusal: str = ""
    observed: bool = False
    """Whether its tree is observed, so that no limit binds."""
    store: str | None = None
    """The URL of the books, without its password; `None` where they are another program's."""
    notices: Sequence[str] = ()
    """What was said before the command started."""

    def totals(self) -> CallTotals:
        """Return the totals of all calls."""
        return reduce(CallTotals.plus, self.models.values(), CallTotals())

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON: amounts are decimal strings in USD."""
        return {
            "store": self.store,
            "budget": self.budget,
            "limit": _text(self.limit),
            **self.totals().to_json(),
            "left": _text(self.left),
            "refused": None if self.refusals is None else sum(self.refusals.values()),
            "refusals": self.refusals,
            "last_refusal": self.last_refusal,
            "observed": self.observed,
            "notices": list(self.notices),
            "models": {model: totals.to_json() for model, totals in self.models.items()},
        }


def _text(amount: Money | None) -> str | None:
    return None if amount is None else str(amount)
