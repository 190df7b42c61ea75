"""What an exception of an HTTP client says of a call: that it was not sent, or what was answered.

Types are known by their names, so that no client is imported. What no list has may have been sent;
so may a call that shows an attempt before it: a retry of its client, a redirect, or an exception
that was being handled when it was made.

What a client hides cannot be seen: turn its retries and redirects off.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

#: No address, no connection, no TLS, no tunnel through a proxy: nothing of the request was sent.
#: Sources, read 2026-11-30: httpx 0.28 and httpx2 2.16, "Exceptions", and where httpcore raises
#: them; aiohttp 3.14, "Hierarchy of exceptions", and where its `connector.py` raises them. A
#: `LocalProtocolError` is not among them: a body of parts can be found wrong after all that its
#: reader needs was sent. Nor is an error of `requests` or urllib3: they follow redirects and repeat
#: by default, and the last attempt's error shows none of those before it.
_NO_CONNECTION: Final = frozenset(
    f"{client}.{name}"
    for client in ("httpx", "httpx2")
    for name in (
        *("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"),
        *("UnsupportedProtocol", "InvalidURL"),
    )
) | frozenset(
    # Its base of every error of connecting, and of doing so in time.
    f"aiohttp.client_exceptions.{name}"
    for name in ("ClientConnectorError", "ConnectionTimeoutError", "InvalidURL")
)
#: The same, of who calls a socket.
_NO_ADDRESS: Final = frozenset({"builtins.ConnectionRefusedError", "socket.gaierror"})
#: They say what the exception beneath them says.
_WRAPPERS: Final = frozenset({"openai.APIConnectionError", "anthropic.APIConnectionError"})
#: Beneath a client's own exception: why it could not connect.
_TRANSPORTS: Final = frozenset(
    f"{transport}.{name}"
    for transport in ("httpcore", "httpcore2")
    for name in ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
) | frozenset({"httpcore.UnsupportedProtocol", "httpcore2.UnsupportedProtocol"})
_TIMEOUT: Final = "builtins.TimeoutError"
_CANCELLED: Final = "asyncio.exceptions.CancelledError"
_REASONS: Final = _TRANSPORTS | frozenset(
    {
        _TIMEOUT,
        *("builtins.OSError", "builtins.ConnectionResetError", "builtins.ExceptionGroup"),
        *("ssl.SSLError", "ssl.SSLCertVerificationError", "ssl.SSLEOFError"),
        "ssl.SSLZeroReturnError",
    }
)
#: In a request of OpenAI's and Anthropic's clients: how often it was sent before.
_RETRIES: Final = "x-stainless-retry-count"
#: Exceptions beneath one another; more are no client's.
_DEEPEST: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What a provider answered, as an exception holds it."""

    status: int
    headers: object
    body: object
    is_first: bool
    """Whether nothing shows that the request was sent before."""


def kinds_of(error: BaseException) -> str:
    """Return the type of *error* and that of its cause: `APIConnectionError from ReadError`.

    Types alone: the text of a foreign exception may hold a prompt or a key.
    """
    kinds = [type(each).__name__ for each in (error, error.__cause__) if each is not None]
    return " from ".join(dict.fromkeys(kinds))


def no_connection(error: BaseException) -> bool:
    """Return whether *error*, of the one attempt there was, means that no connection was made."""
    return bool(_names(error) & _NO_CONNECTION)


def never_sent(error: BaseException, *, handled: BaseException | None = None) -> bool:
    """Return whether *error* is known to mean that its request was not sent, not even in part.

    Args:
        error: What a client raised.
        handled: What was being handled before the first attempt: it shows no attempt.
    """
    return _never_sent(error, handled, 0)


