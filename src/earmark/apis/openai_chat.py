"""OpenAI's Chat Completions API and the servers that speak it: its options and its counters."""

from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.counters import INFORMATION, Counter, CounterTable, Fees, counter, is_number
from earmark.errors.inputs import shown
from earmark.pricing.json_values import items, mapping

#: Models that search by themselves and bill it beside their tokens. Source: OpenAI, "Web search",
#: "Deep research"; Perplexity, "Pricing"; 2026-11.
SEARCHING_MODELS: Final = ("search-preview", "search-api", "deep-research", "sonar")

#: Source: OpenAI API reference, "The chat completion object" and the types of the `openai` SDK
#: 3.57; `image_tokens`, `video_tokens`: replies of OpenRouter and Google, 2026-11.
#: Predicted tokens are part of `completion_tokens`, rejected ones too (same source).
COUNTERS: Final = CounterTable(
    counters={
        "prompt_tokens": counter("input_tokens"),
        "completion_tokens": counter("output_tokens"),
        "total_tokens": INFORMATION,
        "prompt_tokens_details.cached_tokens": counter("cache_read_tokens", alias_of="cached"),
        "prompt_tokens_details.cache_write_tokens": counter("cache_write_tokens"),
        "prompt_tokens_details.audio_tokens": counter("input_audio_tokens"),
        "prompt_tokens_details.text_tokens": counter("input_text_tokens"),
        "prompt_tokens_details.image_tokens": counter("input_image_tokens"),
        "prompt_tokens_details.video_tokens": counter("input_video_tokens"),
        "completion_tokens_details.reasoning_tokens": counter("output_reasoning_tokens"),
        "completion_tokens_details.audio_tokens": counter("output_audio_tokens"),
        "completion_tokens_details.text_tokens": counter("output_text_tokens"),
        "completion_tokens_details.image_tokens": counter("output_image_tokens"),
        "completion_tokens_details.accepted_prediction_tokens": INFORMATION,
        "completion_tokens_details.rejected_prediction_tokens": INFORMATION,
        # Names that compatible servers give to the same numbers; source: their API references.
        "cached_tokens": counter("cache_read_tokens", alias_of="cached"),
        "num_cached_tokens": counter("cache_read_tokens", alias_of="cached"),
        "prompt_cache_hit_tokens": counter("cache_read_tokens", alias_of="cached"),
        "prompt_cache_miss_tokens": INFORMATION,
        # Seconds of work, not of audio.
        "queue_time": INFORMATION,
        "prompt_time": INFORMATION,
        "completion_time": INFORMATION,
        "total_time": INFORMATION,
        # Money that whoever answers says it costs: no unit, and read by `stated_bill.py`.
        "cost": INFORMATION,
        "cost_details": INFORMATION,
        "pydantic_ai_gateway": INFORMATION,
    },
    required=("prompt_tokens",),
    output=("completion_tokens", "total_tokens"),
    total="total_tokens",
)

#: What providers count beyond that, or count differently.
PROVIDERS: Final[Mapping[str, Mapping[str, Counter]]] = {
    # Source: OpenRouter, "Usage accounting" and "Web search", 2026-11. Each executed tool call that
    # is billed is a web search.
    "openrouter": {
        "server_tool_use.web_search_requests": counter("web_searches", alias_of="web searches"),
        "server_tool_use_details.web_search_requests": counter(
            "web_searches", alias_of="web searches"
        ),
        "server_tool_use_details.tool_calls_requested": INFORMATION,
        "server_tool_use_details.tool_calls_executed": INFORMATION,
    },
    # Source: Perplexity, "Pricing" and "Chat completions", 2026-11: reasoning and citations are
    # billed apart from `completion_tokens`, each search is billed.
    "perplexity": {
        "reasoning_tokens": counter("output_tokens", "output_reasoning_tokens"),
        "citation_tokens": counter("output_tokens", "output_citation_tokens"),
        "num_search_queries": counter("web_searches"),
    },
    # Source: xAI, "Usage" and genai-prices 0.2.3: reasoning stands beside `completion_tokens`.
    "x-ai": {
        "completion_tokens_details.reasoning_tokens": counter(
            "output_tokens", "output_reasoning_tokens", alias_of="reasoning"
        ),
        "reasoning_tokens": counter(
            "output_tokens", "output_reasoning_tokens", alias_of="reasoning"
        ),
        "cached_prompt_text_tokens": counter("cache_read_tokens", alias_of="cached"),
        "prompt_text_tokens": INFORMATION,
        "prompt_image_tokens": INFORMATION,
        "cost_in_usd_ticks": INFORMATION,
    },
    # Source: Mistral, "Audio", 2026-11: Voxtral bills seconds beside tokens; the tokens of the
    # audio are in `total_tokens` alone.
    # Whether `num_cached_tokens` are cheaper is not said: they stay plain input.
    "mistral": {
        "prompt_audio_seconds": counter(
            "audio_seconds", "input_audio_seconds", explains_total=True
        ),
        "num_cached_tokens": INFORMATION,
    },
    # Source: genai-prices 0.2.3: Databricks' and Modal's names for parts.
    "databricks": {
        "cache_read_input_tokens": counter("cache_read_tokens", alias_of="cached"),
        "reasoning_tokens": counter("output_reasoning_tokens"),
    },
    "modal": {"reasoning_tokens": counter("output_reasoning_tokens")},
}


def fees(body: Mapping[str, Any]) -> Fees:
    """Return the images and the sound of a reply whose tokens its usage does not tell apart.

    They cost many times what text does. Source: OpenRouter, "Image generation" (`message.images`);
    OpenAI API reference, "The chat completion object" (`message.audio`); 2026-11.
    Rejected predictions that are more than the completion are not counted in it, but billed.
    """
    usage = mapping(body.get("usage"))
    details = mapping(usage.get("completion_tokens_details"))
    unknown = [
        f"choices[{number}].message.{name}"
        for number, choice in enumerate(items(body.get("choices")))
        for name, counter in _DEAR.items()
        if mapping(mapping(choice).get("message")).get(name) and not details.get(counter)
    ]
    rejected, written = details.get(_REJECTED), usage.get("completion_tokens") or 0
    if is_number(rejected) and is_number(written) and rejected > written:
        unknown.append(f"{_REJECTED} = {shown(rejected)}, more than completion_tokens")
    return Fees.of({}, unknown)


#: Members of a message that are no text, and the counter of their tokens.
_DEAR: Final = {"images": "image_tokens", "audio": "audio_tokens"}
_REJECTED: Final = "rejected_prediction_tokens"
