"""A refusal in the shape of each API, so that its clients stop, wait or ask again as they should.

Which status ends a client's retries was measured with real clients (2026-11): the SDKs of OpenAI,
Anthropic and Google, LangChain, Claude Code, Codex, aider, `llm`. No one form stops all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from earmark.errors import (
    BudgetExceeded,
    CallFailed,
    EarmarkError,
    NoBudget,
    Reason,
    StoreError,
    StoreUnavailable,
)
from earmark.errors.outcomes import OUTCOMES

#: What is held comes back soon, as calls end: seconds, never many. A long `Retry-After` makes
#: Anthropic's SDKs and Codex sleep for as long as it says.
RETRY_AFTER_S: Final = 2
#: aider takes a 402 for lasting only where the message says so in OpenRouter's words.
_LASTING: Final = ' (insufficient credits, "code":402)'
_LONGEST_MESSAGE: Final = 1000
#: Numbers of a refusal that go out beside its sentence.
_NUMBERS: Final = (
    "reason",
    "budget",
    "unit",
    "window",
    "limit",
    "settled",
    "held",
    "available",
    "requested",
    "resets_at",
)


@dataclass(frozen=True, slots=True)
class RefusalResponse:
    """An HTTP answer to a request that was not sent on."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: Mapping[str, Any]
    """The API's own error object as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _RefusalCase:
    """The content of a refusal, before it is written in an API's form."""

    status: int
    retry: bool
    message: str
    code: str
    """`budget_exceeded`, `unpriced`, `no_budget` … the same in every API."""
    types: tuple[str, str, str]
    """The error's type at OpenAI, its type at Anthropic, its status at Google."""
    numbers: Mapping[str, Any] = field(default_factory=dict[str, Any])


_BILLING: Final = ("insufficient_quota", "billing_error", "FAILED_PRECONDITION")
_HELD: Final = ("rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED")
_INVALID: Final = ("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT")
#: Sources: OpenAI API, "Error codes"; Claude API, "Errors"; Google's `google.rpc.Code`; 2026-11.
_ERROR_TYPES: Final = {
    401: ("invalid_request_error", "authentication_error", "UNAUTHENTICATED"),
    403: ("invalid_request_error", "permission_error", "PERMISSION_DENIED"),
    404: ("invalid_request_error", "not_found_error", "NOT_FOUND"),
    409: ("invalid_request_error", "invalid_request_error", "ABORTED"),
    413: ("invalid_request_error", "request_too_large", "INVALID_ARGUMENT"),
}
_SERVER: Final = ("server_error", "api_error", "UNAVAILABLE")


def refusal(
    api: str, error: Exception, client: str = "", *, status: int | None = None
) -> RefusalResponse:
    """Return the answer of *api* that says *error*, in its own sentence.

    A sentence names parts of the request by their places and may repeat the first 60 characters of
    a value that is refused. The store's address stays here.

    - A budget that is spent, paused, too small or not there: 402, not to be retried. Codex retries
      a 402 and stops, showing the message, at a 429 of type `usage_limit_reached`.
    - Held by what is in flight: 429 with a `Retry-After` of two seconds, to be retried.
    - A request whose cost is unknown (`unpriced`), or that is none: 400, because the request has to
      change; the message names the place and what to give. Claude Code retries a 400 six times
      and a 402 not at all: it gets 402.
    - LiteLLM, and aider over it, takes a 402 of the Messages API and of Gemini's for a broken
      connection and asks again, nine times in all: it gets 400 and 403 (LiteLLM 1.81, aider 0.86).
    - The store cannot be reached: 503, to be retried; its address stays here.

    Args:
        api: `openai`, `openai-responses`, `openai-embeddings`, `anthropic` or `gemini`; any other
            is answered as `openai`.
        error: What was raised instead of sending the request.
        client: The client's `originator` or `User-Agent` header.
        status: The status of what a budget refuses for good, in place of that which stops the
            client; the form is then that of the API alone.
    """
    case = _case(error)
    if status is not None and case.types is _BILLING:
        return _in_form_of(api, replace(case, status=status))
    name = client.lower()
    if api == "openai-responses" and name.startswith("codex") and case.status == 402:  # noqa: PLR2004
        return _codex(case)
    if api == "anthropic":
        if case.code == "unpriced" and name.startswith("claude-"):
            case = _billing(case.message, case.code, case.numbers)
        elif case.types is _BILLING and name.startswith("litellm"):
            case = replace(case, status=400)
    elif api == "gemini" and case.types is _BILLING and name.startswith("litellm/"):
        case = replace(case, status=403)
    return _in_form_of(api, case)


def error_response(api: str, status: int, code: str, message: str) -> RefusalResponse:
    """Return the answer of *api* to a request that is none to be sent on; not to be retried.

    Args:
        api: As of `refusal`.
        status: An HTTP status from 400 to 499.
        code: One word for programs.
        message: One sentence for people.
    """
    types = _ERROR_TYPES.get(status, _INVALID)
    case = _RefusalCase(status=status, retry=False, message=message, code=code, types=types)
    return _in_form_of(api, case)


