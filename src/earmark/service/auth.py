"""Who asks, and what they may: tokens in the header, a session's cookie for the pages.

A program sends `Authorization: Bearer emk_…`. A browser gets a session by giving a token once; its
cookie alone reads, and writes only together with the session's CSRF token from a form. Without
either nothing is read but `/livez` and `/readyz`. With `open_reads` anybody on this machine reads,
where the service is bound to loopback and asked for by a loopback name, unless the request was
passed on by a proxy, as far as that can be seen: a proxy may say nothing.
"""

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from secrets import token_urlsafe
from threading import Lock
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.config.values import is_loopback
from earmark.service.problems import ProblemError
from earmark.serving.hosts import host_of
from earmark.workspace.tokens import SCOPES, TokenRow, Tokens, digest_of

_COOKIE: Final = "earmark_session"
#: What a browser takes over TLS only and from this very host, so that no other site can set it.
_HOST_PREFIX: Final = "__Host-"
SESSION_S: Final = 12 * 3600
_MOST_SESSIONS: Final = 1000
#: `none`: the person themselves, who sent the form once more.
_OWN_SITES: Final = frozenset({"same-origin", "none"})
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="earmark"'}
#: Somebody else's request, passed on: then a loopback address says nothing of who asks.
_FORWARDED: Final = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"}
)
_FORWARDED_PREFIX: Final = "x-forwarded"
#: What no browser and no usual client speaks any more, and some proxies do, saying nothing else.
_OF_PROXIES: Final = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and what they may."""

    token_id: str
    """Empty for whoever came without a token."""
    name: str
    scopes: tuple[str, ...]
    csrf: str = ""
    """What each form of this session carries; empty outside of sessions."""

    def may(self, scope: str) -> bool:
        """Return whether *scope* is one of theirs."""
        return scope in self.scopes


#: Whoever reads where reading is open.
ANYBODY: Final = Caller(token_id="", name="", scopes=("read",))
NOBODY: Final = Caller(token_id="", name="", scopes=())


@dataclass(frozen=True, slots=True)
class _LoginSession:
    token_id: str
    digest: str
    """Of the secret that it was begun with: the session ends with that one."""
    csrf: str
    until: int


class Authenticator:
    """Tells who asks; one for each service. Sessions last as long as its process."""

    def __init__(self, tokens: Tokens, clock: Clock, *, open_reads: bool) -> None:
        """Check against *tokens*; *open_reads*: whether reading needs no token on this machine."""
        self._tokens = tokens
        self._clock = clock
        self._open_reads = open_reads
        self._sessions: OrderedDict[str, _LoginSession] = OrderedDict()
        self._lock = Lock()

    async def caller(self, request: Request) -> Caller:
        """Return who sends *request*: by a token, by a session that may only read, or nobody.

        Raises:
            Problem: 401: there is a token, and it opens nothing.
        """
        header = request.headers.get("authorization")
        if header is not None:
            return await run_in_threadpool(self._bearer, header)
        visitor = await self.visitor(request)
        return Caller(token_id=visitor.token_id, name=visitor.name, scopes=_reading(visitor.scopes))

    async def visitor(self, request: Request) -> Caller:
        """Return who looks at a page: whose session it is, else anybody who may read, or nobody.

        Before a write, `check_form` is due.
        """
        cookie = request.cookies.get(cookie_name(request))
        found = None if cookie is None else await run_in_threadpool(self._of_session, cookie)
        if found is not None:
            return found
        return ANYBODY if self._open_reads and is_local(request) else NOBODY

    def enter(self, secret: str) -> str:
        """Begin a session for who has the token *secret*; returns what its cookie says.

        Raises:
            Problem: 401: it opens nothing; 403: it is one of the gateway.
        """
        secret = secret.strip()
        row = self._tokens.check(secret)
        if row is None:
            raise unauthorized("this token opens nothing: it is unknown, expired or revoked")
        if row.access is not None:
            raise ProblemError(
                403,
                "forbidden",
                "this token pays for calls through the gateway and opens no page: log in with one"
                " of the service, which has the scope read, spend or admin",
            )
        name = token_urlsafe(32)
        until = self._clock.instant() + SESSION_S * NANOS_PER_SECOND
        begun = _LoginSession(row.id, digest_of(secret), token_urlsafe(32), until)
        with self._lock:
            self._sessions[name] = begun
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return name

    def leave(self, cookie: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(cookie, None)

    def _bearer(self, header: str) -> Caller:
        scheme, _, secret = header.partition(" ")
        row = self._tokens.check(secret.strip()) if scheme.lower() == "bearer" else None
        if row is None:
            raise unauthorized("this token opens nothing: it is unknown, expired or revoked")
        return _caller(row)

    def _of_session(self, cookie: str) -> Caller | None:
        with self._lock:
            session = self._sessions.get(cookie)
        if session is None:
            return None
        row = self._tokens.opened_by(session.token_id, session.digest)
        if row is None or self._clock.instant() >= session.until:
            self.leave(cookie)
            return None
        return _caller(row, session.csrf)


def check_form(caller: Caller, csrf: str, scope: str) -> Caller:
    """Return *caller* if their form came from a page of their session, and they may *scope*.

    Raises:
        Problem: 401: there is no session; 403: another page sent the form, or the scope is missing.
    """
    if not caller.csrf:
        raise unauthorized("log in with a token first")
    if not hmac.compare_digest(caller.csrf.encode(), csrf.encode()):
        raise ProblemError(
            403, "forbidden", "the form is not one of this session: load the page again"
        )
    return allowed(caller, scope)


def check_origin(request: Request) -> None:
    """Refuse a form that a page of another site sent; a client that is no browser says nothing.

    `Sec-Fetch-Site` is the browser's own word and decides where there is one: a proxy may have
    changed the host that the origin is compared with.

    Raises:
        Problem: 403: another site sent it.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        own = site.lower() in _OWN_SITES
    else:
        own = origin is None or _is_own(origin, request)
    if not own:
        raise ProblemError(
            403, "forbidden", "a page of another site sent the form: load the page here"
        )


