"""Google's generateContent, at the Gemini API and at Vertex: what its replies count."""

from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.counters import INFORMATION, Counter, CounterTable, counts
from earmark.pricing.json_values import items, mapping

_MODALITIES: Final = {
    "TEXT": "text",
    "AUDIO": "audio",
    "IMAGE": "image",
    # A document's pages are billed as images (Gemini API, "Document understanding", 2026-11).
    "DOCUMENT": "image",
    "VIDEO": "video",
}
_LABEL: Final = ("modality", "tokenCount")


def _details(path: str, *patterns: str) -> dict[str, Counter]:
    """Return a row for each modality of a list of details."""
    return {
        f"{path}.{name}": counts(*(pattern.format(kind) for pattern in patterns))
        for name, kind in _MODALITIES.items()
    }


#: Source: Gemini API reference, "UsageMetadata", and Vertex AI's, 2026-11. Thoughts and the
#: results of tools stand beside the candidates and the prompt and are billed with them.
COUNTERS: Final = CounterTable(
    counters={
        "promptTokenCount": counts("input_tokens"),
        "candidatesTokenCount": counts("output_tokens"),
        "thoughtsTokenCount": counts("output_tokens", "output_reasoning_tokens"),
        "toolUsePromptTokenCount": counts("input_tokens", "input_tool_tokens"),
        "cachedContentTokenCount": counts("cache_read_tokens"),
        "totalTokenCount": INFORMATION,
        **_details("promptTokensDetails", "input_{}_tokens"),
        **_details("promptTokenDetails", "input_{}_tokens"),
        **_details("candidatesTokensDetails", "output_{}_tokens"),
        **_details("cacheTokensDetails", "cache_{}_read_tokens"),
        **_details("toolUsePromptTokensDetails", "input_{}_tokens", "input_{}_tool_tokens"),
        "pydantic_ai_gateway": INFORMATION,
    },
    required=(),
    total="totalTokenCount",
    labels={
        "promptTokensDetails": _LABEL,
        "promptTokenDetails": _LABEL,
        "candidatesTokensDetails": _LABEL,
        "cacheTokensDetails": _LABEL,
        "toolUsePromptTokensDetails": _LABEL,
    },
)
PROVIDERS: Final[Mapping[str, Mapping[str, Counter]]] = {}


def fees(body: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the searches that grounded a reply: each distinct query is billed.

    Source: Gemini API, "Grounding with Google Search", 2026-11.
    """
    queries = {
        str(query)
        for candidate in items(body.get("candidates"))
        for query in items(
            mapping(mapping(candidate).get("groundingMetadata")).get("webSearchQueries")
        )
    }
    return {"web_searches": len(queries)} if queries else {}
