"""What the books say of one try: whether anything was sent, and that nothing will be any more."""

from enum import StrEnum
from typing import Final

from earmark.board.task import Attempt
from earmark.errors import BudgetExceeded, KeyReused, NoBudget
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter
from earmark.ledger.values import Reservation


class Trail(StrEnum):
    """What the books say of a try."""

    SENT = "sent"
    """It may have been billed."""
    NOTHING = "nothing"
    """It sent nothing, and never will."""
    HIDDEN = "hidden"
    """A pause keeps its key from being taken: look again later."""


def key_of(task_id: str, attempt: int) -> str:
    """Return the key under which the try of a model stage is paid."""
    return f"task-{task_id}-{attempt}"


def reservations_of(ledger: Ledger, attempt: Attempt) -> list[Reservation]:
    """Return the reservations of one try: a model's one, or those of a composition's run."""
    if not attempt.key:
        return ledger.store.reservations(Filter(budget=attempt.budget)) if attempt.run_id else []
    found = ledger.store.reservation(attempt.key)
    return [] if found is None else [found]


def was_sent(ledger: Ledger, attempt: Attempt) -> bool:
    """Return whether something of the try may have been sent, and so billed."""
    return any(_counts(each) for each in reservations_of(ledger, attempt))


def is_unresolved(ledger: Ledger, attempt: Attempt) -> bool:
    """Return whether nobody knows what the try cost."""
    found = reservations_of(ledger, attempt)
    return any(each.state in {"open", "presumed"} for each in found)


def look(ledger: Ledger, attempt: Attempt) -> Trail:
    """Return what the try of a heartbeat that seems dead has sent, and keep it from sending more.

    It may not be dead but stopped in the middle. It pays under the try's key before it sends, so
    whoever takes that key keeps it from sending: a reservation of nothing, given back.
    """
    if not attempt.key or ledger.store.reservation(attempt.key) is not None:
        return Trail.SENT if was_sent(ledger, attempt) else Trail.NOTHING
    try:
        ledger.reserve(attempt.budget, 0, key=attempt.key, units=_NOTHING)
        ledger.release(attempt.key)
    except KeyReused:
        return Trail.SENT
    except BudgetExceeded:
        return Trail.HIDDEN
    except NoBudget:
        pass
    return Trail.NOTHING


_NOTHING: Final = {"calls": 0, "tokens": 0}


def _counts(reservation: Reservation) -> bool:
    # Who bars a try reserves no call; everybody who makes one reserves it.
    return reservation.state != "released" and reservation.hold.calls > 0
