"""`/login` and `/logout`: a token once, then a session."""

from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from earmark.service.auth import SESSION_S, cookie_name, is_secure
from earmark.service.pages.error_pages import PageRoute
from earmark.service.pages.page_context import (
    AnyPageRequest,
    FormRefusal,
    LoginForm,
    PageRequest,
    ReaderForm,
    render_page,
    see_other,
)
from earmark.service.problems import ProblemError

router: Final = APIRouter(route_class=PageRoute)


@router.get("/login")
def login(page_request: AnyPageRequest) -> Response:
    """Show the form that takes a token."""
    return _form(page_request, page_request.query("next"))


@router.post("/login")
async def enter(page_request: LoginForm) -> Response:
    """Begin a session; the token itself is kept nowhere."""
    back = page_request.typed("next")
    try:
        cookie = await run_in_threadpool(
            page_request.authenticator.enter, page_request.form.get("token", "")
        )
    except ProblemError as problem:
        return _form(
            page_request, back, FormRefusal(sentence=problem.detail, status=problem.status)
        )
    answer = see_other(own_address(back))
    answer.set_cookie(
        cookie_name(page_request.request),
        cookie,
        max_age=SESSION_S,
        path="/",
        secure=is_secure(page_request.request),
        httponly=True,
        samesite="strict",
    )
    return answer


@router.post("/logout")
def leave(page_request: ReaderForm) -> Response:
    """End the session."""
    name = cookie_name(page_request.request)
    page_request.authenticator.leave(page_request.request.cookies.get(name, ""))
    answer = see_other("/login")
    secure = is_secure(page_request.request)
    answer.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")
    return answer


def own_address(text: str) -> str:
    """Return *text* if it is an address of this service, else the board's."""
    # Browsers read a backslash as a slash, and leave out tabs and ends of lines.
    plain = text.isprintable() and "\\" not in text
    if not plain or not text.startswith("/") or text.startswith("//"):
        return "/"
    parts = urlsplit(text)
    return text if not parts.scheme and not parts.netloc else "/"


def _form(page_request: PageRequest, back: str, refused: FormRefusal | None = None) -> Response:
    return render_page(page_request, "login.html", "Log in", {"next": back}, refused=refused)
