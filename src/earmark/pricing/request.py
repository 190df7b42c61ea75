"""What a model request holds: text that can be bounded, and what cannot be without help."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, cast

from earmark.errors import InvalidUsage
from earmark.pricing.bill import unpriced
from earmark.pricing.json_values import items, mapping
from earmark.pricing.units import MODALITIES, UNITS, Unit
from earmark.pricing.usage import LARGEST_COUNT, STANDARD, Usage, tier_name

#: Content parts that are text, or JSON that becomes text.
_TEXT_PARTS: Final = frozenset(
    {
        "text",
        "input_text",
        "output_text",
        "refusal",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
    }
)
#: Keys of a message that refer to something which is not in it.
_REFERENCES: Final = frozenset({"audio", "images", "files", "file_ids", "attachments"})
#: Options that bring input of unknown length, and what they are.
_OPTIONS_WITH_INPUT: Final = {
    "previous_response_id": "an earlier response",
    "conversation": "a stored conversation",
    "prompt": "a stored prompt",
    "container": "a container",
    "context_management": "context management",
    "mcp_servers": "MCP servers",
    "file_ids": "files",
    "documents": "documents",
    "skills": "skills",
}
#: Options that cost what no token bound covers: searches with no maximum, rejected predictions.
_OPTIONS_WITHOUT_BOUND: Final = frozenset(
    {"web_search_options", "search_parameters", "plugins", "prediction"}
)
#: Tools the provider runs, by the start of their type, and the unit each use is billed in.
_SERVER_TOOLS: Final = {
    "web_search": "web_searches",
    "file_search": "storage_searches",
    "code_execution": "code_executions",
    "code_interpreter": "code_executions",
    "web_fetch": "",
}
#: Tools the caller runs whose definition the provider writes: input tokens, nothing else.
_CLIENT_TOOLS: Final = ("bash", "text_editor", "computer", "memory")
_FUNCTIONS: Final = frozenset({"function", "custom", ""})

#: A tool of ours, or a schema for the answer, adds a hidden system prompt.
_SCHEMA_OPTIONS: Final = frozenset(
    {"tools", "functions", "response_format", "output_format", "output_config", "text"}
)


@dataclass(slots=True)
class Contents:
    """What a request holds, sorted by how it can be bounded."""

    texts: list[str] = field(default_factory=list[str])
    """Plain texts of messages; a tokenizer counts each exactly."""
    json: str = ""
    """Everything else that becomes text, as JSON."""
    messages: int = 0
    has_schema: bool = False
    """Whether tools or an output schema add a hidden system prompt."""
    uncounted: list[str] = field(default_factory=list[str])
    """What needs an explicit bound, named for people."""
    modalities: set[str] = field(default_factory=lambda: {"text"})
    outputs: frozenset[str] = frozenset(MODALITIES)
    fees: dict[str, int] = field(default_factory=dict[str, int])
    loops: bool = False
    """Whether the provider samples several times, each with its own input."""
    caches: frozenset[str] = frozenset()
    """Lifetimes of the cache writes asked for."""

    def never(self, provider: str) -> frozenset[str]:
        """Return the kinds of tokens and durations this request cannot be billed in."""
        return _never(provider, frozenset(self.modalities), self.outputs, self.caches)

    def needs(self) -> frozenset[str]:
        """Return the kinds this request asks for by name, which must have a price."""
        kinds = {"5m": "cache_write_tokens", "1h": "cache_write_1h_tokens"}
        return frozenset(kinds[ttl] for ttl in self.caches)


@lru_cache(maxsize=1024)
def _never(
    provider: str, inputs: frozenset[str], outputs: frozenset[str], caches: frozenset[str]
) -> frozenset[str]:
    return frozenset(
        kind
        for kind, unit in UNITS.items()
        if unit.family in {"tokens", "durations"}
        and _cannot(unit, provider, inputs, outputs, caches)
    )


def _cannot(
    unit: Unit,
    provider: str,
    inputs: frozenset[str],
    outputs: frozenset[str],
    caches: frozenset[str],
) -> bool:
    # A kind without a modality is for all of them.
    modality = unit.dimension("modality") or "text"
    if unit.dimension("direction") == "output":
        return modality not in outputs
    if unit.dimension("cache_ttl") == "1h" and "1h" not in caches:
        return True
    if unit.dimension("token_type") == "cache_write" and provider == "anthropic" and not caches:
        # Anthropic writes to the cache only where `cache_control` says so; others do by
        # themselves. Source: platform.claude.com, prompt caching, 2026-11.
        return True
    return modality not in inputs


def read_request(messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Contents:
    """Return what a request holds.

    Raises:
        BudgetExceeded: With reason `unpriced`, for tools and options that nothing can bound.
        InvalidUsage: It cannot be written as JSON.
    """
    found = Contents(messages=len(messages))
    asked = _flat(options)
    rest = [_message(message, found) for message in messages]
    _options(asked, found)
    try:
        found.json = json.dumps([rest, asked], ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidUsage(detail=f"the request is not JSON: {error}") from None
    # A quote inside a user's text is escaped in JSON, so it cannot look like a key.
    if '"cache_control"' in found.json:
        found.caches = frozenset({"5m", "1h"} if '"1h"' in found.json else {"5m"})
    return found


def request_tier(options: Mapping[str, Any]) -> str:
    """Return the service tier a request asks for, for `PriceBook.resolve`."""
    asked = _flat(options)
    tiers = [tier_name(str(asked[key])) for key in ("service_tier", "speed") if asked.get(key)]
    if asked.get("inference_geo") == "us":
        tiers.append("inference_geo=us")
    return "+".join(tier for tier in tiers if tier != STANDARD) or STANDARD


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    # The SDKs send `extra_body` as part of the body.
    own = {
        key: value for key, value in options.items() if key not in {"extra_body", "extra_headers"}
    }
    return {**own, **mapping(options.get("extra_body"))}


def _message(message: Mapping[str, Any], found: Contents) -> dict[str, Any]:
    """Return the message without what is counted elsewhere."""
    left = {key: value for key, value in message.items() if key not in _REFERENCES}
    for key in message.keys() - left.keys():
        if message[key]:
            _uncounted(found, key)
    content = left.get("content")
    if isinstance(content, str):
        found.texts.append(content)
        left["content"] = ""
    elif content is not None:
        left["content"] = _parts(items(content) or [content], found)
    return left


def _parts(parts: Iterable[object], found: Contents) -> list[object]:
    return [kept for part in parts if (kept := _part(part, found)) is not None]


def _part(part: object, found: Contents) -> object:
    """Return one content part without what cannot be counted; `None` if that is all of it."""
    if isinstance(part, str):
        return part
    block = mapping(part)
    kind = str(block.get("type", ""))
    if kind not in _TEXT_PARTS:
        _uncounted(found, kind or "content of no type")
        return None
    inner = block.get("content")
    if kind == "tool_result" and inner is not None and not isinstance(inner, str):
        return {**block, "content": _parts(items(inner) or [inner], found)}
    return block


def _uncounted(found: Contents, what: str) -> None:
    found.uncounted.append(what)
    named = {modality for modality in MODALITIES if modality in what}
    # A file may hold anything.
    found.modalities |= named or set(MODALITIES)


def _options(options: Mapping[str, Any], found: Contents) -> None:
    for key, value in options.items():
        if not value:
            continue
        if key in _OPTIONS_WITHOUT_BOUND:
            raise unpriced(
                f"option '{key}' costs what cannot be bounded before the call: leave it out"
            )
        if key in _OPTIONS_WITH_INPUT:
            _uncounted(found, _OPTIONS_WITH_INPUT[key])
        found.has_schema = found.has_schema or key in _SCHEMA_OPTIONS
    outputs = options.get("modalities")
    if isinstance(outputs, Sequence) and outputs:
        found.outputs = frozenset(str(one).lower() for one in cast("Sequence[Any]", outputs)) | {
            "text"
        }
    tools = options.get("tools")
    if isinstance(tools, Sequence):
        for tool in cast("Sequence[Any]", tools):
            _tool(tool, options, found)


def _tool(tool: Mapping[str, Any], options: Mapping[str, Any], found: Contents) -> None:
    kind = str(tool.get("type") or "")
    if kind in _FUNCTIONS:
        return
    if kind.startswith(_CLIENT_TOOLS):
        found.uncounted.append(f"tool {kind}")
        return
    name = next((name for name in _SERVER_TOOLS if kind.startswith(name)), None)
    if name is None:
        raise unpriced(f"tool '{kind}' costs what cannot be bounded before the call: leave it out")
    found.uncounted.append(f"tool {kind}")
    found.loops = True
    if unit := _SERVER_TOOLS[name]:
        uses = tool.get("max_uses", options.get("max_tool_calls"))
        if type(uses) is not int or not 0 < uses <= LARGEST_COUNT:
            raise unpriced(f"tool '{kind}' has no maximum: give it max_uses")
        found.fees[unit] = found.fees.get(unit, 0) + uses


def fees_of(found: Contents) -> Usage:
    """Return the units beside tokens the request may use up."""
    return Usage(found.fees)
