"""`/login` and `/logout`: a token once, then a session."""

from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from earmark.service.auth import SESSION_S, cookie_name, is_secure
from earmark.service.pages.failures import PageRoute
from earmark.service.pages.office import (
    Anybody,
    Entering,
    Refused,
    Sender,
    Visit,
    see_other,
    shown,
)
from earmark.service.problems import Problem

router: Final = APIRouter(route_class=PageRoute)


@router.get("/login")
def login(visit: Anybody) -> Response:
    """Show the form that takes a token."""
    return _form(visit, visit.query("next"))


@router.post("/login")
async def enter(visit: Entering) -> Response:
    """Begin a session; the token itself is kept nowhere."""
    back = visit.typed("next")
    try:
        cookie = await run_in_threadpool(visit.gate.enter, visit.form.get("token", ""))
    except Problem as problem:
        return _form(visit, back, Refused(sentence=problem.detail, status=problem.status))
    answer = see_other(own_address(back))
    answer.set_cookie(
        cookie_name(visit.request),
        cookie,
        max_age=SESSION_S,
        path="/",
        secure=is_secure(visit.request),
        httponly=True,
        samesite="strict",
    )
    return answer


@router.post("/logout")
def leave(visit: Sender) -> Response:
    """End the session."""
    name = cookie_name(visit.request)
    visit.gate.leave(visit.request.cookies.get(name, ""))
    answer = see_other("/login")
    secure = is_secure(visit.request)
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


def _form(visit: Visit, back: str, refused: Refused | None = None) -> Response:
    return shown(visit, "login.html", "Log in", {"next": back}, refused=refused)