def http_answer(error: BaseException, *, handled: BaseException | None = None) -> HttpAnswer | None:
    """Return the HTTP answer that *error* holds, as the errors of SDKs do; `None` for no answer."""
    response = _member(error, "response")
    status = _member(response, "status_code")
    # Of a web framework's own errors, which have a status too, none has a response.
    if type(status) is not int or _member(error, "status_code") not in (status, None):
        return None
    # Of the whole body an SDK keeps what says the error.
    content = _member(response, "content")
    return HttpAnswer(
        status=status,
        headers=_member(response, "headers"),
        body=content if isinstance(content, bytes) and content else _member(error, "body"),
        is_first=_is_first(_member(response, "request"))
        and not _member(response, "history")
        and _only_answer(error, response, handled, 0),
    )


def _never_sent(error: BaseException, handled: BaseException | None, depth: int) -> bool:
    names, beneath, earlier = _names(error), error.__cause__, error.__context__
    if beneath is None and names & (_WRAPPERS | _NO_CONNECTION):
        beneath, earlier = (None, earlier) if earlier is handled else (earlier, None)
    if depth > _DEEPEST or not _is_first(_member(error, "request")):
        return False
    if not _shows_none(earlier, handled, beneath, depth):
        return False
    if names & _NO_CONNECTION:
        return beneath is None or _is_reason(beneath, handled, depth + 1)
    if not names & (_WRAPPERS | _NO_ADDRESS) or (beneath is None and names & _WRAPPERS):
        return False
    return beneath is None or (
        _same_address(error, beneath) and _never_sent(beneath, handled, depth + 1)
    )


def _is_reason(error: BaseException, handled: BaseException | None, depth: int) -> bool:
    """Return whether *error* says why no connection was made, beneath the one that says so."""
    if _never_sent(error, handled, depth):
        return True
    name, beneath, earlier = _name(type(error)), error.__cause__, error.__context__
    if depth > _DEEPEST or name not in _REASONS:
        return False
    if beneath is None and name in _TRANSPORTS and earlier is not handled:
        beneath, earlier = earlier, None
    elif name == _TIMEOUT and earlier is not None and _name(type(earlier)) == _CANCELLED:
        # A time-out of asyncio begins as a cancellation.
        earlier = earlier.__context__
    if not _shows_none(earlier, handled, beneath, depth):
        return False
    inner = [] if beneath is None else [beneath]
    if isinstance(error, BaseExceptionGroup):
        inner += cast("BaseExceptionGroup[BaseException]", error).exceptions
    return all(_is_reason(each, handled, depth + 1) for each in inner)


def _shows_none(
    earlier: BaseException | None,
    handled: BaseException | None,
    beneath: BaseException | None,
    depth: int,
) -> bool:
    """Return whether *earlier*, which was being handled, shows no attempt that was sent."""
    if earlier is None or earlier is handled or earlier is beneath:
        return True
    return _never_sent(earlier, handled, depth + 1)


def _only_answer(
    error: BaseException, response: object, handled: BaseException | None, depth: int
) -> bool:
    """Return whether what *error* was raised from is the same answer, or was never sent."""
    for each in (error.__cause__, error.__context__):
        if each is None or _shows_none(each, handled, None, depth):
            continue
        if depth > _DEEPEST or _member(each, "response") is not response:
            return False
        if not _only_answer(each, response, handled, depth + 1):
            return False
    return True


def _same_address(error: BaseException, beneath: BaseException) -> bool:
    """Return whether both are of one address: where they are not, a redirect was followed."""
    outer, inner = (_member(_member(each, "request"), "url") for each in (error, beneath))
    return outer is None or inner is None or str(outer) == str(inner)


def _is_first(request: object) -> bool:
    headers = _member(request, "headers")
    return _member(headers, "get") is None or headers.get(_RETRIES, "0") == "0"


def _member(holder: object, name: str) -> Any:  # noqa: ANN401 - any client's
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - such as httpx's `request` where there is none
        return None


def _names(error: BaseException) -> frozenset[str]:
    return frozenset(map(_name, type(error).__mro__))


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
