"""The failure of a provider call, and whether it was billed, by how it failed.

The rule: a call is *not billed* only where the providers describe such an answer as a rejection
before any work, or where the request never left this machine. Everything else is *unknown*, and
unknown counts as spent. Details name statuses and the provider's own error codes, not its message:
messages can repeat keys and prompts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from earmark.apis.client_errors import exception_types
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

_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SERVER_ERROR: Final = 500
_ADVICE: Final = {
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


def http_failure(response: Rejection) -> CallFailed:
    """Return the failure for an HTTP error status, with what is known of its cost.

    400 is not billed, unless its code says a filter read the input, or the host or the provider is
    Azure, whichever server stands before it. 503 is
    not billed where the API itself says it, in its own error form; a proxy's bare 503 can follow a
    request that was passed on, so it is unknown, as are 408, 500, 502, 504 and any other.
    """
    codes = _error_codes(response.body)
    wait = _retry_after(response.headers)
    short = wait is None or wait <= LONGEST_RETRY_AFTER_S
    detail = _detail(response, codes, wait if short else None)
    return CallFailed(
        detail=detail,
        note=detail,
        billed=_billed(response, codes),
        retryable=short and _retryable(response, codes),
        status=response.status,
        retry_after=wait if short else None,
    )


def connection_failure(provider: str, cause: BaseException, *, host: str = "") -> CallFailed:
    """Return the failure of a call that was never sent: no address, no connection, no TLS."""
    at = f" at {host}" if host else ""
    return CallFailed(
        detail=f"provider '{provider}' cannot be reached{at} ({type(cause).__name__})",
        billed="no",
        retryable=True,
    )


def exception_failure(provider: str, cause: BaseException) -> CallFailed:
    """Return the failure of a call that ended by *cause*, which may have been sent."""
    return _unknown(f"a call of provider '{provider}' raised {exception_types(cause)}")


def lost_reply_failure(provider: str, cause: BaseException, *, pieces: int = 0) -> CallFailed:
    """Return the failure of a call whose answer was lost after it was sent, wholly or in part."""
    after = f" after {pieces} pieces of the reply" if pieces else ""
    kind = type(cause).__name__
    return _unknown(f"the connection to provider '{provider}' was lost{after} ({kind})")


def malformed_reply_failure(provider: str, description: str) -> CallFailed:
    """Return the failure of a call whose answer is not what its API promises."""
    return _unknown(f"provider '{provider}' sent {description}")


def aborted_reply_failure(provider: str, codes: str) -> CallFailed:
    """Return the failure of a call that the provider itself gave up while answering."""
    stated = f" ({codes})" if codes else ""
    return _unknown(f"provider '{provider}' broke off its reply with an error{stated}")


def error_codes(body: object) -> str:
    """Return the codes of an API's error object, such as `rate_limit_error`; empty without one."""
    return ", ".join(_error_codes(body))


def _unknown(detail: str) -> CallFailed:
    return CallFailed(detail=detail, note=detail, billed="unknown", retryable=True)


def _billed(response: Rejection, codes: tuple[str, ...]) -> Literal["no", "unknown"]:
    match response.status:
        case 400:
            at_azure = response.provider == "azure" or is_azure(response.host)
            return "unknown" if at_azure or not _FILTERED.isdisjoint(codes) else "no"
        case 503:
            return "no" if codes else "unknown"
        case status:
            return "no" if status in _REJECTED else "unknown"


def _retryable(response: Rejection, codes: tuple[str, ...]) -> bool:
    stated = response.headers.get("x-should-retry")
    if stated in {"true", "false"}:
        return stated == "true"
    if not _LASTING.isdisjoint(codes):
        return False
    return response.status in _TRANSIENT or response.status >= _SERVER_ERROR


def _detail(response: Rejection, codes: tuple[str, ...], wait: float | None) -> str:
    stated = f" ({', '.join(codes)})" if codes else ""
    text = f"provider '{response.provider}' answered HTTP {response.status}{stated}"
    advice = _ADVICE.get(response.status, "").format(response.provider)
    if wait is not None:
        advice = f"it asks to wait {wait:g} s"
    return f"{text}: {advice}" if advice else text


def _error_codes(body: object) -> tuple[str, ...]:
    """Return an error object's `type` and codes, in any API's form, if they look like codes."""
    error = mapping(body).get("error", body)
    details = mapping(mapping(error).get("details"))
    # Google's `code` is the status again, its `status` the word.
    names = ("type", "code", "status")
    found = [*(mapping(error).get(name) for name in names), details.get("error_code")]
    codes = [code for code in found if isinstance(code, str) and _CODE.fullmatch(code)]
    return tuple(dict.fromkeys(codes))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
