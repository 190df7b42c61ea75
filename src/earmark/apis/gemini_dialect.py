"""How Google's generateContent is asked and answered, at the Gemini API and compatible servers.

Source: Gemini API reference, "Generating content" and "API keys" (`x-goog-api-key`), 2026-11.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from earmark.apis.dialect import Dialect, Prompt, ReplyOutput, nonempty_text
from earmark.pricing.json_values import items, mapping

_ROLES: Final = {"assistant": "model"}
#: Members of a part that is text: what else it holds is sent with a text of any kind.
_TEXT_PART: Final = frozenset({"text", "thought", "thoughtSignature"})


def _write_request(prompt: Prompt) -> dict[str, Any]:
    system = [message for message in prompt.messages if message.get("role") == "system"]
    others = [message for message in prompt.messages if message.get("role") != "system"]
    body: dict[str, Any] = {**prompt.options, "contents": [_content(each) for each in others]}
    if system:
        parts = [part for message in system for part in _parts(message.get("content"))]
        body["systemInstruction"] = {"parts": parts}
    if prompt.choices > 1:
        config = mapping(body.get("generationConfig"))
        body["generationConfig"] = {**config, "candidateCount": prompt.choices}
    return body


def _content(message: Mapping[str, Any]) -> dict[str, Any]:
    role = str(message.get("role"))
    return {"role": _ROLES.get(role, role), "parts": _parts(message.get("content"))}


def _parts(content: object) -> list[Any]:
    return [{"text": content}] if isinstance(content, str) else list(items(content))


def _read_reply(body: Mapping[str, Any]) -> ReplyOutput:
    candidates = [mapping(each) for each in items(body.get("candidates"))]
    parts = [_parts_of(candidate) for candidate in candidates]
    values = [_value(each) for each in parts]
    return ReplyOutput(
        value=values[0] if len(values) == 1 else values,
        finish=nonempty_text(candidates[0].get("finishReason")) if candidates else None,
        written=sum(bool(each) for each in parts),
        fault="" if candidates else _no_candidates(body),
    )


def _no_candidates(body: Mapping[str, Any]) -> str:
    blocked = mapping(body.get("promptFeedback")).get("blockReason")
    return "no candidates: it blocked the prompt" if blocked else "a body that holds no candidates"


def _parts_of(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = mapping(candidate.get("content"))
    return [mapping(part) for part in items(content.get("parts"))]


def _value(parts: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - text, or parts as sent
    """Return the text without thoughts, if that is all there is, else the parts as sent."""
    if any(part.keys() - _TEXT_PART for part in parts):
        return [dict(part) for part in parts]
    return "".join(
        nonempty_text(part.get("text")) or "" for part in parts if not part.get("thought")
    )


DIALECT: Final = Dialect(
    maker="google",
    base_url="https://generativelanguage.googleapis.com",
    path="/v1beta/models/{model}:generateContent",
    stream_path="/v1beta/models/{model}:streamGenerateContent",
    stream_query={"alt": "sse"},
    key_header="x-goog-api-key",
    reserved_fields=frozenset(
        {"model", "contents", "systemInstruction", "system_instruction", "stream"}
        | {"generationConfig.maxOutputTokens", "generationConfig.candidateCount"}
        | {"generationConfig.max_output_tokens", "generationConfig.candidate_count"}
        | {"generation_config"}
    ),
    supports_choices=True,
    # "Total number of tokens across all the generated response candidates" (same source).
    counting_hosts=("generativelanguage.googleapis.com",),
    write=_write_request,
    read=_read_reply,
)
