"""From what callers give to operations: every amount, path, key and duration is checked here."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, get_args

from earmark.budget.budget import Extension, Pause, check_note
from earmark.budget.fields import GivenFields
from earmark.budget.limit import Limit, read_amount
from earmark.budget.path import parse_path
from earmark.budget.settable import read_given, read_limit
from earmark.budget.units import USD
from earmark.clock import Clock, from_datetime, iso, parse_duration
from earmark.errors import (
    InvalidAmount,
    InvalidDuration,
    InvalidKey,
    InvalidLimit,
    InvalidUsage,
)
from earmark.errors.inputs import shown
from earmark.ids import new_key
from earmark.ledger.amounts import amounts_of, is_zero
from earmark.ledger.budget_rules import changed
from earmark.ledger.details import details_text
from earmark.ledger.store import Filter
from earmark.ledger.values import (
    AS_HELD,
    Amounts,
    Extend,
    ExtendBudget,
    PauseBudget,
    Presume,
    Release,
    Reserve,
    ResumeBudget,
    SetLimits,
    Settle,
    State,
)
from earmark.money import LARGEST_NANOS, LARGEST_SUM, AmountLike, show_nanos, to_nanos

Duration = str | float | timedelta
#: A reservation nobody settles is presumed spent after this, unless told otherwise.
DEFAULT_DEADLINE: Final = "1h"
LONGEST_KEY: Final = 255
LARGEST_LABELS: Final = 4096
#: The most rows that one list gives.
MOST_LISTED: Final = 1_000_000_000
#: Before a caller's name for a request where the name alone would be taken for another's.
_NAMED: Final = "="
#: Made once: `json.dumps` makes one for each text.
_SORTED: Final = json.JSONEncoder(sort_keys=True)
_LABELS: Final = "text by name, such as {'run': '17'}"


def reserve(
    clock: Clock,
    path: str,
    amount: AmountLike,
    *,
    key: str | None,
    units: Mapping[str, int] | None,
    deadline: Duration | datetime,
    labels: Mapping[str, str] | None,
    operation: str | None = None,
) -> Reserve:
    """Return the operation that reserves *amount* on *path*."""
    # A key that is made here is nobody else's, so it names the request as well.
    name = new_key(clock) if operation is None else check_key(operation)
    key = name if key is None else check_key(key)
    if operation is not None and (name == key or name[0] == _NAMED):
        # A name equal to the key is not stored, and so is one of a key that was made up, or none
        # at all. A caller's name is stored, under a spelling that no other name has.
        name = f"{_NAMED}{name}"
    return Reserve(
        key,
        parse_path(path),
        amounts(amount, units),
        _ttl(clock, deadline),
        _labels(labels) if labels else "",
        name,
    )


def extend(
    clock: Clock,
    key: str,
    amount: AmountLike,
    *,
    units: Mapping[str, int] | None,
    deadline: Duration | datetime | None,
    operation: str | None,
) -> Extend:
    """Return the operation that adds *amount* to the hold of *key*, and time until *deadline*.

    Raises:
        InvalidUsage: It adds nothing.
    """
    added = amounts(amount, units, calls=0)
    if deadline is None and is_zero(added):
        detail = "an extension of nothing: give an amount to add, or a deadline"
        raise InvalidUsage(detail=detail)
    return Extend(
        check_key(key),
        added,
        new_key(clock) if operation is None else check_key(operation),
        0 if deadline is None else _ttl(clock, deadline),
    )


def settle(
    key: str,
    amount: AmountLike,
    units: Mapping[str, int] | None,
    details: Mapping[str, object] | None = None,
) -> Settle:
    """Return the operation that replaces the hold of *key* by *amount*."""
    actual = amounts(amount, units, calls=AS_HELD)
    return Settle(check_key(key), actual, details=details_text(details))


def presume(
    key: str,
    known: AmountLike | None = None,
    units: Mapping[str, int] | None = None,
    details: Mapping[str, object] | None = None,
) -> Presume:
    """Return the operation that counts the hold of *key*, or *known* if that is more, as spent."""
    least = None
    if known is not None or units:
        least = amounts(0 if known is None else known, units, calls=AS_HELD)
    return Presume(check_key(key), known=least, details=details_text(details))


def release(key: str) -> Release:
    """Return the operation that gives the hold of *key* back."""
    return Release(check_key(key))


def amounts(amount: AmountLike, units: Mapping[str, int] | None, calls: int = 1) -> Amounts:
    """Return *amount* USD and the other *units*, with *calls* unless the units say otherwise.

    Raises:
        InvalidAmount: Negative, not a number, or above 2^53-1 of its smallest unit.
        InvalidLimit: A unit that no limit can have.
    """
    usd = to_nanos(amount)
    if usd > LARGEST_NANOS:
        most = show_nanos(LARGEST_NANOS)
        raise InvalidAmount(text=show_nanos(usd), want=f"at most {most} USD in one operation")
    return amounts_of(usd, counts(units), calls) if units else Amounts(usd, calls)


def counts(units: Mapping[str, int] | None) -> dict[str, int]:
    """Return the counts in *units*, by the names of the units.

    Raises:
        InvalidAmount: Negative, not a number, above the largest of its unit, or money.
        InvalidLimit: A unit that no limit can have.
    """
    if not units:
        return {}
    if not isinstance(units, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise InvalidAmount(text=shown(units), want="units by name, such as {'tokens': 1200}")
    if USD in units:
        raise InvalidAmount(text="units['usd']", want="the amount in USD as the amount")
    return {unit: _count(unit, each) for unit, each in units.items()}


def _count(unit: str, value: int) -> int:
    # Limits are text and so are their counts; here text is a number that nobody made one.
    if isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        want = "a whole number, such as 1200, not text"
        raise InvalidAmount(text=f"units['{shown(unit)}'] = '{shown(value)}'", want=want)
    return read_amount(unit, value)


def set_limits(
    path: str,
    given: GivenFields,
    *,
    actor: str = "",
    reason: str = "",
    count_back: bool = False,
) -> SetLimits:
    """Return the operation that makes or changes the budget at *path*; `None` is not given."""
    _check_note(actor, reason)
    op = SetLimits(
        parse_path(path), read_given(given), actor=actor, reason=reason, count_back=count_back
    )
    # Whether what is given can be in a budget: decided here, where it is one caller's error.
    changed(op, None)
    return op


def pause(path: str, *, actor: str, reason: str, until: datetime | None) -> PauseBudget:
    """Return the operation that pauses the budget at *path*."""
    _check_note(actor, reason)
    end = None if until is None else from_datetime(until)
    return PauseBudget(parse_path(path), Pause(actor=actor, reason=reason, until=end), "")


def resume(path: str, *, actor: str, reason: str) -> ResumeBudget:
    """Return the operation that ends the pause of the budget at *path*."""
    _check_note(actor, reason)
    return ResumeBudget(parse_path(path), actor, reason, "")


def extend_budget(
    clock: Clock,
    path: str,
    limit: str | Limit,
    *,
    until: datetime,
    actor: str,
    reason: str,
    key: str | None,
) -> ExtendBudget:
    """Return the operation that adds to a limit of the budget at *path* until *until*."""
    _check_note(actor, reason)
    extension = Extension(
        limit=read_limit(limit), actor=actor, reason=reason, until=from_datetime(until)
    )
    # Keyed even when nobody asks: a batch that is applied again must not extend twice.
    return ExtendBudget(
        parse_path(path), extension, new_key(clock) if key is None else check_key(key)
    )


def _check_note(actor: str, reason: str) -> None:
    check_note(actor, reason)
    for text in (actor, reason):
        if not _is_whole(text):
            want = "text without half of a surrogate pair"
            raise InvalidLimit(text=shown(text), want=want, kind="actor or reason")


def _is_whole(text: str) -> bool:
    """Return whether UTF-8 can hold *text*; whoever reads it may have to write it again."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_key(key: str) -> str:
    """Return *key* if it can name an operation: 1 to 255 printable characters."""
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise InvalidKey(text=shown(key), want=f"1 to {LONGEST_KEY} printable characters")
    return key


