"""How a call ended, and what that books: pure.

it is known what it cost                settled to that, above the hold too
nobody knows, or only in part           presumed: the largest of the hold, the known cost and the
                                        most that the output produced can cost
surely not billed, or never sent        released
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, Literal, cast

from earmark.admission.call import Reply
from earmark.admission.policy import choices
from earmark.apis.client_errors import kinds_of
from earmark.apis.counters import larger_members
from earmark.apis.reply_cost import PricedRequest, model_of, reply_cost, request_id_of
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
#: A stage's own words may hold what it was given, and are in its run's statement.
_FAILED: Final = "the call failed"
#: The most a caller's count of tokens is taken to exceed a true usage: of ordinary text a token has
#: up to six bytes, should those be counted. The first 64 are no evidence.
_MOST_COUNTED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call ended: all that its booking and a record of it say; equal endings are one."""

    booking: Booking
    cost: Money | None = None
    """What it cost; for `presume` at least so much, where that is known."""
    tokens: int | None = None
    """What it used of a `tokens` limit; `None` for as many as were held."""
    usage: Usage | None = None
    unknown: tuple[str, ...] = ()
    model: str | None = None
    request_id: str | None = None
    note: str = ""
    failure: BaseException | None = field(default=None, compare=False)


def ended_by(reply: Reply) -> Ending:
    """Return the ending of a call that gave *reply*."""
    usage = reply.usage
    return Ending(
        booking="presume" if reply.cost is None else "settle",
        cost=reply.known_cost if reply.cost is None else reply.cost,
        tokens=None if usage is None else usage.tokens,
        usage=usage,
        unknown=reply.unknown,
        model=reply.model,
        request_id=reply.request_id,
        note=reply.note,
    )


def failed_by(failure: CallFailed) -> Ending:
    """Return the ending of a call that failed, by what *failure* says of its cost."""
    if failure.billed == "no":
        return Ending(booking="release", failure=failure)
    usage: Usage | None = failure.usage
    cost: Money | None = failure.cost if failure.billed == "yes" else None
    return Ending(
        booking="presume" if cost is None else "settle",
        cost=failure.known_cost if cost is None else cost,
        tokens=None if usage is None else usage.tokens,
        usage=usage,
        unknown=failure.unknown,
        model=failure.model,
        request_id=failure.request_id,
        note=failure.note or _FAILED,
        failure=failure,
    )


def cut_by(failure: BaseException, partial: Sequence[Reply] = ()) -> Ending:
    """Return the ending of a call that was cut short: nobody knows what it cost.

    What came of its reply, the last of *partial*, says what it cost at least. Of *failure* its type
    is kept alone: the text of a foreign exception may hold a prompt or a key.
    """
    note = f"the call was ended by {kinds_of(failure)}"
    if isinstance(failure, CallFailed):
        note = failure.note
    if not partial:
        return Ending(booking="presume", note=note, failure=failure)
    return replace(ended_by(partial[-1]), booking="presume", note=note, failure=failure)


def cut_after(partial: Mapping[str, Any], asked: PricedRequest, ending: Ending) -> Ending:
    """Return *ending*, which is a presumption, with what the *partial* reply says of its cost.

    A usage that came before the end is that of a part: it costs at least so much.
    """
    known = ended_by_body(partial, asked)
    return replace(known, booking="presume", note=ending.note, failure=ending.failure)


