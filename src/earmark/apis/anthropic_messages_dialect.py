"""How the Messages API is asked and answered, at Anthropic, Azure and every compatible server.

Source: Claude API, "API overview" (the headers `x-api-key` and `anthropic-version`) and "Create a
message", 2026-11.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from earmark.apis.dialect import Dialect, Prompt, ReplyOutput, nonempty_text
from earmark.pricing.json_values import items, mapping

#: What a block holds that a model wrote.
_WRITTEN: Final = ("text", "thinking", "input")
#: Blocks that are not part of the reply's text and say nothing else.
_TEXT_AND_THINKING: Final = frozenset({"text", "thinking", "redacted_thinking"})


def _write_request(prompt: Prompt) -> dict[str, Any]:
    system = [message for message in prompt.messages if message.get("role") == "system"]
    body: dict[str, Any] = {
        **prompt.options,
        "model": prompt.model,
        "messages": [message for message in prompt.messages if message.get("role") != "system"],
    }
    if system:
        body["system"] = _system([message.get("content") for message in system])
    if prompt.stream:
        body["stream"] = True
    return body


def _system(contents: Sequence[object]) -> str | list[Any]:
    """Return the system prompt: in this API a parameter of its own, not a message."""
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(str(content) for content in contents)
    blocks: list[Any] = []
    for content in contents:
        blocks += items(content) or [{"type": "text", "text": content}]
    return blocks


def _read_reply(body: Mapping[str, Any]) -> ReplyOutput:
    blocks = [mapping(block) for block in items(body.get("content"))]
    finish = nonempty_text(body.get("stop_reason"))
    return ReplyOutput(
        value=_value(blocks),
        finish=finish,
        written=int(any(block.get(name) for block in blocks for name in _WRITTEN)),
        fault="" if "content" in body and finish else "a body that is no message",
    )


def _value(blocks: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - text, or blocks as sent
    """Return the text, if the reply says nothing else, else its blocks as they were sent."""
    if {block.get("type") for block in blocks} <= _TEXT_AND_THINKING:
        return "".join(nonempty_text(block.get("text")) or "" for block in blocks)
    return [dict(block) for block in blocks]


DIALECT: Final = Dialect(
    maker="anthropic",
    base_url="https://api.anthropic.com",
    path="/v1/messages",
    key_header="x-api-key",
    headers={"anthropic-version": "2023-06-01"},
    reserved_fields=frozenset({"model", "messages", "system", "stream", "max_tokens"}),
    write=_write_request,
    read=_read_reply,
)
