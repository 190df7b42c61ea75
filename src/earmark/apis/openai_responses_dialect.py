"""How the Responses API is asked and answered, at OpenAI, Azure and compatible servers.

Source: OpenAI API reference, "Create a model response" and "The response object", 2026-11.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from earmark.apis.dialect import Dialect, Prompt, ReplyOutput, nonempty_text
from earmark.apis.openai_chat_dialect import OPENAI_URL
from earmark.pricing.json_values import items, mapping

#: How a response ends that was not broken off; the others are `failed`, `cancelled`, and states of
#: one that is not finished.
_ENDED: Final = frozenset({"completed", "incomplete"})


def _write_request(prompt: Prompt) -> dict[str, Any]:
    body = {**prompt.options, "model": prompt.model, "input": list(prompt.messages)}
    if prompt.stream:
        body["stream"] = True
    return body


def _read_reply(body: Mapping[str, Any]) -> ReplyOutput:
    output = [mapping(item) for item in items(body.get("output"))]
    status = nonempty_text(body.get("status"))
    return ReplyOutput(
        value=_value(output),
        finish=nonempty_text(mapping(body.get("incomplete_details")).get("reason")) or status,
        written=int(bool(output)),
        fault=_fault(body, status),
    )


def _fault(body: Mapping[str, Any], status: str | None) -> str:
    if status is None or "output" not in body:
        return "a body that is no response"
    return "" if status in _ENDED else "a response that is not complete"


def _value(output: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - text, or items as sent
    """Return the text, if there is nothing else but reasoning, else the items as they were sent."""
    kept = [item for item in output if item.get("type") != "reasoning"]
    if any(item.get("type") != "message" for item in kept):
        return [dict(item) for item in output]
    parts = [mapping(part) for item in kept for part in items(item.get("content"))]
    if any(part.get("type") != "output_text" for part in parts):
        return [dict(item) for item in output]
    return "".join(nonempty_text(part.get("text")) or "" for part in parts)


DIALECT: Final = Dialect(
    maker="openai",
    base_url=OPENAI_URL,
    path="/responses",
    key_header="authorization",
    key_prefix="Bearer ",
    azure_key_header="api-key",
    reserved_fields=frozenset(
        {"model", "input", "stream", "stream_options", "max_output_tokens", "background"}
    ),
    write=_write_request,
    read=_read_reply,
)
