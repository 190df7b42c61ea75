"""Tokens of the gateway, for admins: list and look, make, rotate, revoke."""

from fastapi import APIRouter
from starlette.responses import Response

from earmark.clock import from_datetime
from earmark.errors import NotFound
from earmark.money import Money
from earmark.service import bodies
from earmark.service.answers import SecretAnswer, answer, answers
from earmark.service.auth import AdminCaller
from earmark.service.context import Service, ServiceDep
from earmark.service.idempotency import IdempotentRoute, OperationName
from earmark.service.paging import USUAL, Cursor, LimitParam, after_texts, page
from earmark.service.routes.params import NameParam, check_not_past
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.resources.agents import NEW_TOKEN, TOKEN
from earmark.workspace.tokens import TokenRow

router = APIRouter(route_class=IdempotentRoute, tags=["tokens"])


@router.get("/tokens", **answers(TOKEN, page=True))
def list_tokens(
    service: ServiceDep, _: AdminCaller, limit: LimitParam = USUAL, cursor: Cursor = None
) -> Response:
    """List every token of the gateway there ever was, in the order of creation."""
    (after,) = after_texts(cursor, 1)
    found = [each for each in service.tokens.of_gateway() if each.id > after]
    return page(found[: limit + 1], limit, TOKEN.encode, lambda each: each.id)


@router.get("/tokens/{token_id}", **answers(TOKEN))
def get_token(service: ServiceDep, _: AdminCaller, token_id: NameParam) -> Response:
    """Show one token of the gateway; the token itself is kept nowhere."""
    return answer(TOKEN, _of_gateway(service, token_id))


@router.post("/tokens", **answers(NEW_TOKEN, 201))
def create_token(
    service: ServiceDep, _: AdminCaller, body: bodies.TokenBody, _operation: OperationName
) -> Response:
    """Make a token of the gateway; shown this once, and null where the request is sent again."""
    until = body.expires_at and check_not_past(body.expires_at, service.clock)
    access = GatewayAccess(
        budget=body.budget,
        providers=tuple(body.providers),
        models=tuple(body.models),
        most_per_request=None if body.most_per_request is None else Money(body.most_per_request),
        may_bound=body.may_bound,
        tier=body.tier,
        refusal_status=body.refusal_status,
        mode=body.mode,
    )
    expires_at = 0 if until is None else from_datetime(until)
    row, secret = service.tokens.create_for_gateway(
        body.name, access, expires_at, budget_at=service.workspace.ledger.store.budget
    )
    return _shown_once(row, secret, 201)


@router.post("/tokens/{token_id}/rotate", **answers(NEW_TOKEN))
def rotate_token(
    service: ServiceDep,
    _: AdminCaller,
    token_id: NameParam,
    body: bodies.RotateBody,
    _operation: OperationName,
) -> Response:
    """Give a token another secret, shown this once; the one before opens for the overlap."""
    row, secret = service.tokens.rotate(_of_gateway(service, token_id).id, body.overlap)
    return _shown_once(row, secret, 200)


@router.post("/tokens/{token_id}/revoke", **answers(TOKEN))
def revoke_token(
    service: ServiceDep, _: AdminCaller, token_id: NameParam, _operation: OperationName
) -> Response:
    """End a token of the gateway for good, with every secret it had."""
    return answer(TOKEN, service.tokens.revoke(_of_gateway(service, token_id).id))


def _of_gateway(service: Service, token_id: str) -> TokenRow:
    """Return a token of the gateway; those of the service are the command line's alone."""
    row = service.tokens.get(token_id)
    if row.access is None:
        raise NotFound(kind="token of the gateway", name=token_id)
    return row


def _shown_once(row: TokenRow, secret: str, code: int) -> Response:
    stored = NEW_TOKEN.encode(row, token=None)
    return SecretAnswer(NEW_TOKEN.encode(row, token=secret), code, stored=stored)