def listing(
    *,
    budget: str | None = None,
    key: str | None = None,
    state: State | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: int = 0,
    most: int = 1000,
    complete: bool = False,
) -> Filter:
    """Return what a list is asked for.

    Raises:
        InvalidPath, InvalidKey, InvalidDuration: A name or a moment that none can be.
        InvalidAmount: *most* is not from 1 to 1,000,000,000, or *after* is no number of an entry.
    """
    if state is not None and state not in get_args(State):
        raise InvalidKey(
            text=shown(state),
            want=f"one of {', '.join(get_args(State))}; None for all",
            kind="state",
        )
    return Filter(
        budget=None if budget is None else parse_path(budget),
        key=None if key is None else check_key(key),
        state=state,
        since=None if since is None else from_datetime(since),
        until=None if until is None else from_datetime(until),
        after=_whole(after, "number of an entry", 0, LARGEST_SUM),
        most=_whole(most, "number of rows", 1, MOST_LISTED),
        complete=complete,
    )


def _whole(value: int, noun: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise InvalidAmount(text=shown(value), want=f"{least} to {most}", kind=noun)
    return value


def _ttl(clock: Clock, deadline: Duration | datetime) -> int:
    if isinstance(deadline, str):
        known = _DURATIONS.get(deadline)
        return parse_duration(deadline) if known is None else known
    if not isinstance(deadline, datetime):
        return parse_duration(deadline)
    ttl = from_datetime(deadline) - clock.instant()
    if ttl <= 0:
        want = f"one after {iso(clock.instant())}"
        raise InvalidDuration(text=deadline.isoformat(), want=want, kind="deadline")
    return ttl


_DURATIONS: Final = {text: parse_duration(text) for text in (DEFAULT_DEADLINE, "10min")}


def labels_beside(labels: Mapping[str, str], more: Mapping[str, str]) -> Mapping[str, str]:
    """Return *labels* with what it does not name of *more*, if that fits.

    Raises:
        InvalidKey: What is given is no set of labels.
    """
    _labels(labels)
    both = {**more, **labels}
    return both if len(json.dumps(both)) <= LARGEST_LABELS else labels


def _labels(labels: Mapping[str, str]) -> str:
    if not isinstance(labels, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise InvalidKey(text=shown(labels), want=_LABELS, kind="set of labels")
    for name, value in labels.items():
        if not (isinstance(name, str) and isinstance(value, str)):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
            text = f"{shown(name)}: {shown(value)}"
            raise InvalidKey(text=text, want=_LABELS, kind="label")
        if not name.isprintable():
            raise InvalidKey(text=shown(name), want="printable characters", kind="name of a label")
        if not _is_whole(value):
            text = f"{shown(name)}: {shown(value)}"
            want = "text without half of a surrogate pair"
            raise InvalidKey(text=text, want=want, kind="label")
    text = _SORTED.encode(dict(labels))
    if len(text) > LARGEST_LABELS:
        want = f"at most {LARGEST_LABELS} characters of JSON, not {len(text)}"
        raise InvalidKey(text=shown(text), want=want, kind="set of labels")
    return text
