"""OpenAI's Responses API, and its image API, which counts in the same words."""

from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.counters import INFORMATION, Counter, CounterTable, Fees, counter, read_counters
from earmark.errors.inputs import shown
from earmark.pricing.json_values import items, mapping

#: Source: OpenAI API reference, "The response object", "Images", and the types of the `openai` SDK
#: 3.57. Cache writes of both lifetimes are in `cache_write_tokens`; the price list knows one rate,
#: so those that live 12 hours have no price of their own and are reported as unknown.
COUNTERS: Final = CounterTable(
    counters={
        "input_tokens": counter("input_tokens"),
        "output_tokens": counter("output_tokens"),
        "total_tokens": INFORMATION,
        "input_tokens_details.cached_tokens": counter("cache_read_tokens", alias_of="cached"),
        "input_tokens_details.cache_write_tokens": counter("cache_write_tokens"),
        "input_tokens_details.cache_write_tokens_details.ttl_30m_tokens": INFORMATION,
        "input_tokens_details.text_tokens": counter("input_text_tokens"),
        "input_tokens_details.image_tokens": counter("input_image_tokens"),
        "input_tokens_details.audio_tokens": counter("input_audio_tokens"),
        "output_tokens_details.reasoning_tokens": counter("output_reasoning_tokens"),
        "output_tokens_details.text_tokens": counter("output_text_tokens"),
        "output_tokens_details.image_tokens": counter("output_image_tokens"),
        "output_tokens_details.audio_tokens": counter("output_audio_tokens"),
        # The transcription API's name for the same parts.
        "input_token_details.text_tokens": counter("input_text_tokens"),
        "input_token_details.audio_tokens": counter("input_audio_tokens"),
        "seconds": counter("audio_seconds", "input_audio_seconds"),
        # Money that whoever answers says it costs: no unit, and read by `stated_bill.py`.
        "cost": INFORMATION,
        "cost_details": INFORMATION,
        "pydantic_ai_gateway": INFORMATION,
    },
    required=(),
    output=("output_tokens", "total_tokens", "seconds"),
    total="total_tokens",
)

_XAI_TOOLS: Final = {
    "web_search_calls": counter("web_searches", alias_of="web searches"),
    "x_search_calls": counter("social_searches", alias_of="social searches"),
    "code_interpreter_calls": counter("code_executions", alias_of="code executions"),
    "file_search_calls": counter("storage_searches", alias_of="storage searches"),
    "document_search_calls": counter("storage_searches", alias_of="storage searches"),
}
PROVIDERS: Final[Mapping[str, Mapping[str, Counter]]] = {
    # Source: xAI, "Tools", "Usage and pricing", 2026-11. `num_…` repeat what the details hold.
    "x-ai": {
        **_XAI_TOOLS,
        **{f"server_side_tool_usage_details.{name}": row for name, row in _XAI_TOOLS.items()},
        "num_sources_used": INFORMATION,
        "num_server_side_tools_used": INFORMATION,
        # What the last round of its tools held, part of what is counted above: a reply with 7,622
        # here was billed exactly by its other counters.
        "context_details": INFORMATION,
        "cost_in_usd_ticks": INFORMATION,
    },
    # Source: genai-prices 0.2.3 and Perplexity, "Agent API", 2026-11.
    "perplexity": {
        "input_tokens_details.cache_read_input_tokens": counter(
            "cache_read_tokens", alias_of="cached"
        ),
        "tool_calls_details.search_web.invocation": counter("web_searches"),
    },
    # Azure counts the searches of its web tool in the usage, as Anthropic does.
    "azure": {"web_search_requests": counter("web_searches", alias_of="web searches")},
}

#: Items of the output that are one use of a billed tool. Source: OpenAI, "Pricing", built-in
#: tools, 2026-11. A search that only opened a page is free there; counted, it is never too little.
BILLED_ITEMS: Final = {
    "web_search_call": "web_searches",
    "file_search_call": "storage_searches",
    "code_interpreter_call": "code_executions",
}
#: Items that cost their tokens alone, which the usage counts: text, reasoning, and the tools that
#: the caller or an MCP server runs. Source: the same, and the item types of the `openai` SDK 3.57.
FREE_ITEMS: Final = frozenset(
    {
        *("message", "reasoning", "compaction", "additional_tools", "program", "program_output"),
        *("function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
        *("computer_call", "computer_call_output", "apply_patch_call", "apply_patch_call_output"),
        *("local_shell_call", "local_shell_call_output", "shell_call_output"),
        *("mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"),
        *("tool_search_call", "tool_search_output"),
        # Perplexity's: `tool_calls_details` of its usage counts what they cost.
        *("search_results", "fetch_url_results"),
    }
)
#: Its searches cost 25 USD per 1,000 with models that do not reason, and 10 with the others; the
#: price list has 10. Source: the same.
_DEARER_SEARCH: Final = "web_search_preview"
#: Items that are billed by what no reply says: an image by another model, a container by its time.
UNPRICED_ITEMS: Final = frozenset({"image_generation_call", "shell_call"})


def fees(body: Mapping[str, Any]) -> Fees:
    """Return the uses of billed tools, which stand in the output or in `tool_usage`.

    What an item of a type that is not listed costs, nobody knows.
    """
    used: dict[str, int] = {}
    unknown: list[str] = []
    for number, each in enumerate(items(body.get("output"))):
        item = mapping(each)
        kind = item.get("type") or ("message" if item.get("role") else None)
        if kind in BILLED_ITEMS:
            used[BILLED_ITEMS[kind]] = used.get(BILLED_ITEMS[kind], 0) + 1
        elif kind not in FREE_ITEMS and not _is_run_by_caller(item):
            unknown.append(f"output[{number}] ({shown(kind)})")
    reported = read_counters(mapping(body.get("tool_usage")), _TOOL_USAGE)
    for kind, count in reported.counts.items():
        used[kind] = max(used.get(kind, 0), count)
    # A reply repeats the tools of its request.
    tools = {str(mapping(each).get("type")) for each in items(body.get("tools"))}
    if used.get("web_searches") and any(name.startswith(_DEARER_SEARCH) for name in tools):
        unknown.append(f"web_searches by {_DEARER_SEARCH}")
    unknown += (f"tool_usage.{counter}" for counter in reported.unknown)
    return Fees.of(used, unknown)


def _is_run_by_caller(item: Mapping[str, Any]) -> bool:
    """Whether a shell's commands are run by the caller: its environment says so."""
    environment = mapping(item.get("environment"))
    return item.get("type") == "shell_call" and environment.get("type") == "local"


#: Source: the type `ToolUsage` of the `openai` SDK 3.57: "separate from base model usage". The
#: tokens of images are those of another model, whose price no reply says.
_TOOL_USAGE: Final = CounterTable(
    counters={"web_search.num_requests": counter("web_searches")}, required=()
)
