"""What an exception of an HTTP client says of a call: that it was not sent, or the HTTP response.

Types are compared by name, so that no client is imported. An exception that is not listed may
follow a sent request; so may one that shows an earlier attempt: a retry of its client, a redirect,
or an exception that was being handled when it was raised.

Retries and redirects that a client hides cannot be seen: turn them off.
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
_CAUSES: Final = _TRANSPORTS | frozenset(
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
class HttpResponse:
    """The HTTP response that an exception holds."""

    status: int
    headers: object
    body: object
    is_first: bool
    """Whether nothing shows that the request was sent before."""


def exception_types(error: BaseException) -> str:
    """Return the type of *error* and that of its cause: `APIConnectionError from ReadError`.

    Types alone: the text of a foreign exception may hold a prompt or a key.
    """
    kinds = [
        type(exception).__name__ for exception in (error, error.__cause__) if exception is not None
    ]
    return " from ".join(dict.fromkeys(kinds))


def no_connection(error: BaseException) -> bool:
    """Return whether *error*, of the one attempt there was, means that no connection was made."""
    return bool(_names(error) & _NO_CONNECTION)


def never_sent(error: BaseException, *, handled: BaseException | None = None) -> bool:
    """Return whether *error* is known to mean that its request was not sent, not even in part.

    Args:
        error: What a client raised.
        handled: The exception that was being handled before the first attempt: it is none.
    """
    return _never_sent(error, handled, 0)


def http_response(
    error: BaseException, *, handled: BaseException | None = None
) -> HttpResponse | None:
    """Return the HTTP response that *error* holds, as the errors of SDKs do; `None` for none."""
    response = _member(error, "response")
    status = _member(response, "status_code")
    # Of a web framework's own errors, which have a status too, none has a response.
    if type(status) is not int or _member(error, "status_code") not in (status, None):
        return None
    # Of the whole body an SDK keeps what says the error.
    content = _member(response, "content")
    return HttpResponse(
        status=status,
        headers=_member(response, "headers"),
        body=content if isinstance(content, bytes) and content else _member(error, "body"),
        is_first=_is_first(_member(response, "request"))
        and not _member(response, "history")
        and _is_only_response(error, response, handled, 0),
    )


def _never_sent(error: BaseException, handled: BaseException | None, depth: int) -> bool:
    names, cause, context = _names(error), error.__cause__, error.__context__
    if cause is None and names & (_WRAPPERS | _NO_CONNECTION):
        cause, context = (None, context) if context is handled else (context, None)
    if depth > _DEEPEST or not _is_first(_member(error, "request")):
        return False
    if not _shows_no_attempt(context, handled, cause, depth):
        return False
    if names & _NO_CONNECTION:
        return cause is None or _explains_no_connection(cause, handled, depth + 1)
    if not names & (_WRAPPERS | _NO_ADDRESS) or (cause is None and names & _WRAPPERS):
        return False
    return cause is None or (_same_address(error, cause) and _never_sent(cause, handled, depth + 1))


def _explains_no_connection(
    error: BaseException, handled: BaseException | None, depth: int
) -> bool:
    """Return whether *error* is a cause of a failed connection."""
    if _never_sent(error, handled, depth):
        return True
    name, cause, context = _name(type(error)), error.__cause__, error.__context__
    if depth > _DEEPEST or name not in _CAUSES:
        return False
    if cause is None and name in _TRANSPORTS and context is not handled:
        cause, context = context, None
    elif name == _TIMEOUT and context is not None and _name(type(context)) == _CANCELLED:
        # A time-out of asyncio begins as a cancellation.
        context = context.__context__
    if not _shows_no_attempt(context, handled, cause, depth):
        return False
    inner = [] if cause is None else [cause]
    if isinstance(error, BaseExceptionGroup):
        inner += cast("BaseExceptionGroup[BaseException]", error).exceptions
    return all(_explains_no_connection(exception, handled, depth + 1) for exception in inner)


def _shows_no_attempt(
    context: BaseException | None,
    handled: BaseException | None,
    cause: BaseException | None,
    depth: int,
) -> bool:
    """Return whether *context*, which was being handled, shows no attempt that was sent."""
    if context is None or context is handled or context is cause:
        return True
    return _never_sent(context, handled, depth + 1)


def _is_only_response(
    error: BaseException, response: object, handled: BaseException | None, depth: int
) -> bool:
    """Return whether the causes of *error* hold the same response, or were never sent."""
    for exception in (error.__cause__, error.__context__):
        if exception is None or _shows_no_attempt(exception, handled, None, depth):
            continue
        if depth > _DEEPEST or _member(exception, "response") is not response:
            return False
        if not _is_only_response(exception, response, handled, depth + 1):
            return False
    return True


def _same_address(error: BaseException, cause: BaseException) -> bool:
    """Return whether both have the same URL: where they differ, a redirect was followed."""
    outer, inner = (_member(_member(exception, "request"), "url") for exception in (error, cause))
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
