"""What the ledger decides: one pure function, no I/O, no clock.

    decide(scope, reservation | None, operation, now, seq) -> Accepted | Repeated | Refused

*scope* holds the accounts the operation touches, as they stand: those of the reservation in their
order, and for an extension also those of limits that were set since; *reservation* is what its key
opened before, if anything; *seq* is the number its entry gets if it is accepted. Every store folds
this over its batches, and the tests replay recorded histories through it.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from earmark.budget.units import USD
from earmark.clock import END_OF_TIME
from earmark.errors import Reason
from earmark.ledger.alerting import crossed
from earmark.ledger.amounts import (
    add,
    amount_of,
    count,
    counted_units,
    is_zero,
    larger,
    largest,
    with_defaults,
)
from earmark.ledger.counting import NOTHING, count_after
from earmark.ledger.details import without_unknown
from earmark.ledger.values import (
    Accepted,
    Account,
    Alert,
    Amounts,
    Decision,
    Entry,
    Extend,
    Kind,
    OnReservation,
    Part,
    Presume,
    Refused,
    Release,
    Repeated,
    Reservation,
    Reserve,
    Scope,
    Settle,
    State,
)
from earmark.ledger.would_refuse import WouldRefuse
from earmark.money import LARGEST_NANOS, LARGEST_SUM, show_nanos


def decide(
    scope: Scope, reservation: Reservation | None, operation: OnReservation, now: int, seq: int
) -> Decision:
    """Return what *operation* does at instant *now*; nothing is changed here.

    Invariant: an accepted `Reserve` or `Extend` leaves `settled + held <= limit` on every account
    it adds to, or its tree is observed and its entry says which limit it did not fit on; nothing
    but these two adds to what is held. Whatever is accepted leaves
    `settled + held <= LARGEST_SUM` on every account, no reservation with more than `LARGEST_NANOS`
    of a unit and no deadline after the end of time: an open reservation can always be presumed.
    """
    return _RULES[type(operation)](scope, reservation, operation, now, seq)


def _reserve(scope: Scope, known: Reservation | None, op: Reserve, now: int, seq: int) -> Decision:
    if known is not None:
        return _repeat_reserve(known, op)
    amounts = op.amounts
    if op.ttl > END_OF_TIME - now:
        return Refused("too_late", key=op.key)
    if scope.pause is not None:
        return _paused(scope, amounts)
    if not scope.accounts:
        return Refused("no_budget", budget=op.budget)
    held = _hold(scope.accounts, amounts)
    mark = None
    if held is None:
        beyond = _beyond(scope, amounts, op.key)
        if isinstance(beyond, Refused):
            return beyond
        held, mark = beyond
    opened = Reservation(
        op.key,
        op.budget,
        amounts,
        amounts,
        "open",
        scope.numbers,
        now,
        now + op.ttl,
        0,
        None,
        op.labels,
        seq,
        seq,
    )
    name = "" if op.operation == op.key else op.operation
    if mark is not None:
        name = f"{name}\n\n{mark.to_line()}"
    entry = Entry(seq, now, "reserve", op.key, op.budget, amounts, 0, name)
    return Accepted((), held, opened, None, entry, would_refuse=mark)


def _extend(scope: Scope, known: Reservation | None, op: Extend, now: int, seq: int) -> Decision:
    if known is None:
        return Refused("not_found", key=op.key)
    if known.state != "open":
        return _closed(known)
    if op.ttl:
        return _extend_until(scope, known, op, now, seq)
    return _grow(scope, known, op, now, seq)


def _extend_until(scope: Scope, known: Reservation, op: Extend, now: int, seq: int) -> Decision:
    if op.ttl > END_OF_TIME - now:
        return Refused("too_late", key=op.key)
    if known.expires <= now:
        # Of many that are due at one time some may be open still: none comes back to life.
        return _closed(replace(known, state="presumed"))
    later = replace(known, expires=max(known.expires, now + op.ttl))
    if not is_zero(op.amounts):
        return _grow(scope, later, op, now, seq)
    # More time alone spends nothing: neither a pause nor an overrun is in its way. The hold is a
    # new value of the same amounts, for a store knows what grew by another one than the first.
    return _extended((), replace(later, hold=add(later.hold, op.amounts)), op, now, seq)


def _grow(scope: Scope, known: Reservation, op: Extend, now: int, seq: int) -> Decision:
    if scope.pause is not None:
        return _paused(scope, op.amounts)
    hold = add(known.hold, op.amounts)
    if largest(hold) > LARGEST_NANOS:
        return Refused("uncountable", key=op.key, budget=known.budget)
    held = _hold(scope.accounts, op.amounts)
    mark = None
    if held is None:
        beyond = _beyond(scope, op.amounts, op.key, known)
        if isinstance(beyond, Refused):
            return beyond
        held, mark = beyond
    grown = replace(known, hold=hold)
    if len(held) > len(known.accounts):
        grown = _joining(grown, scope.numbers, known.hold)
    return _extended(held, grown, op, now, seq, mark)


def _extended(
    held: tuple[int, ...],
    grown: Reservation,
    op: Extend,
    now: int,
    seq: int,
    mark: WouldRefuse | None = None,
) -> Accepted:
    data = f"{op.operation}\n{grown.expires}" if op.ttl else op.operation
    if mark is not None:
        data = f"{data}{'' if op.ttl else chr(10)}\n{mark.to_line()}"
    entry = Entry(seq, now, "extend", op.key, grown.budget, op.amounts, grown.last, data)
    return Accepted((), held, replace(grown, last=seq), None, entry, would_refuse=mark)


def _settle(scope: Scope, known: Reservation | None, op: Settle, now: int, seq: int) -> Decision:
    if known is None:
        return Refused("not_found", key=op.key)
    actual = with_defaults(op.amounts, known.hold)
    if known.state == "settled":
        return _repeat_settle(known, actual)
    if known.state == "released":
        return _closed(known)
    details = op.details
    if known.details and not details:
        # What was known of the call stays true when its cost is told.
        details = without_unknown(known.details)
    return _resolve(scope, known, actual, "settled", "settle", now, seq, details)


def _release(scope: Scope, known: Reservation | None, op: Release, now: int, seq: int) -> Decision:
    if known is None:
        return Refused("not_found", key=op.key)
    if known.state == "released":
        return Repeated(known, None)
    if known.state == "settled":
        return _closed(known)
    return _resolve(scope, known, NOTHING, "released", "release", now, seq)


def _presume(scope: Scope, known: Reservation | None, op: Presume, now: int, seq: int) -> Decision:
    if known is None:
        return Refused("not_found", key=op.key)
    if known.state not in {"open", "presumed"}:
        return _closed(known)
    counted = known.hold if known.actual is None else known.actual
    cost = counted if op.known is None else larger(counted, op.known)
    # Only ever raised: presumptions in any order, the deadline's too, come to the same.
    if cost == known.actual and (known.details or not op.details):
        return Repeated(known, None)
    details = op.details or known.details
    return _resolve(scope, known, cost, "presumed", "presume", now, seq, details)


#: By type, as a chain of tests costs as much as a rule.
_RULES: Final[Mapping[type[OnReservation], Callable[..., Decision]]] = {
    Reserve: _reserve,
    Settle: _settle,
    Release: _release,
    Extend: _extend,
    Presume: _presume,
}


def _resolve(
    scope: Scope,
    known: Reservation,
    actual: Amounts,
    state: State,
    kind: Kind,
    now: int,
    seq: int,
    details: str = "",
) -> Accepted | Refused:
    # A presumed reservation holds nothing any more: its whole hold, or more, is already settled.
    hold = known.hold if known.state == "open" else NOTHING
    before = known.actual or NOTHING
    usd_back, usd_more = hold.usd, actual.usd - before.usd
    settled: list[int] = []
    held: list[int] = []
    alerts: tuple[Alert, ...] = ()
    parts = {part.index: part.before for part in known.parts} if known.parts else None
    for account in scope.accounts:
        line = account.line
        if parts is not None and len(held) in parts:
            uncounted = parts[len(held)]
            back = count_after(hold, uncounted, line.unit)
            more = count_after(actual, uncounted, line.unit)
            more -= count_after(before, uncounted, line.unit)
        elif line.unit == "usd":
            back, more = usd_back, usd_more
        else:
            back, more = _moved(hold, actual, before, line.unit)
        spent, left = account.settled + more, account.held - back
        assert left >= 0, "a hold is given back once"
        # What is held counts too, so that a hold can be presumed spent whatever comes before it.
        if spent + left > LARGEST_SUM:
            return Refused("uncountable", key=known.key, budget=line.budget, account=account)
        if spent >= account.alert_at:
            alerts += crossed(account, spent, now, seq)
        settled.append(spent)
        held.append(left)
    closed = _close(known, actual, state, now, seq, details)
    entry = Entry(seq, now, kind, known.key, known.budget, actual, known.last, details)
    return Accepted(tuple(settled), tuple(held), closed, None, entry, alerts)


def _moved(hold: Amounts, actual: Amounts, before: Amounts, unit: str) -> tuple[int, int]:
    """Return how much of *unit* is given back, and how much more is settled than before."""
    return count(hold, unit), count(actual, unit) - count(before, unit)


def _close(
    known: Reservation, actual: Amounts, state: State, now: int, seq: int, details: str
) -> Reservation:
    return Reservation(
        known.key,
        known.budget,
        known.asked,
        known.hold,
        state,
        known.accounts,
        known.opened,
        known.expires,
        now,
        actual,
        known.labels,
        known.seq,
        seq,
        known.parts,
        details,
    )


def _joining(grown: Reservation, numbers: tuple[int, ...], before: Amounts) -> Reservation:
    """Return *grown* on the accounts *numbers*: those added to it count what is above *before*."""
    added = range(len(grown.accounts), len(numbers))
    parts = tuple(Part(index, before) for index in added)
    return replace(grown, accounts=numbers, parts=grown.parts + parts)


def _hold(accounts: tuple[Account, ...], amounts: Amounts) -> tuple[int, ...] | None:
    """Return what each account holds with *amounts*, or nothing if one of them cannot."""
    holds: list[int] = []
    usd = amounts.usd
    for account in accounts:
        line, held = account.line, account.held
        need = usd if line.unit == USD else amount_of(amounts, line.unit)
        # The one comparison that keeps every guarantee; it cannot overflow in any store.
        if need is None or need > line.limit - account.settled - held:
            return None
        holds.append(held + need)
    return tuple(holds)


def _beyond(
    scope: Scope, amounts: Amounts, key: str, growing: Reservation | None = None
) -> tuple[tuple[int, ...], WouldRefuse] | Refused:
    """Return what each account of an observed tree holds with *amounts* that do not fit, and why.

    Refused where the tree is not observed, a unit was not counted, or no account could count it.
    """
    refused = _why(scope.accounts, amounts, growing)
    if not scope.observed:
        return refused
    holds: list[int] = []
    for account in scope.accounts:
        need = amount_of(amounts, account.line.unit)
        if need is None:
            return _why((account,), amounts)
        if need > LARGEST_SUM - account.settled - account.held:
            return Refused("uncountable", key=key, budget=account.line.budget, account=account)
        holds.append(account.held + need)
    return tuple(holds), _mark(refused)


def _mark(refused: Refused) -> WouldRefuse:
    account, reason = refused.account, refused.reason
    assert account is not None, "amounts do not fit on an account"
    assert reason is not None, "and for a reason"
    line, over = account.line, refused.requested - account.available
    return WouldRefuse(reason, line.budget, line.unit, line.window, line.limit, over)


def refusal(accounts: tuple[Account, ...], amounts: Amounts) -> Refused | None:
    """Return why *amounts* do not fit on *accounts*, or nothing if they do."""
    return None if _hold(accounts, amounts) is not None else _why(accounts, amounts)


# Refusals and repeats -----------------------------------------------------------------------------


def _paused(scope: Scope, amounts: Amounts) -> Refused:
    return Refused(
        "exceeded",
        budget=scope.paused,
        reason=Reason.PAUSED,
        requested=amounts.usd,
        pause=scope.pause,
    )


def _why(
    accounts: tuple[Account, ...], amounts: Amounts, growing: Reservation | None = None
) -> Refused:
    """Return the most lasting reason why *amounts* does not fit, nearest the leaf.

    What a *growing* reservation holds itself does not come back while it goes on.
    """
    found = [
        (_LASTING.index(reason), account, reason, own)
        for account, own in zip(accounts, _own(accounts, growing), strict=True)
        if (reason := _reason(account, amount_of(amounts, account.line.unit), own)) is not None
    ]
    _, account, reason, own = min(found, key=lambda row: row[0])
    return Refused(
        "exceeded",
        budget=account.line.budget,
        reason=reason,
        account=account,
        requested=count(amounts, account.line.unit),
        hold=None if growing is None else own,
    )


def _own(accounts: tuple[Account, ...], growing: Reservation | None) -> list[int]:
    """Return what *growing* holds on each of *accounts*: its own, then those it would join."""
    if growing is None:
        return [0] * len(accounts)
    before = {part.index: part.before for part in growing.parts}
    held = [
        count_after(growing.hold, before.get(at, NOTHING), account.line.unit)
        for at, account in enumerate(accounts[: len(growing.accounts)])
    ]
    return held + [0] * (len(accounts) - len(held))


_LASTING = (Reason.TOO_LARGE, Reason.UNPRICED, Reason.EXHAUSTED, Reason.HELD)


def _reason(account: Account, need: int | None, own: int) -> Reason | None:
    if need is None:
        return Reason.UNPRICED
    if need <= account.available:
        return None
    whole = need + own
    if whole > account.line.limit:
        return Reason.TOO_LARGE
    return Reason.EXHAUSTED if whole > account.line.limit - account.settled else Reason.HELD


def _repeat_reserve(known: Reservation, op: Reserve) -> Decision:
    if known.budget != op.budget:
        return _reused(op.key, "budget", known.budget, op.budget)
    if known.asked != op.amounts:
        return _reused(op.key, "amounts", _show(known.asked), _show(op.amounts))
    return Repeated(known, None)


def _repeat_settle(known: Reservation, actual: Amounts) -> Decision:
    assert known.actual is not None, "a settled reservation has an actual cost"
    if known.actual != actual:
        return _reused(known.key, "settled amounts", _show(known.actual), _show(actual))
    return Repeated(known, None)


def _reused(key: str, field: str, first: str, now: str) -> Refused:
    return Refused("key_reused", key=key, field=field, first=first, now=now)


def _closed(known: Reservation) -> Refused:
    return Refused("closed", key=known.key, closed=known)


def _show(amounts: Amounts) -> str:
    counts = [f"{number} {unit}" for unit, number in counted_units(amounts).items()]
    return ", ".join([f"{show_nanos(amounts.usd)} usd", *counts])
