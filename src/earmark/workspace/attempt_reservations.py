"""The reservations of one attempt: whether it may have sent a call, and how to fence it off."""

from enum import StrEnum

from earmark.board.task import Attempt
from earmark.errors import BudgetExceeded, KeyReused, NoBudget
from earmark.ledger.amounts import no_counts
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter
from earmark.ledger.values import Reservation


class FenceResult(StrEnum):
    """Whether a fenced attempt has sent a call."""

    SENT = "sent"
    """It may have been billed."""
    UNSENT = "unsent"
    """It sent nothing, and cannot any more."""
    BLOCKED = "blocked"
    """A pause keeps its key from being taken: try again later."""


def attempt_key(task_id: str, attempt: int) -> str:
    """Return the idempotency key under which an attempt of a model task is paid."""
    return f"task-{task_id}-{attempt}"


def reservations_of(ledger: Ledger, attempt: Attempt) -> list[Reservation]:
    """Return the reservations of one attempt: a model's one, or those of a composition's run."""
    if not attempt.key:
        return ledger.store.reservations(Filter(budget=attempt.budget)) if attempt.run_id else []
    found = ledger.store.reservation(attempt.key)
    return [] if found is None else [found]


def was_sent(ledger: Ledger, attempt: Attempt) -> bool:
    """Return whether a call of the attempt may have been sent, and so billed."""
    return any(_counts(each) for each in reservations_of(ledger, attempt))


def is_unresolved(ledger: Ledger, attempt: Attempt) -> bool:
    """Return whether the cost of the attempt is unknown."""
    found = reservations_of(ledger, attempt)
    return any(each.state in {"open", "presumed"} for each in found)


def fence_attempt(ledger: Ledger, attempt: Attempt) -> FenceResult:
    """Keep an attempt of a heartbeat that seems dead from sending, and return whether it has sent.

    The heartbeat may only be stopped for a while. It reserves under the attempt's key before it
    sends, so reserving nothing under that key, and releasing it, makes it fail before it sends.
    """
    if not attempt.key or ledger.store.reservation(attempt.key) is not None:
        return FenceResult.SENT if was_sent(ledger, attempt) else FenceResult.UNSENT
    try:
        ledger.reserve(attempt.budget, 0, key=attempt.key, units=no_counts())
        ledger.release(attempt.key)
    except KeyReused:
        return FenceResult.SENT
    except BudgetExceeded:
        return FenceResult.BLOCKED
    except NoBudget:
        pass
    return FenceResult.UNSENT


def _counts(reservation: Reservation) -> bool:
    # A fence reserves no call; whoever makes a call reserves it.
    return reservation.state != "released" and reservation.hold.calls > 0
