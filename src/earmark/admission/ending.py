"""How a call ended, and what that books: pure.

its cost is known                       settled to that, above the hold too
its cost is unknown, or only in part    presumed: the largest of the hold, the known cost and the
                                        most that the output produced can cost
certainly not billed, or never sent     released
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, Literal, cast

from earmark.admission.call import Reply
from earmark.admission.policy import choice_count
from earmark.apis.client_errors import exception_types
from earmark.apis.counters import larger_members
from earmark.apis.reply_cost import PricedRequest, model_of, reply_cost, request_id_of
from earmark.budget.units import TOKENS
from earmark.errors import BudgetExceeded, CallFailed, InvalidAmount, InvalidKey, InvalidUsage
from earmark.errors.inputs import shown
from earmark.ledger import requests
from earmark.ledger.details import details_of_call, details_text
from earmark.ledger.values import Presume, Release, Settle
from earmark.money import AmountLike, Money
from earmark.pricing.bound import Bound
from earmark.pricing.json_values import mapping
from earmark.pricing.usage import Usage

Booking = Literal["settle", "presume", "release"]

#: RFC 9110 §15: a status has three digits. A redirection is no reply either.
HTTP_ERRORS: Final = range(300, 1000)
#: A stage's own message may hold its input, and is in its run's statement.
_FAILED: Final = "the call failed"
#: The most a caller's count of tokens is taken to exceed a true usage: of ordinary text a token has
#: up to six bytes, should those be counted. The first 64 are no evidence.
_MOST_COUNTED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call ended: all that its booking and its record hold; equal endings are repeats."""

    booking: Booking
    cost: Money | None = None
    """Its cost; for `presume` a lower bound, where one is known."""
    units: Mapping[str, int] = field(default_factory=dict[str, int])
    """Its use of other units, by name; what is not among them is as it was held."""
    usage: Usage | None = None
    unknown: tuple[str, ...] = ()
    model: str | None = None
    request_id: str | None = None
    note: str = ""
    failure: BaseException | None = field(default=None, compare=False)


def ending_from_reply(reply: Reply) -> Ending:
    """Return the ending of a call that returned *reply*."""
    usage = reply.usage
    return Ending(
        booking="presume" if reply.cost is None else "settle",
        cost=reply.known_cost if reply.cost is None else reply.cost,
        units=_units_of(usage),
        usage=usage,
        unknown=reply.unknown,
        model=reply.model,
        request_id=reply.request_id,
        note=reply.note,
    )


def ending_from_failure(failure: CallFailed) -> Ending:
    """Return the ending of a call that failed, by the billing that *failure* states."""
    if failure.billed == "no":
        return Ending(booking="release", failure=failure)
    usage: Usage | None = failure.usage
    cost: Money | None = failure.cost if failure.billed == "yes" else None
    return Ending(
        booking="presume" if cost is None else "settle",
        cost=failure.known_cost if cost is None else cost,
        units=_units_of(usage),
        usage=usage,
        unknown=failure.unknown,
        model=failure.model,
        request_id=failure.request_id,
        note=failure.note or _FAILED,
        failure=failure,
    )


def ending_from_interruption(failure: BaseException, partial: Sequence[Reply] = ()) -> Ending:
    """Return the ending of a call that was cut short: its cost is unknown.

    The last of the *partial* replies is a lower bound of it. Of *failure* only the type is kept:
    the text of a foreign exception may hold a prompt or a key.
    """
    note = f"the call was ended by {exception_types(failure)}"
    if isinstance(failure, CallFailed):
        note = failure.note
    if not partial:
        return Ending(booking="presume", note=note, failure=failure)
    return replace(ending_from_reply(partial[-1]), booking="presume", note=note, failure=failure)


def ending_from_partial_reply(
    partial: Mapping[str, Any], priced: PricedRequest, ending: Ending
) -> Ending:
    """Return *ending*, a presumption, with the usage and cost that the *partial* reply shows.

    A usage that came before the end is that of a part, so its cost is a lower bound.
    """
    known = ending_from_body(partial, priced)
    return replace(known, booking="presume", note=ending.note, failure=ending.failure)


