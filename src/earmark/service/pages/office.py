"""What every route of the pages works with: who looks, what was typed, how a page is answered."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from earmark.service.auth import Caller, Gate, allowed, check_form, check_origin
from earmark.service.context import Service
from earmark.service.pages.render import Frame, fragment, page
from earmark.service.problems import Problem
from earmark.workspace.workspace import Workspace

MOST_FIELDS: Final = 100

_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request for a page: who asks, in whose workspace, and what they typed."""

    request: Request
    workspace: Workspace
    gate: Gate
    caller: Caller
    now: int
    approval_for: frozenset[str]
    """Which new tasks a person approves first."""
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    """Empty where nothing was sent."""

    def query(self, name: str) -> str:
        """Return what the address says of *name*; empty where it says nothing."""
        return self.request.query_params.get(name, "").strip()

    def typed(self, name: str) -> str:
        """Return what was typed into the field *name*, without spaces around it."""
        return self.form.get(name, "").strip()


# Who comes ----------------------------------------------------------------------------------------


async def _anybody(request: Request) -> Visit:
    service: Service = request.app.state.service
    check_text(request.scope["path"], *request.query_params.values())
    caller = await service.gate.visitor(request)
    request.state.visitor = caller
    return Visit(
        request=request,
        workspace=service.workspace,
        gate=service.gate,
        caller=caller,
        now=service.clock.instant(),
        approval_for=service.approval_for,
    )


async def _reader(request: Request) -> Visit:
    visit = await _anybody(request)
    allowed(visit.caller, "read")
    return visit


async def _entering(request: Request) -> Visit:
    check_origin(request)
    return replace(await _anybody(request), form=await form_of(request))


def _sender(scope: str) -> Callable[[Request], Awaitable[Visit]]:
    async def sender(request: Request) -> Visit:
        visit = await _entering(request)
        check_form(visit.caller, visit.form.get("csrf", ""), scope)
        return visit

    return sender


#: Whoever comes; they need not be let in further.
Anybody = Annotated[Visit, Depends(_anybody)]
#: Somebody who may read; others are asked to log in.
Reader = Annotated[Visit, Depends(_reader)]
#: Somebody who sends the login form, which belongs to no session yet.
Entering = Annotated[Visit, Depends(_entering)]
#: Somebody who sends a form of a page of theirs, and has at least the scope.
Sender = Annotated[Visit, Depends(_sender("read"))]
Spender = Annotated[Visit, Depends(_sender("spend"))]
Admin = Annotated[Visit, Depends(_sender("admin"))]


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form; of several with one name the last.

    Raises:
        Problem: It is no form.
    """
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent != _FORM_TYPE:
        raise Problem(415, "unsupported_media_type", f"this takes a form, {_FORM_TYPE}")
    try:
        text = (await request.body()).decode()
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Problem(400, "input_error", "the form cannot be read") from None
    form = {name: value.replace("\r\n", "\n") for name, value in pairs}
    request.state.form = form
    return form


def check_text(*texts: str) -> None:
    """Refuse what no database can look for: a text with a zero in it.

    Raises:
        Problem: 400: one of *texts* is such.
    """
    if any("\0" in text for text in texts):
        raise Problem(400, "input_error", "a text on a page has no zero characters")


# What they get ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What was refused of a form, said on the page with what was typed."""

    sentence: str
    status: int


def shown(
    visit: Visit,
    template: str,
    title: str,
    view: object,
    *,
    here: str = "",
    address: str = "",
    refused: Refused | None = None,
) -> Response:
    """Return the page *template* of *view*, or only its live part where that is asked for.

    Args:
        visit: Whose it is.
        template: A file in `templates/`.
        title: Of the page.
        view: What it shows.
        here: Which entry of the navigation it belongs to.
        address: Where the page itself is, if a form of it was sent elsewhere.
        refused: What was refused of a form.
    """
    frame = Frame(
        title=title,
        here=here,
        address=address or visit.request.url.path,
        caller=visit.caller,
        form=visit.form,
        problem=refused.sentence if refused else "",
    )
    whole = visit.request.method != "GET" or visit.query("fragment") != "live"
    text = page(template, frame, view) if whole else fragment(template, frame, view)
    return HTMLResponse(text, refused.status if refused else 200)


def see_other(address: str) -> Response:
    """Return the answer to a form that was carried out: where to look now."""
    return RedirectResponse(address, _SEE_OTHER)
