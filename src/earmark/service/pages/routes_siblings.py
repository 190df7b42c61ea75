"""`/nudges` and `/agents`: what siblings were told, and what they do."""

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from earmark.errors import NotFound
from earmark.service.auth import allowed
from earmark.service.pages.error_pages import PageRoute
from earmark.service.pages.latest import latest_alerts
from earmark.service.pages.page_context import (
    ReaderPageRequest,
    SpenderForm,
    check_text,
    render_page,
    see_other,
)
from earmark.service.pages.routes_account import own_address
from earmark.service.pages.views_agents import agents_view
from earmark.service.pages.views_nudges import MOST, nudges_page
from earmark.workspace.kill_switch import kill_switch_name

router: Final = APIRouter(route_class=PageRoute)

#: The type of the patch that a page writes.
CONTROL: Final = "control"
#: Crossed thresholds that are listed.
MOST_ALERTS: Final = 20
_LONGEST_NUMBER: Final = 18


@router.get("/nudges")
def nudges(page_request: ReaderPageRequest) -> Response:
    """Show the nudges, the newest first: those that nobody acknowledged, or all."""
    workspace, open_only = page_request.workspace, page_request.query("show") != "all"
    after = _number(page_request.query("after"))
    acked = False if open_only else None
    found = workspace.nudges.find(acked=acked, after=after, most=MOST + 1, newest_first=True)
    ways = workspace.nudges.deliveries_of([each.id for each in found[:MOST]])
    alerts = latest_alerts(workspace.ledger, MOST_ALERTS)
    view = nudges_page(found, ways, alerts, open_only=open_only, after=after)
    return render_page(page_request, "nudges.html", "Nudges", view, here="nudges")


@router.post("/nudges/ack")
def ack(page_request: SpenderForm) -> Response:
    """Note that somebody has seen a nudge."""
    nudge = page_request.form.get("id", "")
    check_text(nudge)
    page_request.workspace.nudges.ack(nudge, page_request.caller.name)
    return see_other(own_address(page_request.typed("back") or "/nudges"))


@router.get("/agents")
def agents(page_request: ReaderPageRequest) -> Response:
    """Show the heartbeats and their kill switches."""
    workspace = page_request.workspace
    rows = workspace.agents.all()
    patches = {row.name: workspace.quilt.named(kill_switch_name(row.name)) for row in rows}
    view = agents_view(rows, patches, page_request.now)
    return render_page(page_request, "agents.html", "Agents", view, here="agents")


@router.post("/agents/switch")
def switch(page_request: SpenderForm) -> Response:
    """Keep an agent from dispatching; an admin lets it again, by every patch of the switch."""
    if page_request.form.get("to") == "on":
        allowed(page_request.caller, "admin")
    agent = page_request.form.get("agent", "")
    check_text(agent)
    if page_request.workspace.agents.get(agent) is None:
        raise NotFound(kind="agent", name=agent)
    quilt, name = page_request.workspace.quilt, kill_switch_name(agent)
    says = {"enabled": page_request.form.get("to") == "on"}
    types = {patch.type for patch in quilt.named(name)} if says["enabled"] else set[str]()
    for each in sorted(types | {CONTROL}):
        quilt.put(each, name, says, author=page_request.caller.name)
    return see_other("/agents")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER else 0
