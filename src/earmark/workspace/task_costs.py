"""What tasks cost, from the ledger and nowhere else: all attempts, also those that failed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct, structs

from earmark.board.task import Attempt, TaskCost
from earmark.budget.units import USD
from earmark.budget.window import Window
from earmark.ledger.details import read_details, unknown_counters
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter
from earmark.ledger.values import Account, Reservation
from earmark.money import Money
from earmark.workspace.attempt_reservations import reservations_of

_TOTAL: Final = str(Window.parse("total"))


def task_cost(ledger: Ledger, attempts: Sequence[Attempt]) -> TaskCost:
    """Return what the *attempts* of one task cost in all.

    Raises:
        StoreUnavailable: The books cannot be read.
    """
    return task_costs(ledger, {"": attempts})[""]


def task_costs(ledger: Ledger, attempts: Mapping[str, Sequence[Attempt]]) -> dict[str, TaskCost]:
    """Return what each task cost, by the ids in *attempts*; see `task_cost`.

    The calls of all of them are one question to the books; each composition's run is one or two.
    """
    keys = [each.key for of_task in attempts.values() for each in of_task if each.key]
    found = ledger.store.reservations(Filter(keys=keys)) if keys else []
    calls = {each.key: _of_reservations((each,)) for each in found}
    return {
        task_id: _cost(of_task, [_of_attempt(ledger, each, calls) for each in of_task])
        for task_id, of_task in attempts.items()
    }


class _AttemptCost(Struct, frozen=True):
    """What one attempt cost, in nano-USD."""

    settled: int = 0
    held: int = 0
    presumed: int = 0
    unknown: tuple[str, ...] = ()


def _cost(attempts: Sequence[Attempt], booked: Sequence[_AttemptCost]) -> TaskCost:
    return TaskCost(
        settled=Money.nanos(sum(each.settled for each in booked)),
        held=Money.nanos(sum(each.held for each in booked)),
        presumed=Money.nanos(sum(each.presumed for each in booked)),
        input_tokens=_total(attempt.input_tokens for attempt in attempts),
        output_tokens=_total(attempt.output_tokens for attempt in attempts),
        unknown=_once(each.unknown for each in booked),
    )


def _of_attempt(
    ledger: Ledger, attempt: Attempt, calls: Mapping[str, _AttemptCost]
) -> _AttemptCost:
    if attempt.key:
        return calls.get(attempt.key, _AttemptCost())
    return _of_run(ledger, attempt) if attempt.run_id else _AttemptCost()


def _of_run(ledger: Ledger, attempt: Attempt) -> _AttemptCost:
    """Return what a run came to: its budget is its own, and so is the account of its limit."""
    store, path = ledger.store, attempt.budget
    own = next((a for a in store.accounts(path, ledger.clock.instant()) if _is_own(a, path)), None)
    if own is not None:
        presumed = _of_reservations(store.reservations(Filter(budget=path, state="presumed")))
        return structs.replace(presumed, settled=own.settled, held=own.held)
    # It never began; or its budget was given other limits, whose accounts do not hold the total.
    began = store.budget(path) is not None
    return _of_reservations(reservations_of(ledger, attempt)) if began else _AttemptCost()


def _is_own(account: Account, path: str) -> bool:
    line = account.line
    return (line.budget, line.unit, line.window) == (path, USD, _TOTAL)


def _of_reservations(found: Iterable[Reservation]) -> _AttemptCost:
    each = list(found)
    return _AttemptCost(
        settled=sum(r.actual.usd for r in each if r.actual is not None),
        held=sum(r.hold.usd for r in each if r.state == "open"),
        presumed=sum(r.actual.usd for r in each if r.actual is not None and r.state == "presumed"),
        unknown=_once(unknown_counters(read_details(r.details)) for r in each),
    )


def _once(names: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for some in names for name in some))


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
