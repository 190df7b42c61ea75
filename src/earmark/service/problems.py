"""Errors as HTTP answers: RFC 9457 problem documents, from the one table of outcomes.

A refusal's numbers are members of the document. `x-should-retry` is what the providers' SDKs heed:
a budget that is spent is 402 and final, one that is only held by what is in flight is 429 and soon
worth another try. What the store complains of stays in the log: it may name hosts and files.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from earmark.errors import (
    OUTCOMES,
    BudgetExceeded,
    EarmarkError,
    NoBudget,
    StoreError,
    StoreUnavailable,
)
from earmark.workspace.jsonable import to_jsonable_utf8

MEDIA_TYPE: Final = "application/problem+json"
#: Seconds after which what was held may have come back.
HELD_RETRY_S: Final = 2
#: Seconds after which a store that was away may have come back.
STORE_RETRY_S: Final = 1

_LOG: Final = logging.getLogger("earmark.service")
#: What a problem is called: each code has a title of its own, which no other has.
TITLES: Final[Mapping[str, str]] = {
    # Of the table of outcomes:
    "error": "Internal error",
    "input_error": "Bad request",
    "invalid_amount": "Not an amount",
    "float_amount": "An amount as a binary fraction",
    "invalid_duration": "Not a duration or a moment",
    "invalid_limit": "Not a limit",
    "invalid_path": "Not a budget path",
    "invalid_key": "Not a key or a name",
    "invalid_usage": "Usage that cannot be read",
    "invalid_composition": "Not a composition",
    "invalid_stage": "Not a stage",
    "invalid_config": "Configuration that cannot be used",
    "invalid_file": "A file that cannot be used",
    "invalid_patch": "Not a patch",
    "invalid_nudge": "Not a nudge",
    "invalid_task": "Not a task",
    "refusal": "Refused",
    "budget_exceeded": "Refused by a budget",
    "no_budget": "No limit on the path",
    "key_reused": "Key used before",
    "run_id_reused": "Run id used before",
    "too_many_repeats": "Too many repeated attempts",
    "config_not_allowed": "Configuration not allowed yet",
    "reservation_closed": "Reservation closed",
    "check_failed": "Composition refused before it runs",
    "version_conflict": "Another version by now",
    "task_moved": "Task moved on",
    "task_refused": "Not possible in the task's state",
    "token_refused": "Not possible in the token's state",
    "agent_busy": "Agent name in use",
    "not_found": "Not found",
    "call_failed": "A call failed",
    "stage_failed": "A stage failed",
    "store_error": "Store error",
    "store_unavailable": "The store does not answer",
    "clock_stepped": "The clock was set while the program ran",
    "store_closed": "The store is closed",
    "store_corrupt": "The store is damaged",
    "schema_mismatch": "The store has another schema",
    "unknown_field": "A newer program's field",
    "unknown_unit": "A newer program's unit",
    # Of the service itself:
    "unauthorized": "Token needed",
    "forbidden": "Not allowed",
    "repeated_header": "A header with two values",
    "unknown_parameter": "Unknown query parameter",
    "in_progress": "Still being answered",
    "too_many": "Too many listeners",
    "wrong_host": "Wrong host",
    "too_large": "Too large",
    "too_slow": "Too slow",
    "method_not_allowed": "Method not allowed",
    "unsupported_media_type": "Unknown media type",
}
#: The codes of what the framework refuses, by status.
_CODES: Final[Mapping[int, str]] = {
    400: "input_error",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "unsupported_media_type",
}
_RETRY: Final = {"x-should-retry": "true"}
_FINAL: Final = {"x-should-retry": "false"}
#: How many faults of one request are told.
_MOST_FAULTS: Final = 20
_LONGEST_FAULT: Final = 200


class ProblemError(Exception):
    """What the service itself says no to: no token, a wrong host, a key in use."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})

    def answer(self, more: Mapping[str, Any] | None = None) -> Response:
        """Return it as an HTTP answer, with the members *more*."""
        return problem(self.status, self.code, self.detail, more=more, headers=self.headers)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    more: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem document; *more* are its further members."""
    document = {
        **to_jsonable_utf8(more or {}),
        "type": f"urn:earmark:problem:{code}",
        "title": TITLES.get(code, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
    }
    body = json.dumps(document, allow_nan=False)
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def answer_to(error: EarmarkError) -> Response:
    """Return the HTTP answer that says *error* with its facts."""
    if isinstance(error, StoreError):
        return _store_problem(error)
    headers: Mapping[str, str] = {}
    status = OUTCOMES[error.code].http_status
    if isinstance(error, BudgetExceeded) and error.retryable:
        status, headers = 429, {**_RETRY, "Retry-After": str(HELD_RETRY_S)}
    elif isinstance(error, BudgetExceeded | NoBudget):
        headers = _FINAL
    return problem(status, error.code, str(error), more=error.facts(), headers=headers)


def install_problems(app: FastAPI) -> None:
    """Answer every error of *app* by a problem document."""
    app.add_exception_handler(EarmarkError, _earmark_error)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


def _store_problem(error: StoreError) -> Response:
    _LOG.warning("store: %s", error)
    detail = "the books cannot be read or written now; ask again with the same key"
    headers = {**_RETRY, "Retry-After": str(STORE_RETRY_S)}
    if not isinstance(error, StoreUnavailable):
        detail, headers = "the books cannot be used: the service's log says why", {**_FINAL}
    return problem(503, error.code, detail, headers=headers)


async def _earmark_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, EarmarkError), "registered for it"
    if isinstance(error, BudgetExceeded):
        request.app.state.service.refusals[str(error.reason)] += 1
    return answer_to(error)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError), "registered for it"
    return error.answer()


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for it"
    faults = [_fault(each) for each in error.errors()[:_MOST_FAULTS]]
    detail = "; ".join(f"{each['place']}: {each['detail']}" for each in faults)
    return problem(400, "input_error", detail, more={"errors": faults})


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    # Without the value itself: what was sent by mistake may be a secret.
    pointer = "/" + "/".join(str(part) for part in error["loc"])
    detail = str(error["msg"]).removeprefix("Value error, ")
    return {"place": pointer[:_LONGEST_FAULT], "detail": detail[:_LONGEST_FAULT]}


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for it"
    code = _CODES.get(error.status_code, "error")
    return problem(error.status_code, code, str(error.detail), headers=error.headers)


async def _gone(_: Request, _error: Exception) -> Response:
    # Nobody is there to read it; the edge has logged it, and a traceback would say nothing more.
    return Response(status_code=400)


async def _unexpected(_: Request, error: Exception) -> Response:
    # The server logs it with its traceback; nothing of it leaves by HTTP.
    _LOG.error("unexpected %s", type(error).__name__)
    return problem(500, "error", "an error that nobody foresaw; the service's log has it")
