"""What a ledger of extreme amounts must answer, counted anew without the rules."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from earmark.ledger.values import (
    AS_HELD,
    Amounts,
    Extend,
    OnReservation,
    Presume,
    Release,
    Reserve,
    Settle,
)

#: The last instant and the largest sum of a 64-bit store.
LAST = 2**63 - 1
#: The largest amount of one reservation.
MOST = 2**53 - 1

Units = dict[str, int]


@dataclass
class Hold:
    """One reservation: where it counts, and what it holds and came to."""

    path: str
    expires: int
    asked: Units
    held: Units
    actual: Units | None = None
    state: str = "open"


@dataclass
class Extremes:
    """Accounts as `{(budget, unit): [limit, settled, held]}` and the reservations on them."""

    accounts: dict[tuple[str, str], list[int]]
    holds: dict[str, Hold] = field(default_factory=dict[str, Hold])

    def answer(self, op: OnReservation, now: int) -> bool:
        """Return whether *op* is accepted or was before, and count it if so."""
        match op:
            case Reserve():
                return self._reserve(op, now)
            case Extend():
                return self._extend(self.holds.get(op.key), units(op.amounts), op.ttl, now)
            case Settle():
                return self._settle(self.holds.get(op.key), op.amounts)
            case Release():
                return self._release(self.holds.get(op.key))
            case Presume():
                return self._presume(self.holds.get(op.key), op.known)

    def sweep(self, now: int) -> None:
        """Presume what is past its deadline."""
        for hold in self.holds.values():
            if hold.state == "open" and hold.expires <= now:
                assert self._close(hold, hold.held, "presumed"), "any hold can be presumed"

    def _above(self, path: str) -> Iterable[tuple[str, list[int]]]:
        for (budget, unit), sums in self.accounts.items():
            if f"{path}/".startswith(f"{budget}/"):
                yield unit, sums

    def _fits(self, path: str, wanted: Units) -> bool:
        above = list(self._above(path))
        return bool(above) and all(s + h + wanted[unit] <= most for unit, (most, s, h) in above)

    def _hold(self, path: str, wanted: Units) -> None:
        for unit, sums in self._above(path):
            sums[2] += wanted[unit]

    def _reserve(self, op: Reserve, now: int) -> bool:
        wanted = units(op.amounts)
        known = self.holds.get(op.key)
        if known is not None:
            return (known.path, known.asked) == (op.budget, wanted)
        if now + op.ttl > LAST or not self._fits(op.budget, wanted):
            return False
        self._hold(op.budget, wanted)
        self.holds[op.key] = Hold(op.budget, now + op.ttl, wanted, wanted)
        return True

    def _extend(self, hold: Hold | None, more: Units, ttl: int, now: int) -> bool:
        if hold is None or hold.state != "open" or now + ttl > LAST:
            return False
        grown = {unit: amount + more[unit] for unit, amount in hold.held.items()}
        fits = max(grown.values()) <= MOST and self._fits(hold.path, more)
        if not fits and not (ttl and grown == hold.held):
            return False
        self._hold(hold.path, more)
        hold.held = grown
        hold.expires = max(hold.expires, now + ttl) if ttl else hold.expires
        return True

    def _settle(self, hold: Hold | None, amounts: Amounts) -> bool:
        if hold is None or hold.state == "released":
            return False
        actual = units(amounts, hold.held)
        if hold.state == "settled":
            return actual == hold.actual
        return self._close(hold, actual, "settled")

    def _release(self, hold: Hold | None) -> bool:
        if hold is None or hold.state == "settled":
            return False
        return hold.state == "released" or self._close(hold, units(NONE), "released")

    def _presume(self, hold: Hold | None, known: Amounts | None) -> bool:
        if hold is None or hold.state not in {"open", "presumed"}:
            return False
        least, counted = units(known or NONE, hold.held), hold.actual or hold.held
        most = {unit: max(amount, least[unit]) for unit, amount in counted.items()}
        if known is None or most == hold.actual:
            return hold.state == "presumed" or self._close(hold, hold.held, "presumed")
        return self._close(hold, most, "presumed")

    def _close(self, hold: Hold, actual: Units, state: str) -> bool:
        above = list(self._above(hold.path))
        back = hold.held if hold.state == "open" else units(NONE)
        before = hold.actual or units(NONE)
        after = [(s + actual[u] - before[u], h - back[u]) for u, (_, s, h) in above]
        if any(settled + held > LAST for settled, held in after):
            return False
        for (_, sums), changed in zip(above, after, strict=True):
            sums[1:] = changed
        hold.state, hold.actual = state, actual
        return True


NONE = Amounts(0, 0, 0)


def units(amounts: Amounts, held: Units | None = None) -> Units:
    """Return *amounts* by unit, with what is not given as it was *held*."""
    calls, tokens = amounts.calls, amounts.tokens
    return {
        "usd": amounts.usd,
        "calls": held["calls"] if held and calls == AS_HELD else calls,
        "tokens": (held["tokens"] if held else 0) if tokens is None else tokens,
    }
