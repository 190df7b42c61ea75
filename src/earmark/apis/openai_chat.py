"""OpenAI's Chat Completions API and the servers that speak it: its options and its counters."""

from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.counters import INFORMATION, Counter, CounterTable, counts
from earmark.apis.options import SCHEMA, TEXT, Host, RequestTable, brings, one_of, refused

_ANOTHER_MODEL: Final = refused("another model may answer, at another price: name one model")
_SEARCHES: Final = refused("its searches cost what cannot be bounded before the call: leave it out")
_ANOTHER_MAXIMUM: Final = refused("it may replace the maximum of output tokens: set max_tokens")

#: Source: OpenAI API reference, "Create chat completion", and the types of the `openai` SDK 3.57;
#: for compatible servers the references of llama.cpp, vLLM, OpenRouter, Mistral, DeepSeek, 2026-11.
REQUEST: Final = RequestTable(
    # `max_tokens` is deprecated at OpenAI and refused by its reasoning models; compatible servers
    # all know the old name, not all the new one.
    output_limits=("max_tokens", "max_completion_tokens"),
    choices="n",
    asks_for_stream_usage=True,
    hosts={
        # Not set, the tier is what the project's settings say.
        "api.openai.com": Host(
            output_limit="max_completion_tokens", defaults={"service_tier": "default"}
        ),
        "azure.com": Host(output_limit="max_completion_tokens"),
    },
    options={
        **dict.fromkeys(
            (
                # Read by whoever asks for the bound: they are part of it.
                *("model", "messages", "stream", "stream_options", "n", "tools", "service_tier"),
                *("max_tokens", "max_completion_tokens"),
                # What is sampled, not how much.
                *(
                    "frequency_penalty",
                    "presence_penalty",
                    "logit_bias",
                    "logprobs",
                    "seed",
                    "stop",
                ),
                *("temperature", "top_p", "top_logprobs", "parallel_tool_calls", "tool_choice"),
                *("function_call", "reasoning_effort", "verbosity", "audio"),
                # For the provider's records.
                *("metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"),
                *("store", "user"),
                # Compatible servers: sampling, all bounded by `max_tokens`.
                *("top_k", "top_a", "min_p", "typical_p", "tfs_z", "repetition_penalty"),
                *("repeat_penalty", "repeat_last_n", "mirostat", "mirostat_tau", "mirostat_eta"),
                *("dry_multiplier", "dry_base", "dry_allowed_length", "xtc_probability"),
                *("xtc_threshold", "dynatemp_range", "dynatemp_exponent", "samplers", "min_tokens"),
                *("ignore_eos", "cache_prompt", "id_slot", "random_seed", "safe_prompt"),
                *("prompt_mode", "thinking", "enable_thinking", "thinking_budget", "reasoning"),
                *("include_reasoning", "chat_template_kwargs", "usage", "system"),
            ),
            TEXT,
        ),
        **dict.fromkeys(("functions", "response_format", "grammar", "json_schema"), SCHEMA),
        # Images are not bounded by `max_tokens` (Gemini API, "Image generation", 2026-11).
        "modalities": one_of("text", "audio"),
        "previous_response_id": brings("an earlier response"),
        "conversation": brings("a stored conversation"),
        "prompt": brings("a stored prompt"),
        "cached_content": brings("cached content"),
        "documents": brings("documents"),
        "file_ids": brings("files"),
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
        "prompt_cache_options": refused(
            "writes to the cache for 12 hours have no price in the list: leave it out"
        ),
        "moderation": refused("what it costs is not published: leave it out"),
    },
    message_fields=frozenset(
        {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal"}
        | {"reasoning", "reasoning_content", "reasoning_details", "prefix", "cache_control"}
    ),
    text_parts={
        **dict.fromkeys(
            ("text", "input_text", "output_text"),
            frozenset({"text", "cache_control", "prompt_cache_breakpoint", "annotations"}),
        ),
        "refusal": frozenset({"refusal"}),
        "thinking": frozenset({"thinking", "signature", "closed"}),
    },
    media_parts={
        "image_url": frozenset({"image"}),
        "input_image": frozenset({"image"}),
        "input_audio": frozenset({"audio"}),
        # The sound of a video is billed as audio (OpenRouter, "Video inputs", 2026-11).
        "video_url": frozenset({"video", "audio"}),
    },
    function_tools=frozenset({"function", "custom"}),
)

#: Models that search by themselves and bill it beside their tokens. Source: OpenAI, "Web search",
#: "Deep research"; Perplexity, "Pricing"; 2026-11.
SEARCHING_MODELS: Final = ("search-preview", "search-api", "deep-research", "sonar")

#: Source: OpenAI API reference, "The chat completion object" and the types of the `openai` SDK
#: 3.57; `image_tokens`, `video_tokens`: replies of OpenRouter and Google, 2026-11.
#: Predicted tokens are part of `completion_tokens`, rejected ones too (same source).
COUNTERS: Final = CounterTable(
    counters={
        "prompt_tokens": counts("input_tokens"),
        "completion_tokens": counts("output_tokens"),
        "total_tokens": INFORMATION,
        "prompt_tokens_details.cached_tokens": counts("cache_read_tokens", alias_of="cached"),
        "prompt_tokens_details.cache_write_tokens": counts("cache_write_tokens"),
        "prompt_tokens_details.audio_tokens": counts("input_audio_tokens"),
        "prompt_tokens_details.text_tokens": counts("input_text_tokens"),
        "prompt_tokens_details.image_tokens": counts("input_image_tokens"),
        "prompt_tokens_details.video_tokens": counts("input_video_tokens"),
        "completion_tokens_details.reasoning_tokens": counts("output_reasoning_tokens"),
        "completion_tokens_details.audio_tokens": counts("output_audio_tokens"),
        "completion_tokens_details.text_tokens": counts("output_text_tokens"),
        "completion_tokens_details.image_tokens": counts("output_image_tokens"),
        "completion_tokens_details.accepted_prediction_tokens": INFORMATION,
        "completion_tokens_details.rejected_prediction_tokens": INFORMATION,
        # Names that compatible servers give to the same numbers; source: their API references.
        "cached_tokens": counts("cache_read_tokens", alias_of="cached"),
        "num_cached_tokens": counts("cache_read_tokens", alias_of="cached"),
        "prompt_cache_hit_tokens": counts("cache_read_tokens", alias_of="cached"),
        "prompt_cache_miss_tokens": INFORMATION,
        # Seconds of work, not of audio.
        "queue_time": INFORMATION,
        "prompt_time": INFORMATION,
        "completion_time": INFORMATION,
        "total_time": INFORMATION,
        # Money that a gateway in between says it costs: no unit, and never billed from here.
        "cost": INFORMATION,
        "cost_details": INFORMATION,
        "pydantic_ai_gateway": INFORMATION,
    },
    required=("prompt_tokens",),
    total="total_tokens",
)

#: What providers count beyond that, or count differently.
PROVIDERS: Final[Mapping[str, Mapping[str, Counter]]] = {
    # Source: OpenRouter, "Usage accounting" and "Web search", 2026-11. Each executed tool call that
    # is billed is a web search.
    "openrouter": {
        "server_tool_use.web_search_requests": counts("web_searches", alias_of="web searches"),
        "server_tool_use_details.web_search_requests": counts(
            "web_searches", alias_of="web searches"
        ),
        "server_tool_use_details.tool_calls_requested": INFORMATION,
        "server_tool_use_details.tool_calls_executed": INFORMATION,
    },
    # Source: Perplexity, "Pricing" and "Chat completions", 2026-11: reasoning and citations are
    # billed apart from `completion_tokens`, each search is billed.
    "perplexity": {
        "reasoning_tokens": counts("output_tokens", "output_reasoning_tokens"),
        "citation_tokens": counts("output_tokens", "output_citation_tokens"),
        "num_search_queries": counts("web_searches"),
    },
    # Source: xAI, "Usage" and genai-prices 0.2.3: reasoning stands beside `completion_tokens`.
    "x-ai": {
        "completion_tokens_details.reasoning_tokens": counts(
            "output_tokens", "output_reasoning_tokens", alias_of="reasoning"
        ),
        "reasoning_tokens": counts(
            "output_tokens", "output_reasoning_tokens", alias_of="reasoning"
        ),
        "cached_prompt_text_tokens": counts("cache_read_tokens", alias_of="cached"),
        "prompt_text_tokens": INFORMATION,
        "prompt_image_tokens": INFORMATION,
        "cost_in_usd_ticks": INFORMATION,
    },
    # Source: Mistral, "Audio", 2026-11: Voxtral bills seconds beside tokens.
    # Whether `num_cached_tokens` are cheaper is not said: they stay plain input.
    "mistral": {
        "prompt_audio_seconds": counts("audio_seconds", "input_audio_seconds"),
        "num_cached_tokens": INFORMATION,
    },
    # Source: genai-prices 0.2.3: Databricks' and Modal's names for parts.
    "databricks": {
        "cache_read_input_tokens": counts("cache_read_tokens", alias_of="cached"),
        "reasoning_tokens": counts("output_reasoning_tokens"),
    },
    "modal": {"reasoning_tokens": counts("output_reasoning_tokens")},
}


def fees(body: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the units that only the content of a reply shows: none in this API."""
    del body
    return {}
