"""What a request to the Chat Completions API may hold, and how each part is bounded.

Source of every row: OpenAI API reference, "Create chat completion", and the types of the `openai`
SDK 3.57; for compatible servers the references of llama.cpp, vLLM, OpenRouter, Mistral and
DeepSeek, 2026-11.
"""

from dataclasses import replace
from typing import Final

from earmark.apis.options import (
    INPUT,
    OUTPUTS,
    PROMPT,
    SCHEMA,
    TEXT,
    THINKING,
    TIER,
    UNPUBLISHED,
    Host,
    Option,
    RequestTable,
    allowed_values,
    block,
    content,
    fields,
    kinds,
    refused,
    texts,
    uncounted_input,
)

_ANOTHER_MODEL: Final = refused("another model may answer, at another price: name one model")
_SEARCHES: Final = replace(
    refused("its searches cost what cannot be bounded before the call: leave it out"),
    billed_unseen=True,
)
_ANOTHER_MAXIMUM: Final = refused("it may replace the maximum of output tokens: set max_tokens")
#: Searches, further rounds and another limit may be among what it brings.
STORED_PROMPT: Final = refused(
    "a stored prompt brings tools and settings that nothing here shows: send its text and its tools"
)
#: Writes that live 12 hours have no price in the list; those of 30 minutes have.
CACHE_BREAKPOINT: Final = fields("mode", ttl=allowed_values("30m"))
#: OpenRouter passes it on to Anthropic.
_CACHE: Final = Option(effect="cache", fields={"type": TEXT, "ttl": allowed_values("5m", "1h")})
CACHE_OPTIONS: Final = fields(
    "mode",
    "comparison_response_id",
    ttl=allowed_values("30m"),
    prewarm=UNPUBLISHED,
)


def _part(*text_fields: str, **rows: Option) -> Option:
    """Return a content part; fields that are not listed need an explicit bound."""
    return block(
        *text_fields,
        others=INPUT,
        cache_control=_CACHE,
        prompt_cache_breakpoint=CACHE_BREAKPOINT,
        **rows,
    )


_TEXT_PART: Final = _part("annotations", text=PROMPT)
_IMAGE: Final = uncounted_input("an image", requires="image")
_AUDIO: Final = uncounted_input("audio", requires="audio")
# The sound of a video is billed as audio (OpenRouter, "Video inputs", 2026-11).
_VIDEO: Final = uncounted_input("a video", requires="video audio")
_PARTS: Final[dict[str, Option]] = {
    **dict.fromkeys(("text", "input_text", "output_text"), _TEXT_PART),
    "refusal": _part("refusal"),
    # What Mistral and DeepSeek return is sent back.
    "thinking": _part("signature", "closed", thinking=content({"text": _TEXT_PART}, others=INPUT)),
    "image_url": _part(image_url=_IMAGE),
    "input_image": _part("detail", image_url=_IMAGE, file_id=replace(_IMAGE, kept=True)),
    "input_audio": _part(input_audio=_AUDIO),
    "video_url": _part(video_url=_VIDEO),
    "file": _part(file=uncounted_input("a file", kept=True)),
}
_CALL: Final = fields("name", "arguments")
_FUNCTION: Final = fields("name", "description", "parameters", "strict")
_FUNCTION_TOOL: Final = Option(
    effect="schema",
    needs=("name", "function"),
    fields={
        **texts("type", "name", "description", "parameters", "strict"),
        "function": _FUNCTION,
        "cache_control": _CACHE,
    },
)
_GRAMMAR: Final = fields("definition", "syntax")
_CUSTOM: Final = fields(
    "name",
    "description",
    format=kinds({"text": block(), "grammar": block(grammar=_GRAMMAR)}),
)

