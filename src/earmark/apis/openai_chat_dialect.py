"""How Chat Completions are asked and answered, at OpenAI, Azure and every compatible server.

Source: OpenAI API reference, "Create chat completion" and "The chat completion object", 2026-11;
Microsoft Foundry, "API version lifecycle" and "REST API reference", 2026-11: Azure takes the key in
`api-key`.
"""

from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.dialect import Dialect, Prompt, ReplyOutput, nonempty_text
from earmark.pricing.json_values import items, mapping

OPENAI_URL: Final = "https://api.openai.com/v1"


def _write_request(prompt: Prompt) -> dict[str, Any]:
    body = {**prompt.options, "model": prompt.model, "messages": list(prompt.messages)}
    if prompt.choices > 1:
        body["n"] = prompt.choices
    if prompt.stream:
        body["stream"] = True
    return body


def _read_reply(body: Mapping[str, Any]) -> ReplyOutput:
    choices = [mapping(each) for each in items(body.get("choices"))]
    choices = [choice for choice in choices if mapping(choice.get("message"))]
    values = [_value(mapping(choice["message"])) for choice in choices]
    return ReplyOutput(
        value=values[0] if len(values) == 1 else values,
        finish=nonempty_text(choices[0].get("finish_reason")) if choices else None,
        written=sum(bool(value) for value in values),
        fault="" if choices else "a body that holds no choices",
    )


def _value(message: Mapping[str, Any]) -> Any:  # noqa: ANN401 - text, or a message as it was sent
    content = message.get("content")
    more = message.get("tool_calls") or message.get("function_call") or message.get("audio")
    if more or not isinstance(content, str | None):
        return dict(message)
    return content or ""


DIALECT: Final = Dialect(
    maker="openai",
    base_url=OPENAI_URL,
    path="/chat/completions",
    key_header="authorization",
    key_prefix="Bearer ",
    azure_key_header="api-key",
    reserved_fields=frozenset(
        {"model", "messages", "stream", "stream_options", "n"}
        | {"max_tokens", "max_completion_tokens"}
    ),
    supports_choices=True,
    # llama.cpp's server reports the completion tokens of one choice only (measured, 2026-11).
    counting_hosts=("api.openai.com", "azure.com"),
    write=_write_request,
    read=_read_reply,
)
