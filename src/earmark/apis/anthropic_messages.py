"""Anthropic's Messages API, at Anthropic, Bedrock, Vertex, Azure and compatible servers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from earmark.apis.counters import (
    INFORMATION,
    Counter,
    CounterReading,
    CounterTable,
    Fees,
    counter,
    read_counters,
)
from earmark.errors.inputs import shown
from earmark.pricing.json_values import items, mapping

#: Source: Claude API reference, "Messages", "Prompt caching", "Web search tool" ("each web search
#: counts as one use"), "Web fetch tool" ("no additional charges"), and the types of the
#: `anthropic` SDK 2.14. `input_tokens` leaves out what was read from and written to the cache.
COUNTERS: Final = CounterTable(
    counters={
        "input_tokens": counter("input_tokens"),
        "output_tokens": counter("output_tokens"),
        "cache_read_input_tokens": counter("input_tokens", "cache_read_tokens"),
        "cache_creation_input_tokens": counter("input_tokens", "cache_write_tokens"),
        "cache_creation.ephemeral_5m_input_tokens": counter("cache_write_5m_tokens"),
        "cache_creation.ephemeral_1h_input_tokens": counter("cache_write_1h_tokens"),
        "output_tokens_details.thinking_tokens": counter("output_reasoning_tokens"),
        "server_tool_use.web_search_requests": counter("web_searches", alias_of="web searches"),
        "server_tool_use.web_fetch_requests": INFORMATION,
        "web_search_requests": counter("web_searches", alias_of="web searches"),
        "fallback_credit": INFORMATION,  # a state, no number
        "iterations": INFORMATION,  # added up by `read_usage`
        # MiniMax and others repeat the sum.
        "total_tokens": INFORMATION,
        # Money that whoever answers says it costs: no unit, and read by `stated_bill.py`.
        "cost": INFORMATION,
        "cost_details": INFORMATION,
        "pydantic_ai_gateway": INFORMATION,
    },
    required=("input_tokens",),
    output=("output_tokens",),
)
PROVIDERS: Final[Mapping[str, Mapping[str, Counter]]] = {}

#: Iterations at the price of the model that was asked. Source: Claude API, "Compaction" and
#: "Advisor tool", 2026-11.
_PRICED_ITERATIONS: Final = frozenset({"message", "compaction"})


def read_usage(
    usage: Mapping[str, Any], table: CounterTable, model: object, cache_lifetime: str = ""
) -> CounterReading:
    """Return the units of *usage*, those of its iterations included.

    The totals leave compaction out: where the iterations come to more, they count. An iteration of
    another model, such as an advisor's, has another price: it is reported as unknown.
    *cache_lifetime* is the longest the request asked for.
    """
    counted = _with_lifetimes(read_counters(usage, table), cache_lifetime)
    iterations = [mapping(each) for each in items(usage.get("iterations"))]
    if not iterations:
        return counted
    of_one = replace(table, required=(), output=())
    summed: dict[str, int] = {}
    unknown = list(counted.unknown)
    for number, each in enumerate(iterations):
        other = each.get("model")
        if each.get("type") not in _PRICED_ITERATIONS or (other and other != model):
            unknown.append(f"iterations[{number}] ({each.get('type')} of {str(other)[:60]})")
            continue
        counters = {key: each[key] for key in each if key not in {"type", "model"}}
        part = _with_lifetimes(read_counters(counters, of_one), cache_lifetime)
        unknown += part.unknown
        for kind, count in part.counts.items():
            summed[kind] = summed.get(kind, 0) + count
    kinds = counted.counts.keys() | summed.keys()
    larger = {kind: max(counted.counts.get(kind, 0), summed.get(kind, 0)) for kind in kinds}
    return CounterReading(larger, tuple(unknown))


def _with_lifetimes(counted: CounterReading, cache_lifetime: str) -> CounterReading:
    """Return *counted* with its cache writes told apart by lifetime, never too cheap.

    Writes are no fewer than their lifetimes together. Those whose lifetime is not reported lived an
    hour where the request asked for that, or where the reply counts any that did.
    """
    units = counted.counts
    hour = units.get("cache_write_1h_tokens", 0)
    parts = units.get("cache_write_5m_tokens", 0) + hour
    written = units.get("cache_write_tokens", 0)
    if parts > written:
        units["cache_write_tokens"] = parts
        units["input_tokens"] = units.get("input_tokens", 0) + parts - written
    elif parts < written and (hour or cache_lifetime == "1h"):
        units["cache_write_1h_tokens"] = hour + written - parts
    return counted


#: Blocks that cost their tokens alone, which the usage counts, or what a counter of it counts.
#: Source: "Web fetch tool" ("no additional charges"), "Tool search tool", "MCP connector", "Code
#: execution tool", and the block types of the `anthropic` SDK 2.14.
FREE_BLOCKS: Final = frozenset(
    {
        *("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "compaction"),
        *("web_search_tool_result", "web_fetch_tool_result", "tool_search_tool_result"),
        *("mcp_tool_use", "mcp_tool_result", "mcp_tool_listing", "fallback"),
    }
)
#: Blocks of a container, billed by its time, and of another model, at a price of its own.
UNPRICED_BLOCKS: Final = frozenset(
    {
        *("code_execution_tool_result", "bash_code_execution_tool_result"),
        *("text_editor_code_execution_tool_result", "container_upload", "advisor_tool_result"),
    }
)


def fees(body: Mapping[str, Any]) -> Fees:
    """Return what is billed beside the tokens and no counter of the usage counts."""
    usage = mapping(body.get("usage"))
    counted = mapping(usage.get("server_tool_use")).get("web_search_requests")
    counted = counted or usage.get("web_search_requests")
    unknown: list[str] = []
    for number, each in enumerate(items(body.get("content"))):
        block = mapping(each)
        kind = block.get("type")
        # A search that failed has an error object instead of results, and is not billed.
        is_search = kind == "web_search_tool_result" and bool(items(block.get("content")))
        if kind not in FREE_BLOCKS or (is_search and not counted):
            unknown.append(f"content[{number}] ({shown(kind)})")
    return Fees.of({}, unknown)
