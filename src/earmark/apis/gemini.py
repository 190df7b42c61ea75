"""Google's generateContent, at the Gemini API and at Vertex: what its replies count."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from earmark.apis.counters import INFORMATION, Counter, CounterTable, Fees, counter
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
        f"{path}.{name}": counter(*(pattern.format(kind) for pattern in patterns))
        for name, kind in _MODALITIES.items()
    }


#: Source: Gemini API reference, "UsageMetadata", and Vertex AI's, 2026-11. Thoughts and the
#: results of tools stand beside the candidates and the prompt and are billed with them.
COUNTERS: Final = CounterTable(
    counters={
        "promptTokenCount": counter("input_tokens"),
        "candidatesTokenCount": counter("output_tokens"),
        "thoughtsTokenCount": counter("output_tokens", "output_reasoning_tokens"),
        "toolUsePromptTokenCount": counter("input_tokens", "input_tool_tokens"),
        "cachedContentTokenCount": counter("cache_read_tokens"),
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


def fees(body: Mapping[str, Any]) -> Fees:
    """Return the searches that grounded a reply: each distinct query is billed.

    Grounding that shows no query is billed too, by Maps for each request, and so are the tokens of
    an image, dearer than text; where no counter tells of them nobody knows what they cost.
    Source: Gemini API, "Grounding with Google Search", "Grounding with Google Maps", "Pricing";
    2026-11.
    """
    queries: set[str] = set()
    unknown: list[str] = []
    usage = mapping(body.get("usageMetadata"))
    modalities = {
        mapping(each).get("modality") for each in items(usage.get("candidatesTokensDetails"))
    }
    for number, each in enumerate(items(body.get("candidates"))):
        candidate = mapping(each)
        grounding = mapping(candidate.get("groundingMetadata"))
        searched = {str(query) for query in items(grounding.get("webSearchQueries"))}
        queries |= searched
        path = f"candidates[{number}]"
        unknown += (f"{path}.groundingMetadata.{name}" for name in _unpaid(grounding, searched))
        parts = items(mapping(candidate.get("content")).get("parts"))
        if any(mapping(part).get("inlineData") for part in parts) and not modalities - {"TEXT"}:
            unknown.append(f"{path}.content.parts.inlineData")
    return Fees.of({"web_searches": len(queries)} if queries else {}, unknown)


def _unpaid(grounding: Mapping[str, Any], searched: Collection[str]) -> Iterator[str]:
    """Yield the members that show grounding beyond the web searches counted."""
    for name in ("imageSearchQueries", "retrievalQueries", "googleMapsWidgetContextToken"):
        if grounding.get(name):
            yield name
    chunks = [mapping(each) for each in items(grounding.get("groundingChunks"))]
    if any(chunk and (set(chunk) != {"web"} or not searched) for chunk in chunks):
        yield "groundingChunks"