def _in_form_of(api: str, case: _RefusalCase) -> RefusalResponse:
    if api == "anthropic":
        return _response(case, _anthropic(case))
    return _response(case, _gemini(case) if api == "gemini" else _openai(case))


def _case(error: Exception) -> _RefusalCase:
    match error:
        case BudgetExceeded():
            return _budget_exceeded(error)
        case NoBudget():
            return _billing(_one_line(error), error.code, {"budget": error.budget})
        case StoreError():
            # Its own words name the store's address.
            retry = isinstance(error, StoreUnavailable)
            advice = "try again" if retry else "see the log of the service"
            message = f"the store of the budgets cannot be used now, nothing was sent: {advice}"
            return _server(message, error.code, retry=retry)
        case CallFailed():
            return _server(_one_line(error), error.code, retry=error.retryable, status=502)
        case EarmarkError():
            status = OUTCOMES[error.code].http_status
            return _invalid(_one_line(error), error.code, {}, status=status)
        case _:
            return _server(
                "the request failed before it was sent", "error", retry=False, status=500
            )


def _budget_exceeded(error: BudgetExceeded) -> _RefusalCase:
    message, numbers = _one_line(error), _numbers(error)
    if error.reason is Reason.UNPRICED:
        return _invalid(message, "unpriced", numbers)
    if error.retryable:
        return _RefusalCase(
            status=429, retry=True, message=message, code=error.code, types=_HELD, numbers=numbers
        )
    return _billing(message, error.code, numbers)


def _billing(message: str, code: str, numbers: Mapping[str, Any]) -> _RefusalCase:
    return _RefusalCase(
        status=402, retry=False, message=message, code=code, types=_BILLING, numbers=numbers
    )


def _invalid(
    message: str, code: str, numbers: Mapping[str, Any], *, status: int = 400
) -> _RefusalCase:
    return _RefusalCase(
        status=status, retry=False, message=message, code=code, types=_INVALID, numbers=numbers
    )


def _server(message: str, code: str, *, retry: bool, status: int = 503) -> _RefusalCase:
    return _RefusalCase(status=status, retry=retry, message=message, code=code, types=_SERVER)


def _response(case: _RefusalCase, body: Mapping[str, Any]) -> RefusalResponse:
    headers = {
        "content-type": "application/json",
        "x-should-retry": "true" if case.retry else "false",
    }
    if case.retry:
        headers["retry-after"] = str(RETRY_AFTER_S)
    return RefusalResponse(case.status, headers, body)


def _openai(case: _RefusalCase) -> Mapping[str, Any]:
    """Source: OpenAI API reference, "Error codes", and the SDK's `ErrorObject`, 2026-11."""
    lasting = case.types is _BILLING
    error: dict[str, Any] = {
        "message": case.message + (_LASTING if lasting else ""),
        "type": case.types[0],
        "param": None,
        "code": case.code,
    }
    return {"error": {**error, "metadata": case.numbers} if case.numbers else error}


def _anthropic(case: _RefusalCase) -> Mapping[str, Any]:
    """Source: Claude API, "Errors", and the SDK's error types, 2026-11."""
    details = {"error_code": case.code, **case.numbers}
    return {
        "type": "error",
        "error": {"type": case.types[1], "message": case.message, "details": details},
    }


def _gemini(case: _RefusalCase) -> Mapping[str, Any]:
    """Source: Google Cloud API design guide, "Errors" and `google.rpc.ErrorInfo`, 2026-11."""
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": case.code.upper(),
        "domain": "earmark",
        "metadata": {name: str(value) for name, value in case.numbers.items()},
    }
    message = case.message + (_LASTING if case.types is _BILLING else "")
    return {
        "error": {
            "code": case.status,
            "message": message,
            "status": case.types[2],
            "details": [info],
        }
    }


def _codex(case: _RefusalCase) -> RefusalResponse:
    """Return the form that Codex 0.171 stops at and prints, measured 2026-11."""
    error: dict[str, Any] = {
        "type": "usage_limit_reached",
        "message": case.message,
        "code": case.code,
    }
    resets_at = case.numbers.get("resets_at")
    if resets_at:
        error["resets_at"] = int(datetime.fromisoformat(resets_at).timestamp())
    header = case.message.encode("ascii", "replace").decode()
    headers = {
        "content-type": "application/json",
        "x-should-retry": "false",
        "x-codex-promo-message": header,
    }
    return RefusalResponse(429, headers, {"error": error})


def _one_line(error: Exception) -> str:
    """Return the error's sentence on one line."""
    return " ".join(str(error).split())[:_LONGEST_MESSAGE]


def _numbers(error: BudgetExceeded) -> dict[str, Any]:
    """Return the numbers of a refusal: amounts as decimal strings, counts as they are."""
    found: dict[str, Any] = {"retryable": error.retryable}
    for name in _NUMBERS:
        value = getattr(error, name)
        if isinstance(value, datetime):
            found[name] = value.isoformat()
        elif value is not None and value != "":
            found[name] = value if isinstance(value, int) else str(value)
    return found
