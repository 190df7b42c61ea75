"""What tasks cost, from the ledger and nowhere else: all tries, also those that failed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from earmark.board.task import Attempt, TaskCost
from earmark.heartbeat.trail import reservations_of
from earmark.ledger.ledger import Ledger
from earmark.money import Money

_NOTHING: Final = Money()


def task_cost(ledger: Ledger, attempts: Sequence[Attempt]) -> TaskCost:
    """Return what the *attempts* of one task cost in all.

    Raises:
        StoreUnavailable: The books cannot be read.
    """
    booked = [each for attempt in attempts for each in reservations_of(ledger, attempt)]
    return TaskCost(
        settled=_sum(each.settled or _NOTHING for each in booked),
        held=_sum(each.amount for each in booked if each.state == "open"),
        presumed=_sum(each.amount for each in booked if each.state == "presumed"),
        input_tokens=_total(attempt.input_tokens for attempt in attempts),
        output_tokens=_total(attempt.output_tokens for attempt in attempts),
    )


def task_costs(ledger: Ledger, attempts: Mapping[str, Sequence[Attempt]]) -> dict[str, TaskCost]:
    """Return what each task cost, by the ids in *attempts*; see `task_cost`."""
    return {task_id: task_cost(ledger, tries) for task_id, tries in attempts.items()}


def _sum(amounts: Iterable[Money]) -> Money:
    return Money.nanos(sum(amount.in_nanos for amount in amounts))


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
