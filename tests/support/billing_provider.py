"""What a provider may bill for a request it was sent: facts of the APIs, apart from our tables."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from toktok import batch_count

from earmark.pricing.json_values import items, mapping

#: Tokens of each thing that is not in the request: a picture, a stored conversation, a page.
BROUGHT = 5000

#: Options that bring input. Source: the APIs' references, 2026-11.
_STORED = {
    "openai": {"previous_response_id", "conversation", "prompt", "cached_content", "documents"}
    | {"file_ids"},
    "openai-responses": {"previous_response_id", "conversation", "prompt"},
    "anthropic": {"container", "thread", "mcp_servers", "file_ids", "skills", "documents"},
    "gemini": {"cachedContent", "continuationToken"},
}
#: Parts, items and tools that bring input, by type, if one of these members is there.
_PARTS: dict[str, set[str]] = {
    "image_url": {"image_url"},
    "input_image": {"image_url", "file_id"},
    "input_audio": {"input_audio"},
    "video_url": {"video_url"},
    "file": {"file", "file_id"},
    "input_file": {"file_data", "file_id", "file_url"},
    "image": {"source", "url"},
    "computer_screenshot": {"file_id", "image_url"},
    "item_reference": {"value"},
    "image_generation_call": {"value"},
    "container_upload": {"file_id"},
    "base64": {"value"},
    "url": {"value"},
}
_GEMINI = {"inlineData", "fileData", "codeExecution", "urlContext", "fileSearch", "retrieval"} | {
    "mcpServers", "computerUse",
}  # fmt: skip
#: Tools the provider runs: each use brings a page, and may be a fee.
_TOOLS = {
    "web_search": "web_searches",
    "web_search_preview": "web_searches",
    "file_search": "storage_searches",
    "code_interpreter": "code_executions",
    "web_fetch": "",
    "mcp": "",
    "tool_search": "",
    "programmatic_tool_calling": "",
    "mcp_toolset": "",
    "tool_search_tool_bm25": "",
    "tool_search_tool_regex": "",
}
_COMPACTS = {"compact_20260112", "compact", "compaction_trigger"}
#: Options that ask for another model, or for output beyond the limit, or for unlimited searches.
_BEYOND = {"models", "route", "fallbacks", "preset", "best_of", "n_predict", "num_predict"} | {
    "prediction", "max_new_tokens", "routingConfig", "plugins", "web_search_options",
    "search_parameters", "enable_search", "googleSearch", "googleMaps", "advisor", "background",
}  # fmt: skip
_VERSION = re.compile(r"_20[\d_]+$")


@dataclass(frozen=True, kw_only=True)
class Most:
    """The most a provider may bill."""

    written: int
    """Tokens of what stands in the request."""
    brought: int
    """Tokens of what does not."""
    outputs: int
    """How often the limit of output tokens can be used up."""
    fees: dict[str, int]
    beyond: list[str]
    """What makes a bill of any size."""
    caches: set[str]


def most(api: str, body: dict[str, Any]) -> Most:
    """Return the most the provider may bill for *body*, as it was sent."""
    text = json.dumps(body, ensure_ascii=False)
    nodes = list(_nodes(body))
    brought = sum(bool(body.get(name)) for name in _STORED.get(api, set()))
    brought += sum(_brings(node) for node in nodes)
    if api == "gemini":
        brought += sum(name in node for node in nodes for name in _GEMINI)
    fees: dict[str, int] = {}
    compacts = api != "openai" and ("compaction" in body or any(map(_compacts, nodes)))
    for tool in _tools(api, body):
        kind = _VERSION.sub("", str(tool.get("type")))
        if kind in _TOOLS:
            uses = body.get("max_tool_calls") if api == "openai-responses" else tool.get("max_uses")
            brought += uses or 1
            if _TOOLS[kind] and uses:
                fees[_TOOLS[kind]] = fees.get(_TOOLS[kind], 0) + uses
    return Most(
        written=_embedded(body["input"]) if _embeds(api) else _tokens(text) + 8 * len(nodes),
        brought=brought * BROUGHT,
        outputs=2 if compacts else 1,
        fees=fees,
        beyond=sorted(_BEYOND & {name for node in nodes for name in node}),
        caches={
            "1h" if node["cache_control"].get("ttl") == "1h" else "5m"
            for node in nodes
            if isinstance(node.get("cache_control"), dict)
        },
    )


def _embeds(api: str) -> bool:
    return api == "openai-embeddings"


def _tokens(text: str) -> int:
    return sum(batch_count([text], "o200k_base"))


def _embedded(asked: Any) -> int:
    """Return the tokens of an input of texts and tokens."""
    if isinstance(asked, int):
        return 1
    return _tokens(asked) if isinstance(asked, str) else sum(map(_embedded, items(asked)))


def _compacts(node: dict[str, Any]) -> bool:
    return node.get("type") in _COMPACTS or "compact_threshold" in node


def _brings(node: dict[str, Any]) -> bool:
    return bool(_PARTS.get(str(node.get("type")), set()) & node.keys())


def _tools(api: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    holders = [mapping(body)]
    if api == "openai-responses":
        holders += map(mapping, items(body["input"]))
    for holder in holders:
        yield from (dict(mapping(tool)) for tool in items(holder.get("tools")))


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    found = dict(mapping(value))
    if found:
        yield found
    for inner in (*found.values(), *items(value)):
        yield from _nodes(inner)
