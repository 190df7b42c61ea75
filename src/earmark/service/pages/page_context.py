"""What every route of a page works with: the caller, the form, and the rendered response."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from earmark.service.auth import Authenticator, Caller, allowed, check_form, check_origin
from earmark.service.context import Service
from earmark.service.own_reader import OwnReader
from earmark.service.pages.render import Frame, fragment, page
from earmark.service.problems import ProblemError
from earmark.workspace.workspace import Workspace

MOST_FIELDS: Final = 100

_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """One request for a page: its caller, its workspace and its form."""

    request: Request
    workspace: Workspace
    own_reader: OwnReader
    """Of the same books: nobody else waits for what is read there."""
    authenticator: Authenticator
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


async def _anybody(request: Request) -> PageRequest:
    service: Service = request.app.state.service
    check_text(request.scope["path"], *request.query_params.values())
    caller = await service.authenticator.visitor(request)
    request.state.visitor = caller
    return PageRequest(
        request=request,
        workspace=service.workspace,
        own_reader=service.own_reader,
        authenticator=service.authenticator,
        caller=caller,
        now=service.clock.instant(),
        approval_for=service.approval_for,
    )


async def _reader(request: Request) -> PageRequest:
    page_request = await _anybody(request)
    allowed(page_request.caller, "read")
    return page_request


async def _entering(request: Request) -> PageRequest:
    check_origin(request)
    return replace(await _anybody(request), form=await form_of(request))


def _sender(scope: str) -> Callable[[Request], Awaitable[PageRequest]]:
    async def sender(request: Request) -> PageRequest:
        page_request = await _entering(request)
        check_form(page_request.caller, page_request.form.get("csrf", ""), scope)
        return page_request

    return sender


#: Whoever comes; they need not be let in further.
AnyPageRequest = Annotated[PageRequest, Depends(_anybody)]
#: Somebody who may read; others are asked to log in.
ReaderPageRequest = Annotated[PageRequest, Depends(_reader)]
#: Somebody who sends the login form, which belongs to no session yet.
LoginForm = Annotated[PageRequest, Depends(_entering)]
#: Somebody who sends a form of a page of theirs, and has at least the scope.
ReaderForm = Annotated[PageRequest, Depends(_sender("read"))]
SpenderForm = Annotated[PageRequest, Depends(_sender("spend"))]
AdminForm = Annotated[PageRequest, Depends(_sender("admin"))]


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form; of several with one name the last.

    Raises:
        Problem: It is no form.
    """
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent != _FORM_TYPE:
        raise ProblemError(415, "unsupported_media_type", f"this takes a form, {_FORM_TYPE}")
    try:
        text = (await request.body()).decode()
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise ProblemError(400, "input_error", "the form cannot be read") from None
    form = {name: value.replace("\r\n", "\n") for name, value in pairs}
    request.state.form = form
    return form


def check_text(*texts: str) -> None:
    """Refuse what no database can look for: a text with a zero in it.

    Raises:
        Problem: 400: one of *texts* is such.
    """
    if any("\0" in text for text in texts):
        raise ProblemError(400, "input_error", "a text on a page has no zero characters")


# What they get ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRefusal:
    """What was refused of a form, said on the page with what was typed."""

    sentence: str
    status: int


def render_page(
    page_request: PageRequest,
    template: str,
    title: str,
    view: object,
    *,
    here: str = "",
    address: str = "",
    refused: FormRefusal | None = None,
) -> Response:
    """Return the page *template* of *view*, or only its live part where that is asked for.

    Args:
        page_request: Whose it is.
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
        address=address or page_request.request.url.path,
        caller=page_request.caller,
        now=page_request.now,
        form=page_request.form,
        problem=refused.sentence if refused else "",
    )
    whole = page_request.request.method != "GET" or page_request.query("fragment") != "live"
    text = page(template, frame, view) if whole else fragment(template, frame, view)
    return HTMLResponse(text, refused.status if refused else 200)


def see_other(address: str) -> Response:
    """Return the answer to a form that was carried out: where to look now."""
    return RedirectResponse(address, _SEE_OTHER)
