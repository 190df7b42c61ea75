"""Every parameter in the types of the current SDKs stands in a table."""

from dataclasses import replace
from pkgutil import resolve_name
from typing import get_args

import pytest

from earmark.apis.api import request_table
from support.sdk_types import gaps, literals

PARAMS: dict[str, tuple[str, str]] = {
    "chat": (
        "openai",
        "openai.types.chat.completion_create_params.CompletionCreateParamsNonStreaming",
    ),
    "responses": (
        "openai-responses",
        "openai.types.responses.response_create_params.ResponseCreateParamsNonStreaming",
    ),
    "embeddings": (
        "openai-embeddings",
        "openai.types.embedding_create_params.EmbeddingCreateParams",
    ),
    "moderations": (
        "openai-moderations",
        "openai.types.moderation_create_params.ModerationCreateParams",
    ),
    "images": (
        "openai-images",
        "openai.types.image_generate_params.ImageGenerateParamsStreaming",
    ),
    "speech": ("openai-speech", "openai.types.audio.speech_create_params.SpeechCreateParams"),
    "transcriptions": (
        "openai-transcriptions",
        "openai.types.audio.transcription_create_params.TranscriptionCreateParamsStreaming",
    ),
    "messages": (
        "anthropic",
        "anthropic.types.message_create_params.MessageCreateParamsNonStreaming",
    ),
    "messages, beta": (
        "anthropic",
        "anthropic.types.beta.message_create_params.MessageCreateParamsNonStreaming",
    ),
    "count tokens, beta": (
        "anthropic-count-tokens",
        "anthropic.types.beta.message_count_tokens_params.MessageCountTokensParams",
    ),
}


@pytest.mark.parametrize("name", PARAMS)
def test_every_parameter_of_the_sdks_stands_in_a_table(name: str) -> None:
    """Options, content parts, tools and their fields, however deep: each has a row."""
    api, params = PARAMS[name]
    assert gaps(resolve_name(params), dict(request_table(api).options)) == []


def test_a_parameter_without_a_row_is_found() -> None:
    """The walk sees what is missing, at the top and in a part of a part."""
    options = dict(request_table("anthropic").options)
    thinking = options.pop("thinking")
    params = PARAMS["messages"][1]
    assert gaps(resolve_name(params), options) == ["thinking"]
    options["thinking"] = thinking
    messages = options["messages"]
    fields = dict(messages.fields or {})
    content = fields["content"]
    kinds = {name: row for name, row in (content.kinds or {}).items() if name != "document"}
    fields["content"] = replace(content, kinds=kinds)
    options["messages"] = replace(messages, fields=fields)
    assert gaps(resolve_name(params), options) == ["messages.content[document]"]


def test_every_beta_of_the_sdk_stands_in_a_table() -> None:
    """Each beta the SDK knows is bounded or refused by name."""
    betas = resolve_name("anthropic.types.AnthropicBetaParam")
    known = literals(betas) or [each for union in get_args(betas) for each in literals(union)]
    assert len(known) > 50
    assert set(known) - request_table("anthropic").headers["anthropic-beta"].keys() == set()
