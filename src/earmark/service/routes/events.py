"""Events: what happens, as it happens."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from earmark.service.auth import ReadCaller
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.problems import ProblemError

router = APIRouter(route_class=IdempotentRoute, tags=["events"])

_LARGEST = (1 << 63) - 1

After = Annotated[
    int | None, Query(ge=0, le=_LARGEST, description="Begin after this event of the board.")
]
LastEventId = Annotated[
    str | None, Header(description="As a browser sends it that connects again: goes before after.")
]
_STREAM = {
    "description": (
        "A stream of events: `task` (its id is the number to go on after), `nudge` (one was"
        " raised), `outbox` (one was delivered, tried or acknowledged), `agent` (it reported, or"
        " its kill switch was moved), `run` (it began, went on or ended), `ledger` (entries were"
        " booked, in the trees that it names), `reset` (too much happened meanwhile: look at"
        " everything again). After a break tasks are told from that number on; ask again for the"
        " rest."
    ),
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.get(
    "/events", response_class=StreamingResponse, response_model=None, responses={200: _STREAM}
)
async def stream_events(
    service: ServiceDep, _: ReadCaller, after: After = None, last_event_id: LastEventId = None
) -> StreamingResponse:
    """Tell what happens from now on, or since an event, as server-sent events."""
    if service.event_streams.full:
        raise ProblemError(
            503, "too_many", "too many listen already", headers={"Retry-After": "10"}
        )
    since = after if last_event_id is None else _number(last_event_id)
    return StreamingResponse(
        service.event_streams.sse_stream(since),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text[:20]) > _LARGEST:
        raise ProblemError(
            400, "input_error", "Last-Event-ID is the number of an event of the board"
        )
    return int(text)
