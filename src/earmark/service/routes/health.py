"""Health and metrics: `/livez` and `/readyz` for everybody, the others for who may read."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response

from earmark.service.answers import PROBLEM
from earmark.service.auth import unauthorized
from earmark.service.context import ServiceDep, service_of
from earmark.service.problems import ProblemError
from earmark.service.readiness import HealthReport

router = APIRouter(tags=["state"])

HEALTH: Final = "application/health+json"
_OK: Final = 200
_UNAVAILABLE: Final = 503


def _checked(condition: str) -> dict[int | str, dict[str, Any]]:
    content = {HEALTH: {"schema": {"$ref": "#/components/schemas/Check"}}}
    return {
        200: {"description": f"It is {condition}.", "content": content},
        503: {"description": f"It is not {condition}.", "content": content},
    }


@router.get("/livez", responses={200: _checked("alive")[200]}, response_class=Response)
async def livez() -> Response:
    """Say that the process answers; it says nothing of the store."""
    return Response(b'{"status": "pass"}', media_type=HEALTH)


@router.get("/readyz", responses=_checked("ready"), response_class=Response)
async def readyz(request: Request) -> Response:
    """Say whether the store can be read and written, and was recovered."""
    return _answer(await service_of(request).readiness.ready())


@router.get("/health", responses=_checked("healthy"), response_class=Response)
async def health(request: Request) -> Response:
    """Say how the heartbeat, the budget and the store do; at the cap it is `warn`, not `fail`.

    It is for whoever may read; that the store cannot be read is told to everybody.
    """
    # Asked for a thousand times a second: what a dependency costs counts.
    service = service_of(request)
    finding = await service.readiness.health()
    # Without a store there are no numbers in it, and nobody's token could be looked at.
    if not finding.is_public and not (await service.authenticator.caller(request)).may("read"):
        raise unauthorized("health needs a token with the scope 'read'")
    return _answer(finding)


_TEXT: Final = {"text/plain": {"schema": {"type": "string"}}}
_METRICS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The metrics.",
        "content": {**_TEXT, "application/openmetrics-text": {"schema": {"type": "string"}}},
    },
    "4XX": PROBLEM,
    "5XX": PROBLEM,
}


@router.get("/metrics", responses=_METRICS, response_class=Response)
async def metrics(
    service: ServiceDep,
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Tell what the books say, in Prometheus' words, to whoever may read."""
    caller = await service.authenticator.caller(request)
    if not caller.may("read"):
        raise unauthorized("metrics need a token with the scope 'read'")
    try:
        body, media_type = await service.metrics.written(accept)
    except TimeoutError:
        raise ProblemError(503, "store_unavailable", "the books take too long to read") from None
    return Response(body, headers={"Content-Type": media_type})


def _answer(finding: HealthReport) -> Response:
    return Response(finding.body, _OK if finding.ok else _UNAVAILABLE, media_type=HEALTH)
