"""Anthropic's Messages API, at Anthropic, Bedrock, Vertex, Azure and compatible servers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from earmark.apis.counters import INFORMATION, Counted, Counter, CounterTable, counts, read_counters
from earmark.apis.options import (
    SCHEMA,
    TEXT,
    Host,
    RequestTable,
    ServerTool,
    brings,
    fields,
    one_of,
    refused,
)
from earmark.pricing.json_values import items, mapping

_ANOTHER_PRICE: Final = refused("it changes who bills what, at a price no list has: leave it out")
_COMPACTION: Final = brings("a summary of the conversation", loops=True)
_BLOCK: Final = frozenset({"cache_control"})

#: Source: Claude API reference, "Create a message", its tool and beta guides, and the types of the
#: `anthropic` SDK 2.14, 2026-11. `max_tokens` includes thinking.
REQUEST: Final = RequestTable(
    output_limits=("max_tokens",),
    # Not set, it is `auto`, which may use a priority capacity the account has bought.
    hosts={"api.anthropic.com": Host(defaults={"service_tier": "standard_only"})},
    options={
        **dict.fromkeys(
            (
                # Read by whoever asks for the bound: they are part of it.
                *("model", "messages", "system", "stream", "max_tokens", "tools"),
                *("service_tier", "speed", "inference_geo"),
                *("cache_control", "metadata", "stop_sequences", "temperature", "top_k", "top_p"),
                *("thinking", "tool_choice", "user_profile_id"),
            ),
            TEXT,
        ),
        "output_config": SCHEMA,
        "output_format": SCHEMA,
        "response_format": SCHEMA,
        # Edits that clear only shorten the input; compaction is a call of its own.
        "context_management": fields(
            edits=fields(
                type=one_of("clear_tool_uses_20250919", "clear_thinking_20251015"),
                trigger=TEXT,
                keep=TEXT,
                clear_at_least=TEXT,
                exclude_tools=TEXT,
                clear_tool_inputs=TEXT,
            )
        ),
        # The server reviews tool calls as part of the request, without a charge. Source:
        # code.claude.com/docs, "Auto mode classifier request charges", 2026-10.
        "safeguards": fields(type=one_of("dangerous_tool_use"), classifier_context=TEXT),
        "compaction": _COMPACTION,
        "container": brings("a container"),
        "thread": brings("a stored thread"),
        "mcp_servers": brings("MCP servers", loops=True),
        "file_ids": brings("files"),
        "skills": brings("skills"),
        "documents": brings("documents"),
        "fallbacks": refused("another model may answer, at another price: name one model"),
        "billing_policy": _ANOTHER_PRICE,
        "fallback_credit_token": _ANOTHER_PRICE,
        "workspace_id": _ANOTHER_PRICE,
        "diagnostics": refused("what it costs is not published: leave it out"),
        "betas": refused("a beta may change the bill: it is a header, not an option"),
    },
    # `output_config` of a message is the effort from there on: it is spent within `max_tokens`.
    message_fields=frozenset({"role", "content", "cache_control", "id", "type", "output_config"}),
    text_parts={
        "text": _BLOCK | {"text", "citations"},
        "thinking": frozenset({"thinking", "signature"}),
        "redacted_thinking": frozenset({"data"}),
        "tool_use": _BLOCK | {"id", "name", "input", "caller", "toolset_name"},
        "tool_result": _BLOCK | {"tool_use_id", "content", "is_error", "toolset_name"},
        "mcp_tool_use": _BLOCK | {"id", "name", "input", "server_name"},
        "mcp_tool_result": _BLOCK | {"tool_use_id", "content", "is_error"},
        "server_tool_use": _BLOCK | {"id", "name", "input", "caller"},
        "search_result": _BLOCK | {"source", "title", "content", "citations"},
    },
    media_parts={"image": frozenset({"image"}), "document": frozenset({"text", "image"})},
    function_tools=frozenset({"custom", "function"}),
    client_tools=("bash_", "text_editor_", "computer_", "memory_", "browser_toolset_"),
    server_tools={
        "web_search_": ServerTool(unit="web_searches"),
        "code_execution_": ServerTool(unit="code_executions"),
        "web_fetch_": ServerTool(needs_max_uses=False),
        "tool_search_tool_": ServerTool(needs_max_uses=False),
    },
)

#: Source: Claude API reference, "Messages", "Prompt caching", "Web search tool" ("each web search
#: counts as one use"), "Web fetch tool" ("no additional charges"), and the types of the
#: `anthropic` SDK 2.14. `input_tokens` leaves out what was read from and written to the cache.
COUNTERS: Final = CounterTable(
    counters={
        "input_tokens": counts("input_tokens"),
        "output_tokens": counts("output_tokens"),
        "cache_read_input_tokens": counts("input_tokens", "cache_read_tokens"),
        "cache_creation_input_tokens": counts("input_tokens", "cache_write_tokens"),
        "cache_creation.ephemeral_5m_input_tokens": counts("cache_write_5m_tokens"),
        "cache_creation.ephemeral_1h_input_tokens": counts("cache_write_1h_tokens"),
        "output_tokens_details.thinking_tokens": counts("output_reasoning_tokens"),
        "server_tool_use.web_search_requests": counts("web_searches", alias_of="web searches"),
        "server_tool_use.web_fetch_requests": INFORMATION,
        "web_search_requests": counts("web_searches", alias_of="web searches"),
        "fallback_credit": INFORMATION,  # a state, no number
        "iterations": INFORMATION,  # added up by `read_usage`
        # MiniMax and others repeat the sum.
        "total_tokens": INFORMATION,
        # Money that a gateway in between says it costs: no unit, and never billed from here.
        "cost": INFORMATION,
        "cost_details": INFORMATION,
        "pydantic_ai_gateway": INFORMATION,
    },
    required=("input_tokens",),
)
PROVIDERS: Final[Mapping[str, Mapping[str, Counter]]] = {}

#: Iterations at the price of the model that was asked. Source: Claude API, "Compaction" and
#: "Advisor tool", 2026-11.
_PRICED_ITERATIONS: Final = frozenset({"message", "compaction"})


def read_usage(
    usage: Mapping[str, Any], table: CounterTable, model: object, cache_lifetime: str = ""
) -> Counted:
    """Return the units of *usage*, those of its iterations included.

    The totals leave compaction out: where the iterations come to more, they count. An iteration of
    another model, such as an advisor's, has another price: it is reported as unknown.
    *cache_lifetime* is the longest the request asked for.
    """
    counted = _with_lifetimes(read_counters(usage, table), cache_lifetime)
    iterations = [mapping(each) for each in items(usage.get("iterations"))]
    if not iterations:
        return counted
    of_one = replace(table, required=())
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
    return Counted(larger, tuple(unknown))


def _with_lifetimes(counted: Counted, cache_lifetime: str) -> Counted:
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


def fees(body: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the units that only the content of a reply shows: none in this API."""
    del body
    return {}
