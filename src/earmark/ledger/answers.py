"""From decisions to what callers get: a value, or the refusal with its numbers."""

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from earmark.budget.budget import MOST_EXTENSIONS, Budget
from earmark.budget.limit import describe_limit, describe_window, present
from earmark.budget.units import counted
from earmark.clock import END_OF_TIME, iso, to_datetime
from earmark.errors import (
    BudgetExceeded,
    EarmarkError,
    InputError,
    InvalidAmount,
    InvalidDuration,
    InvalidLimit,
    InvalidUsage,
    KeyReused,
    NoBudget,
    NotFound,
    Reason,
    ReservationClosed,
)
from earmark.ledger.values import (
    Accepted,
    Account,
    Decision,
    LimitWindow,
    Refused,
    Repeated,
    Reservation,
    Reserve,
)
from earmark.money import LARGEST_NANOS, LARGEST_SUM, Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One limit in its current interval.

    Amounts are `Money` where *unit* is `usd`, else whole numbers.
    `limit = settled + held + available`; `available` is negative after an overrun or a lowered
    limit.
    """

    budget: str
    unit: str
    window: str
    limit: Money | int
    settled: Money | int
    held: Money | int
    available: Money | int
    starts_at: datetime | None
    resets_at: datetime | None
    """The end of the interval, UTC; `None` for a `total`."""
    paused: bool = False
    observed: bool = False
    """Whether its limit does not bind: its tree counts without refusing."""

    def describe(self) -> str:
        """Return its limit as people write it: `0.5 usd per 30min`."""
        return describe_limit(self.limit, self.unit, self.window)


def reservation_of(decision: Decision) -> Reservation:
    """Return the reservation of an accepted or repeated operation.

    Raises:
        Refusal: The decision was a no.
        NotFound: The key never opened a reservation.
    """
    # The usual answer by its type: `isinstance` asks the class of such a value.
    if type(decision) is not Accepted and isinstance(decision, Refused):
        raise as_error(decision)
    found = decision.reservation
    assert found is not None, "an operation on a reservation answers with one"
    if type(decision) is Accepted and decision.would_refuse is not None:
        return replace(found, would_refuse=decision.would_refuse)
    if type(decision) is Repeated and not decision.retried:
        return replace(found, repeated=True)
    return found


def entered_before(operation: Reserve) -> KeyReused:
    """Return why the block of *operation* is not entered again: one block is one hold."""
    return KeyReused(key=operation.key, field="a block", first="entered", now="to be entered again")


def check_opened(found: Reservation) -> Reservation:
    """Return *found* if the request that got it opened it, and work may run on it.

    Raises:
        ReservationClosed: Its key was used before, or its deadline has passed: it is closed.
        KeyReused: Its key was used before, and that reservation is open: it is
            another's, or of a block that was cut off.
    """
    if found.state != "open":
        raise _closed(found)
    if found.repeated:
        raise KeyReused(
            key=found.key,
            field="work",
            first="that was begun and not settled, so that it may have been billed",
            now="to be begun again",
            advice=(
                "if it is not under way any more, settle, release or presume it"
                " (`earmark holds` lists it), then use a new key"
            ),
        )
    return found


def budget_of(decision: Decision) -> Budget:
    """Return the budget of an accepted or repeated operation; raises like `reservation_of`."""
    if isinstance(decision, Refused):
        raise as_error(decision)
    assert decision.budget is not None, "an operation on a budget answers with one"
    return decision.budget


def as_error(refused: Refused) -> EarmarkError:
    """Return the error that says *refused* with its numbers."""
    match refused.why:
        case "no_budget":
            return NoBudget(budget=refused.budget)
        case "key_reused":
            return KeyReused(
                key=refused.key, field=refused.field, first=refused.first, now=refused.now
            )
        case "closed" | "not_found":
            return _not_open(refused)
        case "exceeded":
            return _exceeded(refused)
        case "past" | "too_late" | "uncountable":
            return _out_of_range(refused)
        case "full" | "no_limit" | "other_kind":
            return _no_change(refused)


def balance(account: Account, *, paused: bool, observed: bool) -> Balance:
    """Return *account* as callers see it."""
    line = account.line
    unit = line.unit
    return Balance(
        budget=line.budget,
        unit=unit,
        window=line.window,
        limit=present(unit, line.limit),
        settled=present(unit, account.settled),
        held=present(unit, account.held),
        available=present(unit, account.available),
        starts_at=to_datetime(line.start) if line.start else None,
        resets_at=_end(account.line),
        paused=paused,
        observed=observed,
    )


def _closed(found: Reservation) -> ReservationClosed:
    settled = found.actual if found.state == "settled" else None
    return ReservationClosed(
        key=found.key,
        state=found.state,
        settled=None if settled is None else Money.nanos(settled.usd),
        closed_at=to_datetime(found.closed) if found.closed else None,
    )


def _not_open(refused: Refused) -> ReservationClosed | NotFound:
    if refused.closed is not None:
        return _closed(refused.closed)
    kind = "reservation" if refused.key else "budget"
    return NotFound(kind=kind, name=refused.key or refused.budget)


def _out_of_range(refused: Refused) -> InputError:
    """Return why a moment is past, or would be one, or an amount, that no store can hold."""
    if refused.why == "past":
        want = f"one after {refused.now}"
        return InvalidDuration(text=refused.first, want=want, kind="moment to come")
    if refused.why == "too_late":
        text = f"the deadline of '{refused.key}'"
        return InvalidDuration(text=text, want=f"one before {iso(END_OF_TIME)}")
    subject = f"what is added to '{refused.key or refused.budget}'"
    account = refused.account
    if account is None:
        most, counts = present("usd", LARGEST_NANOS), " or ".join(each.name for each in counted())
        want = f"at most {most} USD, or {LARGEST_NANOS} {counts}, in one reservation"
        return InvalidAmount(text=subject, want=want)
    unit = account.line.unit
    settled, held = present(unit, account.settled), present(unit, account.held)
    want = (
        f"less: '{account.line.budget}' has {settled} {unit} settled and {held} held,"
        f" and can count up to {present(unit, LARGEST_SUM)}"
    )
    return InvalidAmount(text=subject, want=want)


def _no_change(refused: Refused) -> InputError:
    """Return why a budget cannot be changed so: its kind, its extensions, no such limit."""
    if refused.why == "other_kind":
        detail = (
            f"budget '{refused.budget}' is of kind '{refused.first}', and cannot become one of"
            f" kind '{refused.now}': choose another path, for a run another run_id"
        )
        return InvalidUsage(detail=detail)
    if refused.why == "full":
        text, want = f"another extension of {refused.budget}", f"at most {MOST_EXTENSIONS}"
        return InvalidLimit(text=text, want=f"{want} that have not ended", kind="extension")
    want = f"one of {refused.first}, with what to add as its amount"
    return InvalidLimit(
        text=refused.now,
        want=want if refused.first else "a limit first: it has none",
        kind=f"limit of '{refused.budget}'",
    )


def _exceeded(refused: Refused) -> BudgetExceeded:
    assert refused.reason is not None, "an amount is refused for a reason"
    account = refused.account
    if account is None:
        return _paused(refused, refused.reason)
    line = account.line
    unit = line.unit
    return BudgetExceeded(
        reason=refused.reason,
        budget=line.budget,
        unit=unit,
        window=describe_window(line.window),
        limit=present(unit, line.limit),
        settled=present(unit, account.settled),
        held=present(unit, account.held),
        available=present(unit, account.available),
        requested=present(unit, refused.requested),
        hold=None if refused.hold is None else present(unit, refused.hold),
        resets_at=_end(account.line),
    )


def _paused(refused: Refused, reason: Reason) -> BudgetExceeded:
    pause = refused.pause
    assert pause is not None, "without an account, only a pause refuses an amount"
    until = "" if pause.until is None else f" until {iso(pause.until)}"
    by = f" by {pause.actor}" if pause.actor else ""
    why = f": {pause.reason}" if pause.reason else ""
    return BudgetExceeded(
        reason=reason,
        budget=refused.budget,
        requested=Money.nanos(refused.requested),
        resets_at=None if pause.until is None else to_datetime(pause.until),
        detail=f"paused{by}{until}{why}; `earmark budget resume {refused.budget}` ends it",
    )


def _end(line: LimitWindow) -> datetime | None:
    return None if line.end == END_OF_TIME else to_datetime(line.end)