def _is_own(origin: str, request: Request) -> bool:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    schemes = {"https"} if is_secure(request) else {"http", "https"}
    if parts.scheme not in schemes or parts.hostname is None:
        return False
    host = request.headers.get("host", "")
    usual = 443 if parts.scheme == "https" else 80
    return (parts.hostname, port or usual) == (host_of(host).lower(), _port(host) or usual)


def _port(request_host: str) -> int | None:
    return urlsplit(f"//{request_host}").port if host_of(request_host) else None


def allowed(caller: Caller, scope: str) -> Caller:
    """Return *caller* if they may *scope*.

    Raises:
        Problem: 401: without a token; 403: the token's scopes are too few.
    """
    if caller.may(scope):
        return caller
    if not caller.token_id:
        raise unauthorized(f"this needs a token with the scope '{scope}'")
    detail = f"this needs the scope '{scope}'; the token '{caller.name}' has not got it"
    raise ProblemError(403, "forbidden", detail)


def unauthorized(detail: str) -> ProblemError:
    """Return the answer to who has no valid token."""
    how = "`earmark token create` makes one; send it as 'Authorization: Bearer emk_…'"
    return ProblemError(401, "unauthorized", f"{detail}: {how}", headers=_CHALLENGE)


def is_local(request: Request) -> bool:
    """Return whether somebody on this machine asks, and not for somebody else."""
    own_name = is_loopback(host_of(request.headers.get("host", "")))
    return own_name and not _was_passed_on(request)


def cookie_name(request: Request) -> str:
    """Return what the session's cookie is called: where TLS is, one that only TLS can set."""
    return f"{_HOST_PREFIX}{_COOKIE}" if is_secure(request) else _COOKIE


def is_secure(request: Request) -> bool:
    """Return whether the browser speaks TLS, to us or to a proxy that says so.

    Only what makes the answer stricter may hang on it: anybody can send these headers.
    """
    forwarded_proto = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    forwarded = request.headers.get("forwarded", "").lower().replace('"', "")
    return (
        request.scope.get("scheme") == "https"
        or forwarded_proto == "https"
        or "proto=https" in forwarded
    )


def _was_passed_on(request: Request) -> bool:
    if request.scope.get("http_version") == _OF_PROXIES:
        return True
    names = request.headers.keys()
    return any(name in _FORWARDED or name.startswith(_FORWARDED_PREFIX) for name in names)


def _reading(scopes: tuple[str, ...]) -> tuple[str, ...]:
    return scopes[:1]


def _caller(row: TokenRow, csrf: str = "") -> Caller:
    return Caller(token_id=row.id, name=row.name, scopes=row.scopes, csrf=csrf)


# For routes of the API: who asks was found out before the body was read ---------------------------

_bearer = HTTPBearer(
    bearerFormat="emk_…",
    scheme_name="token",
    description="A token of `earmark token create`, with a scope: read, spend or admin.",
    auto_error=False,
)


class RequiresScope:
    """A dependency: the caller, who may *scope*."""

    def __init__(self, scope: str) -> None:
        assert scope in SCOPES, scope
        self.scope = scope

    async def __call__(
        self,
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Caller:
        """Return the caller; raises `ProblemError` where they may not."""
        return allowed(request.state.caller, self.scope)


ReadCaller = Annotated[Caller, Depends(RequiresScope("read"))]
SpendCaller = Annotated[Caller, Depends(RequiresScope("spend"))]
AdminCaller = Annotated[Caller, Depends(RequiresScope("admin"))]
