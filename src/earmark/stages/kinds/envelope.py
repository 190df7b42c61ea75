"""The JSON envelope in which another program answers: its output, and what it cost.

    {"ok": true, "data": {"output": …, "spent_usd": "0.0123"}}
    {"ok": false, "error": "what went wrong" | {"code": …, "message": …}, "data": {"spent_usd": …}}

`spent_cents`, a whole number, is read where there is no `spent_usd`. Both may also stand beside
`data`. Source: the Noether composition format's remote stages, version 0.8.2, read 2026-11-22;
`spent_usd` is our addition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from earmark.errors import InvalidAmount
from earmark.money import Money
from earmark.stages.kinds.jsontext import Json, read_json, write_json
from earmark.stages.kinds.kind import tail

_NANOS_PER_CENT = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReply:
    """What another program answered; *problem* is empty when it succeeded."""

    output: Json
    spent: Money | None
    """What it says it cost; `None` where it says nothing that can be read."""
    problem: str
    note: str = ""


def read_answer(text: bytes) -> StageReply:
    """Return the answer in *text*; what is no envelope is a problem, never an exception."""
    try:
        body = read_json(text)
    except ValueError as error:
        return StageReply(output=None, spent=None, problem=f"the answer is not JSON: {error}")
    if not isinstance(body, dict):
        return StageReply(output=None, spent=None, problem="the answer is not a JSON object")
    envelope = cast("dict[str, Any]", body)
    inner = envelope.get("data")
    data = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
    spent, note = _spent({**envelope, **data})
    return StageReply(
        output=data.get("output"), spent=spent, problem=_problem(envelope, data), note=note
    )


def _problem(envelope: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    if envelope.get("ok") is False:
        return _reason(envelope.get("error"))
    return "" if "output" in data else "the answer has no data.output"


def _reason(error: Json) -> str:
    match error:
        case str() if error:
            return tail(error)
        case {"message": str(message), "code": str(code)}:
            return tail(f"{code}: {message}")
        case {"message": str(message)}:
            return tail(message)
        case None | "":
            return "it reported a failure and gave no reason"
        case _:
            return tail(write_json(error))


def _spent(fields: Mapping[str, Any]) -> tuple[Money | None, str]:
    if "spent_usd" in fields:
        return _usd(fields["spent_usd"])
    match fields.get("spent_cents"):
        case None:
            return None, ""
        case bool():
            return None, "spent_cents is no whole number"
        case int(cents) if 0 <= cents <= 10**11:
            return Money.nanos(cents * _NANOS_PER_CENT), ""
        case _:
            return None, "spent_cents is no whole number"


def _usd(amount: Json) -> tuple[Money | None, str]:
    try:
        return Money(amount), ""
    except InvalidAmount:
        return None, "spent_usd is no decimal string"
