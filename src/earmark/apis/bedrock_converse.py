"""Amazon Bedrock's Converse API: what its replies count. Requests to it are not supported yet."""

from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.counters import INFORMATION, Counter, CounterTable, Fees, counter

#: Source: Bedrock API reference, "TokenUsage" and "CacheDetail", 2026-11. `inputTokens` leaves out
#: what was read from and written to the cache; `…Count` are older names of the same numbers.
COUNTERS: Final = CounterTable(
    counters={
        "inputTokens": counter("input_tokens"),
        "outputTokens": counter("output_tokens"),
        "totalTokens": INFORMATION,
        "cacheReadInputTokens": counter("input_tokens", "cache_read_tokens", alias_of="read"),
        "cacheReadInputTokenCount": counter("input_tokens", "cache_read_tokens", alias_of="read"),
        "cacheWriteInputTokens": counter("input_tokens", "cache_write_tokens", alias_of="write"),
        "cacheWriteInputTokenCount": counter(
            "input_tokens", "cache_write_tokens", alias_of="write"
        ),
        "cacheDetails.5m": counter("cache_write_5m_tokens"),
        "cacheDetails.1h": counter("cache_write_1h_tokens"),
    },
    required=("inputTokens", "outputTokens"),
    labels={"cacheDetails": ("ttl", "inputTokens")},
)
PROVIDERS: Final[Mapping[str, Mapping[str, Counter]]] = {}


def fees(body: Mapping[str, Any]) -> Fees:
    """Return what only the content of a reply shows that is billed: nothing in this API."""
    del body
    return Fees()