REQUEST: Final = RequestTable(
    messages="messages",
    # `max_tokens` is deprecated at OpenAI and refused by its reasoning models; compatible servers
    # all know the old name, not all the new one.
    output_limits=("max_tokens", "max_completion_tokens"),
    choices="n",
    tiers=("service_tier",),
    # "If not set, the default behavior is 'auto'": what the project's settings say.
    unset_tiers={"openai": "auto"},
    asks_for_stream_usage=True,
    text_alone='modalities = ["text"]',
    hosts={
        # Not set, the tier is what the project's settings say.
        "api.openai.com": Host(
            output_limit="max_completion_tokens", defaults={"service_tier": "default"}
        ),
        "azure.com": Host(output_limit="max_completion_tokens"),
    },
    headers={
        "openai-beta": texts("assistants=v2", "responses=experimental"),
        # Google Vertex: capacity of another price.
        "x-vertex-ai-llm-request-type": texts("dedicated"),
        "x-vertex-ai-llm-shared-request-type": {
            "priority": refused("it is billed at another price: leave it out"),
            "flex": refused("it is billed at another price: leave it out"),
        },
    },
    options={
        **texts(
            *("model", "stream", "n", "max_tokens", "max_completion_tokens"),
            # What is sampled, not how much.
            *("frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "seed", "stop"),
            *("temperature", "top_p", "top_logprobs", "parallel_tool_calls", "reasoning_effort"),
            "verbosity",
            # For the provider's records.
            *("metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"),
            *("store", "user"),
            # Compatible servers: sampling, all bounded by `max_tokens`.
            *("top_k", "top_a", "min_p", "typical_p", "tfs_z", "repetition_penalty"),
            *("repeat_penalty", "repeat_last_n", "mirostat", "mirostat_tau", "mirostat_eta"),
            *("dry_multiplier", "dry_base", "dry_allowed_length", "xtc_probability"),
            *("xtc_threshold", "dynatemp_range", "dynatemp_exponent", "samplers", "min_tokens"),
            *("ignore_eos", "cache_prompt", "id_slot", "random_seed", "safe_prompt"),
            *("prompt_mode", "enable_thinking", "include_reasoning", "chat_template_kwargs"),
        ),
        "service_tier": TIER,
        "messages": Option(
            fields={
                **texts("role", "name", "tool_call_id", "refusal", "prefix"),
                **texts("reasoning", "reasoning_content", "reasoning_details"),
                "content": content(_PARTS, others=INPUT),
                "function_call": _CALL,
                "tool_calls": kinds(
                    {
                        "": Option(fields={**texts("id", "index"), "function": _CALL}),
                        "function": block("id", "index", function=_CALL),
                        "custom": block("id", "index", custom=fields("name", "input")),
                    },
                    others=TEXT,
                ),
                "audio": uncounted_input("an earlier answer's audio", kept=True),
                "cache_control": _CACHE,
            },
            others=INPUT,
            is_list=True,
        ),
        "system": content(_PARTS, others=INPUT),
        "stream_options": fields("include_usage", "include_obfuscation"),
        "tools": kinds(
            {
                "": _FUNCTION_TOOL,
                "function": _FUNCTION_TOOL,
                "custom": Option(effect="schema", fields={"type": TEXT, "custom": _CUSTOM}),
            },
            is_list=True,
        ),
        "tool_choice": kinds(
            {
                "": fields("function"),
                "function": block("name", function=fields("name")),
                "custom": block(custom=fields("name")),
                "allowed_tools": block(allowed_tools=fields("mode", "tools")),
            },
            others=TEXT,
        ),
        "functions": Option(effect="schema", fields=_FUNCTION.fields),
        "function_call": kinds({"": fields("name")}, others=TEXT),
        "response_format": Option(
            effect="schema",
            fields={
                **texts("type", "schema"),
                "json_schema": fields("name", "description", "schema", "strict"),
            },
        ),
        "grammar": SCHEMA,
        "json_schema": SCHEMA,
        "audio": fields("format", voice=kinds({"": fields("id")}, others=TEXT)),
        # Images are not bounded by `max_tokens` (Gemini API, "Image generation", 2026-11).
        "modalities": OUTPUTS,
        "prompt_cache_options": CACHE_OPTIONS,
        # DeepSeek, OpenRouter, Qwen.
        "thinking": block(budget_tokens=THINKING),
        "thinking_budget": THINKING,
        "reasoning": fields(*("effort", "exclude", "enabled", "summary"), max_tokens=THINKING),
        "usage": fields("include"),
        "previous_response_id": uncounted_input("an earlier response", kept=True),
        "conversation": uncounted_input("a stored conversation", kept=True),
        "prompt": STORED_PROMPT,
        "cached_content": uncounted_input("cached content", kept=True),
        "documents": uncounted_input("documents"),
        "file_ids": uncounted_input("files", kept=True),
        "web_search_options": _SEARCHES,
        "search_parameters": _SEARCHES,
        "enable_search": _SEARCHES,
        "plugins": _SEARCHES,
        "models": _ANOTHER_MODEL,
        "route": _ANOTHER_MODEL,
        "fallbacks": _ANOTHER_MODEL,
        "preset": _ANOTHER_MODEL,
        "provider": refused("it routes to a host with a price of its own: leave it out"),
        "prediction": refused("rejected predictions are billed beyond max_tokens: leave it out"),
        "best_of": refused("every candidate is billed: ask for choices instead"),
        "n_predict": _ANOTHER_MAXIMUM,
        "num_predict": _ANOTHER_MAXIMUM,
        "max_new_tokens": _ANOTHER_MAXIMUM,
        "max_output_tokens": _ANOTHER_MAXIMUM,
        "moderation": UNPUBLISHED,
    },
)
