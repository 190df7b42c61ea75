"""Errors as pages: for people with a browser, where the API has problem documents."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from earmark.errors import OUTCOMES, EarmarkError, StoreError
from earmark.service.auth import NOBODY
from earmark.service.pages.page_context import FormRefusal
from earmark.service.pages.render import Frame, page
from earmark.service.problems import STORE_RETRY_S, ProblemError

_LOG: Final = logging.getLogger("earmark.service")
_TITLES: Final = {
    400: "That cannot be used",
    401: "Log in first",
    402: "A budget refused",
    403: "Not allowed",
    404: "There is no such page",
    405: "Not that way",
    408: "Too slow",
    409: "It has moved on meanwhile",
    413: "Too large",
    422: "That cannot be carried out",
    500: "Something broke",
    503: "The books cannot be reached now",
}
#: What to do about it.
_NEXT: Final = {
    400: "Go back and change what was sent.",
    404: "Look at the address again; what it named may be gone, or not yet there.",
    405: "This address takes no such request: begin at one of the pages.",
    408: "Go back and send it again.",
    413: "Go back and send less of it.",
    500: "Try again; if it stays so, the service's log says why.",
    503: "Nothing is lost. Try again in a moment; the service's log says why.",
}
_UNSAID: Final = {status.phrase for status in HTTPStatus}
_UNAUTHORIZED: Final = 401
#: From here on it is not the visitor's doing.
_OURS: Final = 500
#: Fields of a form that are not shown again.
_SECRET: Final = frozenset({"csrf", "token", "key"})


class PageRoute(APIRoute):
    """A route whose errors are pages; who may not look is asked to log in."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the route's handler with its errors turned into pages."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (ProblemError, EarmarkError) as error:
                return error_page(request, error)

        return answer


def error_page(request: Request, error: ProblemError | EarmarkError) -> Response:
    """Return *error* as a page, or the way to log in."""
    if isinstance(error, EarmarkError):
        refused = refusal(error)
        return _page(request, refused.status, refused.sentence)
    # What was typed is shown again, to be copied: the page that could hold it is not there.
    typed: Mapping[str, str] = getattr(request.state, "form", {})
    if error.status == _UNAUTHORIZED and not typed:
        return RedirectResponse(f"/login?next={quote(_return_path(request), safe='')}", 303)
    return _page(request, error.status, error.detail, typed)


def refusal(error: EarmarkError) -> FormRefusal:
    """Return what a page says of *error*, and its status."""
    status = OUTCOMES[error.code].http_status
    if isinstance(error, StoreError):
        # What a store complains of may name hosts and files: it stays in the log.
        _LOG.warning("store: %s", error)
        sentence = "the books cannot be read or written now: try again in a moment"
        return FormRefusal(sentence=sentence, status=status)
    return FormRefusal(sentence=str(error), status=status)


def install_failures(app: FastAPI) -> None:
    """Give browsers a page where an address leads nowhere; programs get what they got before."""
    for kind in (HTTPException, Exception):
        documents = cast("_ErrorHandler", app.exception_handlers[kind])
        app.add_exception_handler(kind, partial(_answer, documents))


_ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]


async def _answer(documents: _ErrorHandler, request: Request, error: Exception) -> Response:
    document = await documents(request, error)
    if "text/html" not in request.headers.get("accept", ""):
        return document
    await _find_visitor(request)
    detail = str(error.detail) if isinstance(error, HTTPException) else ""
    answer = _page(request, document.status_code, "" if detail in _UNSAID else detail)
    for name in ("allow", "connection"):
        if name in document.headers:
            answer.headers[name] = document.headers[name]
    return answer


async def _find_visitor(request: Request) -> None:
    """Find out who looks, where no route of a page did."""
    try:
        request.state.visitor = await request.app.state.service.authenticator.visitor(request)
    except EarmarkError:
        request.state.visitor = NOBODY


def _return_path(request: Request) -> str:
    """Return the page that was asked for, to come back to after the login."""
    if request.method != "GET":
        return "/"
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def _page(
    request: Request, status: int, detail: str, typed: Mapping[str, str] | None = None
) -> Response:
    title = _TITLES.get(status, "That did not work")
    kept = {name: value for name, value in (typed or {}).items() if value and name not in _SECRET}
    frame = Frame(
        title=title,
        here="",
        address=request.url.path,
        caller=getattr(request.state, "visitor", NOBODY),
    )
    view = {
        "status": status,
        "detail": detail,
        "next": _NEXT.get(status, ""),
        "back": _return_path(request),
        "again": request.method == "GET" and status >= _OURS,
        "typed": kept,
    }
    headers = {"Retry-After": str(STORE_RETRY_S)} if status == 503 else None  # noqa: PLR2004
    return HTMLResponse(page("error_page.html", frame, view), status, headers=headers)
