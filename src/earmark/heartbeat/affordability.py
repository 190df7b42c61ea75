"""Whether the next task fits its budgets, known without a call: bounds against balances, pure."""

from collections.abc import Iterable

from msgspec import Struct

from earmark.budget.limit import USD, describe_window
from earmark.clock import END_OF_TIME
from earmark.errors import BudgetExceeded, Reason
from earmark.ledger.answers import balance
from earmark.ledger.values import Account
from earmark.money import Money
from earmark.pricing.bound import Bound


class Need(Struct, frozen=True, kw_only=True):
    """The most that a task can take of each unit."""

    usd: int
    """Nano-USD."""
    calls: int = 1
    tokens: int = 0

    @classmethod
    def of(cls, bound: Bound) -> "Need":
        """Return what a call with *bound* needs."""
        return cls(usd=bound.cost().in_nanos, tokens=bound.tokens() or 0)


class Obstacle(Struct, frozen=True, kw_only=True):
    """The limit that is in the way: the most lasting one, if there are several."""

    refusal: BudgetExceeded
    resets_at: int
    """When its interval ends; 0 for a total."""

    @property
    def is_final(self) -> bool:
        """Whether no window and nobody's settlement ends it; see `is_final`."""
        return is_final(self.refusal)

    @property
    def passes(self) -> bool:
        """Whether it goes away once what is in flight has settled."""
        return self.refusal.reason is Reason.HELD


def is_final(refusal: BudgetExceeded) -> bool:
    """Return whether what was refused can never fit.

    A limit of 0 refuses everything that costs: it is there to stop, and fails nobody.
    """
    if refusal.reason is Reason.UNPRICED:
        return True
    return refusal.reason is Reason.TOO_LARGE and bool(refusal.limit)


def obstacle(accounts: Iterable[Account], need: Need) -> Obstacle | None:
    """Return what is in the way of *need* on *accounts*; None if it fits."""
    found = [each for account in accounts if (each := _refusal(account, need)) is not None]
    return max(found, key=_lasting, default=None)


def least_obstacle(found: Iterable[tuple[Need, Obstacle | None]]) -> Obstacle | None:
    """Return what is in the way of the cheapest of some needs; None if one of them fits.

    An obstacle that passes is none: whoever waits in line gets through.
    """
    lasting: list[tuple[int, Obstacle]] = []
    for need, each in found:
        if each is None or each.passes:
            return None
        lasting.append((need.usd, each))
    return min(lasting, key=lambda pair: pair[0])[1] if lasting else None


def _refusal(account: Account, need: Need) -> Obstacle | None:
    line = account.line
    requested: int = getattr(need, line.unit)
    # As the rules of the ledger compare; what costs nothing fits everywhere.
    if not requested or requested <= account.available:
        return None
    current = balance(account, paused=False)
    return Obstacle(
        refusal=BudgetExceeded(
            reason=_reason(account, requested),
            budget=line.budget,
            unit=line.unit,
            window=describe_window(line.window),
            limit=current.limit,
            settled=current.settled,
            held=current.held,
            available=current.available,
            requested=Money.nanos(requested) if line.unit == USD else requested,
            resets_at=current.resets_at,
        ),
        resets_at=0 if line.end == END_OF_TIME else line.end,
    )


def _reason(account: Account, requested: int) -> Reason:
    if requested > account.line.limit:
        return Reason.TOO_LARGE
    return Reason.EXHAUSTED if requested > account.line.limit - account.settled else Reason.HELD


def _lasting(found: Obstacle) -> tuple[int, int]:
    rank = (Reason.HELD, Reason.EXHAUSTED, Reason.TOO_LARGE).index(found.refusal.reason)
    return rank, found.resets_at or END_OF_TIME