def ending_from_body(
    reply: object,
    priced: PricedRequest | None,
    *,
    units: Mapping[str, int] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Ending:
    """Return the ending of a call whose *reply* is its body, its usage, or its cost in USD.

    *units* are counts that the reply does not tell itself; those that it does go before them.

    Raises:
        InvalidUsage: A body or a usage cannot be priced: the hold is of a declared amount.
        InvalidAmount, InvalidLimit: It is no amount, or *units* are no counts of units.
    """
    if priced is not None and priced.may_be_no_json and isinstance(reply, bytes):
        reply = _usage_or_json(reply, priced, headers or {})
    body, repeated = _body(reply)
    if body is None and not isinstance(reply, Usage):
        _check_amount(reply)
        cost = Money.nanos(requests.amounts(cast("AmountLike", reply), None).usd)
        return Ending(booking="settle", cost=cost, units=requests.counts(units))
    if priced is None:
        raise InvalidUsage(detail="the hold is of a declared amount: settle it to an amount in USD")
    stated = requests.counts(units)
    if isinstance(reply, Usage):
        return _ending_from_usage(reply, priced, stated)
    known = reply_cost(body or {}, priced)
    twice = f"the reply names {repeated!r} twice" if repeated else ""
    return Ending(
        booking="presume" if known.cost is None or repeated else "settle",
        cost=known.known if known.cost is None else known.cost,
        units={**stated, **_units_of(known.usage)},
        usage=known.usage,
        unknown=known.unknown,
        model=model_of(body or {}),
        request_id=request_id_of(body or {}, headers),
        note=known.note or twice,
    )


def _usage_or_json(
    reply: bytes, priced: PricedRequest, headers: Mapping[str, str]
) -> bytes | Usage:
    """Return a reply that its provider calls JSON and that has a usage; else what is billed.

    The text of a transcription is what somebody said, JSON too.

    Raises:
        InvalidUsage: Its request does not say what is billed either.
    """
    kind = next((text for name, text in headers.items() if name.lower() == "content-type"), "")
    if kind.partition(";")[0].strip().lower() == "application/json" and _has_usage(reply):
        return reply
    if priced.billed_units is None:
        raise InvalidUsage(detail="the reply is no JSON with a usage")
    return priced.billed_units


def _has_usage(reply: bytes) -> bool:
    try:
        return "usage" in (_body(reply)[0] or {})
    except InvalidUsage:
        return False


def _ending_from_usage(usage: Usage, priced: PricedRequest, stated: Mapping[str, int]) -> Ending:
    units = {**stated, **_units_of(usage)}
    try:
        cost = priced.price.cost(usage)
    except BudgetExceeded as unpriced:
        return Ending(booking="presume", units=units, usage=usage, note=str(unpriced))
    return Ending(booking="settle", cost=cost, units=units, usage=usage)


def _units_of(usage: Usage | None) -> dict[str, int]:
    return {} if usage is None else {TOKENS: usage.tokens}


def _check_amount(reply: object) -> None:
    """Refuse what is neither a reply nor of a type that amounts of money are read from.

    Raises:
        InvalidUsage: Its message names what to pass instead.
    """
    if isinstance(reply, Money | Decimal | int | str | float):
        return
    # Such as those of `with_raw_response`.
    if callable(getattr(reply, "parse", None)):
        how = "give what its .parse() returns"
    elif hasattr(reply, "status_code") and hasattr(reply, "content"):
        how = "give its .content"
    else:
        how = "give the provider's body, an SDK's reply object, a Usage, or the cost in USD"
    raise InvalidUsage(detail=f"{type(reply).__name__} is nothing to settle by: {how}")


def with_produced_output(ending: Ending, bound: Bound, *, produced: int, counted: int) -> Ending:
    """Return *ending* at no less than the cost of the output tokens that were reported.

    A usage with less than an eighth of the tokens that the caller *counted* is not believed: the
    call is presumed, at no less than the most that *produced* tokens can cost.
    """
    usage = ending.usage
    if ending.booking == "settle" and usage is not None:
        reported = usage.get("output_tokens")
        if counted > _MOST_COUNTED * max(reported, _MOST_COUNTED):
            note = f"the usage has {reported} output tokens where {counted} were produced"
            ending = replace(ending, booking="presume", note=note)
    if ending.booking != "presume" or bound.max_output_tokens is None or not produced:
        return ending
    output = -(-produced // choice_count(bound))
    cost, tokens, units = bound.cost(output), bound.tokens(output), dict(ending.units)
    if tokens is not None:
        units[TOKENS] = max(tokens, units.get(TOKENS, 0))
    return replace(
        ending, cost=cost if ending.cost is None else max(cost, ending.cost), units=units
    )


def operation_of(key: str, ending: Ending) -> Settle | Presume | Release:
    """Return what books *ending* of the reservation *key*.

    Raises:
        InvalidAmount: Its cost is no amount that can be booked.
    """
    details = _details(ending)
    match ending.booking:
        case "release":
            return Release(key)
        case "settle":
            assert ending.cost is not None, "what is settled has a cost"
            return requests.settle(key, ending.cost, ending.units, details)
        case "presume":
            return requests.presume(key, ending.cost, ending.units, details)


def _details(ending: Ending) -> dict[str, object] | None:
    """Return the details stored with the settlement; `None` where a store would refuse them."""
    details = details_of_call(
        usage=None if ending.usage is None else ending.usage.counts,
        model=ending.model,
        request_id=ending.request_id,
        unknown=ending.unknown,
        note=ending.note,
    )
    try:
        details_text(details)
    except InvalidKey:
        # The cost is booked even if its details cannot be stored.
        return None
    return details


def with_unbookable_cost(ending: Ending, error: InvalidAmount) -> Ending:
    """Return *ending* as a presumption, for a cost that cannot be booked."""
    note = f"{ending.note}; {error}" if ending.note else str(error)
    return Ending(
        booking="presume",
        usage=ending.usage,
        unknown=ending.unknown,
        model=ending.model,
        request_id=ending.request_id,
        note=note,
        failure=ending.failure,
    )


def decode_json(body: object) -> object:
    """Return a body of bytes or text decoded as JSON; anything else unchanged."""
    if not isinstance(body, str | bytes | bytearray):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body


def to_jsonable(value: object) -> object:
    """Return the JSON value of an SDK's object (a pydantic model); else *value* itself.

    Raises:
        InvalidUsage: The object cannot be written as JSON.
    """
    dump = getattr(value, "model_dump", None)
    if not callable(dump):
        return value
    try:
        return dump(mode="json")
    except Exception as error:
        detail = f"{type(value).__name__} cannot be written as JSON ({type(error).__name__})"
        raise InvalidUsage(detail=detail) from error


def normalized_headers(headers: object) -> dict[str, str]:
    """Return the headers of any HTTP client by their names in lower case.

    Raises:
        InvalidUsage: They are no mapping of names to strings.
    """
    listed = getattr(headers or {}, "items", None)
    if not callable(listed):
        raise InvalidUsage(detail=f"the headers are {type(headers).__name__}, not texts by name")
    found: dict[str, str] = {}
    for name, value in cast("Iterable[tuple[object, object]]", listed()):
        if not isinstance(name, str) or not isinstance(value, str):
            detail = f"the header {shown(name)} is {type(value).__name__}, not a text"
            raise InvalidUsage(detail=detail)
        found[name.lower()] = value
    return found


def readable_headers(headers: object) -> dict[str, str]:
    """Return the *headers* of an exception, or none where they cannot be read."""
    try:
        return normalized_headers(headers)
    except InvalidUsage:
        return {}


def check_error_status(status: object) -> int:
    """Return *status* if it is that of an HTTP error.

    Raises:
        InvalidUsage: It is not.
    """
    if isinstance(status, int) and not isinstance(status, bool) and status in HTTP_ERRORS:
        return status
    number = ", given as a number" if isinstance(status, str) else ""
    detail = f"the status is {shown(status)!r}; an HTTP error has 300 to 999{number}"
    raise InvalidUsage(detail=detail)


def _body(reply: object) -> tuple[Mapping[str, Any] | None, str]:
    """Return the JSON object of *reply*, and the name of a duplicate member in it.

    It is `None` for an amount or a usage. Of two values of one member the larger counts.
    """
    if not isinstance(reply, bytes | bytearray):
        found = to_jsonable(reply)
        body = mapping(cast("object", found)) if isinstance(found, Mapping) else None
        return body, ""
    repeated: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = larger_members(pairs)
        if len(found) < len(pairs):
            repeated.extend(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        return found

    try:
        found = json.loads(reply, object_pairs_hook=members)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidUsage(detail="the reply is no JSON object")
    return cast("dict[str, Any]", found), shown(repeated[0]) if repeated else ""
