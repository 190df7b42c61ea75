"""Reservations: list and look, reserve, extend, settle, presume, release."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from earmark.clock import parse_duration
from earmark.errors import InvalidDuration
from earmark.ledger import requests
from earmark.ledger.answers import reservation_of
from earmark.ledger.values import Extend, Presume, Release, Reservation, Settle, State
from earmark.service import bodies
from earmark.service.answers import answer, answers
from earmark.service.auth import ReadCaller, SpendCaller
from earmark.service.context import ServiceDep
from earmark.service.disconnects import while_connected
from earmark.service.idempotency import (
    AnswerWithEffect,
    AnswerWithEffectRoute,
    OperationName,
)
from earmark.service.paging import page
from earmark.service.routes.params import BooksQuery, KeyParam
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.resources.books import RESERVATION, RESERVED

router = APIRouter(route_class=AnswerWithEffectRoute, tags=["reservations"])

#: A request that waits longer is one that somebody in between cuts off.
LONGEST_WAIT = "60s"

InState = Annotated[State | None, Query(description="Only those in this state.")]


@router.get("/reservations", **answers(RESERVATION, page=True))
def list_reservations(
    service: ServiceDep, _: ReadCaller, books_query: BooksQuery, state: InState = None
) -> Response:
    """List reservations in the order they were opened, as entries are listed."""
    service.workspace.ledger.sweep()
    query = replace(books_query.filter, state=state)
    found = service.workspace.ledger.store.reservations(query)
    return page(found, books_query.limit, RESERVATION.encode, lambda each: each.seq)


@router.get("/reservations/{key:path}", **answers(RESERVATION))
def get_reservation(service: ServiceDep, _: ReadCaller, key: KeyParam) -> Response:
    """Show one reservation."""
    return answer(RESERVATION, service.workspace.ledger.reservation(key))


@router.post("/reservations", **answers(RESERVED, 201))
async def reserve(
    request: Request,
    service: ServiceDep,
    _: SpendCaller,
    body: bodies.ReserveBody,
    operation: OperationName,
) -> Response:
    """Hold an amount on every budget above a path, or on none; durable before it is answered.

    Under an Idempotency-Key, or a `key`, once, however often it is sent; `repeated` says whether
    the key was used before, so that no work is begun on a hold that another request opened.
    402: it does not fit, and asking again does not help; 429: it would fit if what is in flight
    came back. A client that hangs up while it waits leaves the line; what was held by then is
    given back, unless a `key` or an Idempotency-Key finds it.
    """
    wait = None if body.wait is None else _wait(body.wait)
    ledger = service.workspace.ledger.as_async()
    stored = AnswerWithEffect(request, _opened, status=201)
    ledger_request = stored.by(
        requests.reserve(
            ledger.clock,
            body.budget,
            body.amount,
            key=body.key or operation,
            units=body.units,
            deadline=body.deadline,
            labels=body.labels,
            operation=operation,
        )
    )
    async with nullcontext() if wait is None else while_connected(request):
        found = await ledger.open(ledger_request, wait, is_named=bool(body.key or operation))
    return stored.response(found)


@router.post("/reservations/{key:path}/settle", **answers(RESERVATION))
def settle(
    request: Request,
    service: ServiceDep,
    _: SpendCaller,
    key: KeyParam,
    body: bodies.SettleBody,
    _operation: OperationName,
) -> Response:
    """Replace a hold by what it really cost: all of it, also above the hold."""
    return _done(request, service, requests.settle(key, body.amount, body.units, body.details))


@router.post("/reservations/{key:path}/presume", **answers(RESERVATION))
def presume(
    request: Request,
    service: ServiceDep,
    _: SpendCaller,
    key: KeyParam,
    body: bodies.PresumeBody,
    _operation: OperationName,
) -> Response:
    """Count a hold as spent, or what is known if that is more, for nobody knows what it cost.

    Corrected by settling or releasing it; by presuming again it is only raised.
    """
    return _done(request, service, requests.presume(key, body.known, body.units, body.details))


@router.post("/reservations/{key:path}/release", **answers(RESERVATION))
def release(
    request: Request, service: ServiceDep, _: SpendCaller, key: KeyParam, _operation: OperationName
) -> Response:
    """Give all of a hold back: nothing was spent."""
    return _done(request, service, requests.release(key))


@router.post("/reservations/{key:path}/extend", **answers(RESERVATION))
def extend_reservation(
    request: Request,
    service: ServiceDep,
    _: SpendCaller,
    key: KeyParam,
    body: bodies.ExtendBody,
    operation: OperationName,
) -> Response:
    """Add to a hold on all its budgets, or on none, and to its time; under an Idempotency-Key once.

    The deadline only moves later. Time alone is given also on a paused or an exhausted budget.
    """
    ledger_request = requests.extend(
        service.clock,
        key,
        body.amount,
        units=body.units,
        deadline=body.deadline,
        operation=operation,
    )
    return _done(request, service, ledger_request)


def _done(
    request: Request, service: ServiceDep, operation: Extend | Settle | Presume | Release
) -> Response:
    """Do *operation* on a reservation, and answer with what it is then."""
    stored = AnswerWithEffect(request, _as_it_is)
    found = service.workspace.ledger.committer.submit(stored.by(operation))
    return stored.response(reservation_of(found))


def _opened(found: Reservation) -> object:
    return to_jsonable_utf8(RESERVED.encode(found))


def _as_it_is(found: Reservation) -> object:
    return to_jsonable_utf8(RESERVATION.encode(found))


def _wait(text: str) -> str:
    if parse_duration(text) > parse_duration(LONGEST_WAIT):
        raise InvalidDuration(text=text, want=f"at most {LONGEST_WAIT}", kind="wait")
    return text