def ended_by_body(
    reply: object,
    asked: PricedRequest | None,
    *,
    units: Mapping[str, int] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Ending:
    """Return the ending of a call whose *reply* is its body, its usage, or its cost in USD.

    Raises:
        InvalidUsage: A body or a usage cannot be priced: the hold is of a declared amount.
        InvalidAmount: The amount is none.
    """
    body, repeated = _body(reply)
    if body is None and not isinstance(reply, Usage):
        _check_amount(reply)
        amounts = requests.amounts(cast("AmountLike", reply), units, calls=requests.AS_HELD)
        return Ending(booking="settle", cost=Money.nanos(amounts.usd), tokens=amounts.tokens)
    if asked is None:
        raise InvalidUsage(detail="the hold is of a declared amount: settle it to an amount in USD")
    if isinstance(reply, Usage):
        try:
            cost = asked.price.cost(reply)
        except BudgetExceeded as unpriced:
            return Ending(booking="presume", usage=reply, note=str(unpriced))
        return Ending(booking="settle", cost=cost, tokens=reply.tokens, usage=reply)
    known = reply_cost(body or {}, asked)
    twice = f"the reply names {repeated!r} twice" if repeated else ""
    return Ending(
        booking="presume" if known.cost is None or repeated else "settle",
        cost=known.known if known.cost is None else known.cost,
        tokens=None if known.usage is None else known.usage.tokens,
        usage=known.usage,
        unknown=known.unknown,
        model=model_of(body or {}),
        request_id=request_id_of(body or {}, headers),
        note=known.note or twice,
    )


def _check_amount(reply: object) -> None:
    """Refuse what is neither a reply nor of a type that amounts of money are read from.

    Raises:
        InvalidUsage: Says what to give in its place.
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


def in_full(ending: Ending, bound: Bound, *, produced: int, counted: int) -> Ending:
    """Return *ending* where it cost no less than the output tokens that came.

    A usage with less than an eighth of the tokens that the caller *counted* is not believed: they
    are presumed. What is presumed is at least the most that *produced* tokens can cost.
    """
    usage = ending.usage
    if ending.booking == "settle" and usage is not None:
        reported = usage.get("output_tokens")
        if counted > _MOST_COUNTED * max(reported, _MOST_COUNTED):
            note = f"the usage has {reported} output tokens where {counted} were produced"
            ending = replace(ending, booking="presume", note=note)
    if ending.booking != "presume" or bound.max_output_tokens is None or not produced:
        return ending
    output = -(-produced // choices(bound))
    cost, tokens = bound.cost(output), bound.tokens(output)
    return replace(
        ending,
        cost=cost if ending.cost is None else max(cost, ending.cost),
        tokens=tokens if ending.tokens is None else max(tokens or 0, ending.tokens),
    )


def operation_of(key: str, ending: Ending) -> Settle | Presume | Release:
    """Return what books *ending* of the reservation *key*.

    Raises:
        InvalidAmount: Its cost is none that can be booked.
    """
    units = None if ending.tokens is None else {"tokens": ending.tokens}
    details = _details(ending)
    match ending.booking:
        case "release":
            return Release(key)
        case "settle":
            assert ending.cost is not None, "what is settled has a cost"
            return requests.settle(key, ending.cost, units, details)
        case "presume":
            known = None if ending.cost is None else units
            return requests.presume(key, ending.cost, known, details)


def _details(ending: Ending) -> dict[str, object] | None:
    """Return what is kept with the settlement; `None` where no store takes it."""
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
        # A cost is booked whatever the names beside it are.
        return None
    return details


def without_cost(ending: Ending, error: InvalidAmount) -> Ending:
    """Return *ending* where its cost cannot be booked: nobody knows it."""
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


def decoded(body: object) -> object:
    """Return what a body in bytes or text says as JSON; what is no JSON as it is."""
    if not isinstance(body, str | bytes | bytearray):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body


def json_of(value: object) -> object:
    """Return the JSON of an SDK's object, which is a pydantic model; else *value* itself.

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


def header_texts(headers: object) -> dict[str, str]:
    """Return *headers*, any HTTP client's, by their names in lower case.

    Raises:
        InvalidUsage: They are no mapping of names to texts.
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


def texts_of(headers: object) -> dict[str, str]:
    """Return the *headers* of an exception, as far as they are texts by name."""
    try:
        return header_texts(headers)
    except InvalidUsage:
        return {}


def error_status(status: object) -> int:
    """Return *status* if an HTTP error has it.

    Raises:
        InvalidUsage: It is none.
    """
    if isinstance(status, int) and not isinstance(status, bool) and status in HTTP_ERRORS:
        return status
    number = ", given as a number" if isinstance(status, str) else ""
    detail = f"the status is {shown(status)!r}; an HTTP error has 300 to 999{number}"
    raise InvalidUsage(detail=detail)


def _body(reply: object) -> tuple[Mapping[str, Any] | None, str]:
    """Return the JSON object that *reply* is or holds, and a member it names twice.

    It is `None` for an amount or a usage. Of two values of one member the larger stands.
    """
    if not isinstance(reply, bytes | bytearray):
        found = json_of(reply)
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
