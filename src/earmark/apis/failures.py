"""What a failed provider call may have cost, read from how it failed.

The rule: a call is *not billed* only where the providers describe such an answer as a rejection
before any work, or where the request never left this machine. Everything else is *unknown*, and
unknown counts as spent. Details name statuses and the provider's own error codes, not its message:
messages can repeat keys and prompts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from earmark.apis.client_errors import kinds_of
from earmark.apis.hosts import is_azure
from earmark.errors import CallFailed
from earmark.pricing.json_values import mapping

#: Rejected before any work. Sources, read 2026-11-22:
#: - Claude API errors (platform.claude.com/docs/en/api/errors) describes 401 key, 402 billing, 403
#:   permission, 404 not found, 409 conflict, 413 too large, 429 rate limit and 529 overloaded as
#:   rejections of the request.
#: - Microsoft Foundry, manage costs, "HTTP error response code and billing status": no charge where
#:   no processing is done, for example a 401 or a 429; a charge where it is, for example a 400 due
#:   to a content filter or input limit, or a 408.
#: - OpenAI error codes (developers.openai.com/api/docs/guides/error-codes) explains 401, 403, 404,
#:   422 and 429 as faults of the request, key or rate; it says nothing of billing.
#: - RFC 9110 §15.5.6: 405 refuses the method, whatever the content.
_REJECTED: Final = frozenset({401, 402, 403, 404, 405, 409, 413, 422, 429, 529})
#: With all from 500 up, what `_should_retry` of openai 3.54 and anthropic 2.12 tries again.
_TRANSIENT: Final = frozenset({408, 409, 429})
#: Error codes that stay until somebody acts, though their status is 429.
#: Sources: OpenAI error codes ("You exceeded your current quota"); Claude API rate limits.
_LASTING: Final = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "enforced_spend_limit_reached"}
)
#: A 400 after the input was read, billed by Microsoft Foundry (above); others resell its models.
_FILTERED: Final = frozenset({"content_filter", "content_policy_violation"})
#: Longer waits than this are not passed on, and such a call is not called retryable.
LONGEST_RETRY_AFTER_S: Final = 60.0

_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SERVER_ERROR: Final = 500
_HINTS: Final = {
    401: "check the API key of provider '{0}'",
    402: "the account has no credit left",
    403: "the key may not use this model",
    404: "check the model's name and the base URL of provider '{0}'",
    413: "the request is too large",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """An HTTP error a provider answered with."""

    provider: str
    host: str
    """The name of the host that answered; its case and a port do not matter."""
    status: int
    headers: Mapping[str, str]
    body: object
    """The decoded JSON body, or its text where it is no JSON."""


def rejected(by: Rejection) -> CallFailed:
    """Return the failure for an HTTP error status, with what is known of its cost.

    400 is not billed, unless its code says a filter read the input, or the host or the provider is
    Azure, whichever server stands before it. 503 is
    not billed where the API itself says it, in its own error form; a proxy's bare 503 can follow a
    request that was passed on, so it is unknown, as are 408, 500, 502, 504 and any other.
    """
    words = _words(by.body)
    wait = _retry_after(by.headers)
    short = wait is None or wait <= LONGEST_RETRY_AFTER_S
    detail = _detail(by, words, wait if short else None)
    return CallFailed(
        detail=detail,
        note=detail,
        billed=_billed(by, words),
        retryable=short and _retryable(by, words),
        status=by.status,
        retry_after=wait if short else None,
    )


def unreachable(provider: str, cause: BaseException, *, host: str = "") -> CallFailed:
    """Return the failure of a call that was never sent: no address, no connection, no TLS."""
    at = f" at {host}" if host else ""
    return CallFailed(
        detail=f"provider '{provider}' cannot be reached{at} ({type(cause).__name__})",
        billed="no",
        retryable=True,
    )


def raised(provider: str, cause: BaseException) -> CallFailed:
    """Return the failure of a call that ended by *cause*, which may have been sent."""
    return _unknown(f"a call of provider '{provider}' raised {kinds_of(cause)}")


def lost(provider: str, cause: BaseException, *, pieces: int = 0) -> CallFailed:
    """Return the failure of a call whose answer was lost after it was sent, wholly or in part."""
    after = f" after {pieces} pieces of the reply" if pieces else ""
    kind = type(cause).__name__
    return _unknown(f"the connection to provider '{provider}' was lost{after} ({kind})")


def garbled(provider: str, what: str) -> CallFailed:
    """Return the failure of a call whose answer is not what its API promises."""
    return _unknown(f"provider '{provider}' sent {what}")


def broken_off(provider: str, words: str) -> CallFailed:
    """Return the failure of a call that the provider itself gave up while answering."""
    said = f" ({words})" if words else ""
    return _unknown(f"provider '{provider}' broke off its reply with an error{said}")


def error_words(body: object) -> str:
    """Return the codes of an API's error object, such as `rate_limit_error`; empty without one."""
    return ", ".join(_words(body))


def _unknown(detail: str) -> CallFailed:
    return CallFailed(detail=detail, note=detail, billed="unknown", retryable=True)


def _billed(by: Rejection, words: tuple[str, ...]) -> Literal["no", "unknown"]:
    match by.status:
        case 400:
            at_azure = by.provider == "azure" or is_azure(by.host)
            return "unknown" if at_azure or not _FILTERED.isdisjoint(words) else "no"
        case 503:
            return "no" if words else "unknown"
        case status:
            return "no" if status in _REJECTED else "unknown"


def _retryable(by: Rejection, words: tuple[str, ...]) -> bool:
    said = by.headers.get("x-should-retry")
    if said in {"true", "false"}:
        return said == "true"
    if not _LASTING.isdisjoint(words):
        return False
    return by.status in _TRANSIENT or by.status >= _SERVER_ERROR


def _detail(by: Rejection, words: tuple[str, ...], wait: float | None) -> str:
    said = f" ({', '.join(words)})" if words else ""
    text = f"provider '{by.provider}' answered HTTP {by.status}{said}"
    hint = _HINTS.get(by.status, "").format(by.provider)
    if wait is not None:
        hint = f"it asks to wait {wait:g} s"
    return f"{text}: {hint}" if hint else text


def _words(body: object) -> tuple[str, ...]:
    """Collect an error object's `type` and codes, in any API's form, if they are plain words."""
    error = mapping(body).get("error", body)
    details = mapping(mapping(error).get("details"))
    # Google's `code` is the status again, its `status` the word.
    names = ("type", "code", "status")
    found = [*(mapping(error).get(name) for name in names), details.get("error_code")]
    words = [word for word in found if isinstance(word, str) and _WORD.fullmatch(word)]
    return tuple(dict.fromkeys(words))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
