"""From a provider's reply to the units it bills: the API's table is chosen, never tried.

The API is the one the caller names, else the one whose counters the reply has; the provider adds
the counters that only it has. What no table lists makes the cost unknown: `ReplyReading.unknown`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from earmark.apis import anthropic_messages
from earmark.apis.api import APIS
from earmark.apis.counters import CounterReading, CounterTable, Fees, counter, read_counters
from earmark.apis.stated_bill import StatedBill, stated_bill
from earmark.errors import InvalidUsage
from earmark.pricing import snapshot
from earmark.pricing.json_values import mapping
from earmark.pricing.usage import STANDARD, Usage, tier_name


@dataclass(frozen=True, slots=True)
class ReplyReading:
    """What a reply reports: the units that are known, and the counters that are not."""

    usage: Usage
    unknown: tuple[str, ...] = ()
    """`path = number` of each non-zero counter that no table of the API lists, and the place of
    what is billed and no counter pays for."""
    bill: StatedBill | None = None
    """What the reply says was billed, where it says so."""


#: The tier of inference in the US alone.
US_ONLY: Final = "inference_geo=us"
#: The price list's names of API flavours that these APIs are; `default` differs by provider.
_FLAVORS: Final = {
    "chat": "openai",
    "embeddings": "openai-embeddings",
    "responses": "openai-responses",
    "images": "openai-responses",
}
#: Counters that only Anthropic's API has.
_ANTHROPIC: Final = frozenset(
    {
        "cache_creation",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "iterations",
        "server_tool_use",
    }
)


def read_reply(
    body: Mapping[str, Any],
    *,
    provider: str,
    api: str | None = None,
    cache_lifetime: str = "",
    host: str = "",
) -> ReplyReading:
    """Return the units *body* reports, in the names of `earmark.pricing.units`.

    Args:
        body: The decoded reply, or what a stream adds up to, its usage included.
        provider: Who answered.
        api: `openai`, `openai-responses`, `anthropic`, `gemini`, `bedrock-converse`, or the price
            list's name of a flavour; `None` recognises the API by the names of its counters.
        cache_lifetime: The longest cache lifetime the request asked for, such as `1h`.
        host: The host that answered, as whoever sent the request knows it, by TLS: only of a
            provider that bills in its replies is a bill final.

    Raises:
        InvalidUsage: The reply names no usage, or counts that cannot be.
    """
    checked: object = body
    if not isinstance(checked, Mapping):
        raise InvalidUsage(detail=f"the reply is {type(checked).__name__}, not a JSON object")
    name = _FLAVORS.get(api or "", api)
    if name is None or name == "default":
        name = _recognised(body, provider) or name
    tables = APIS.get(name or "")
    if tables is None:
        return _read_by_price_list(body, provider, name)
    usage = mapping(body.get(tables.usage_root))
    if not usage:
        raise InvalidUsage(detail=f"the reply has no {tables.usage_root}")
    table = _table(name, provider)
    if name == "anthropic":
        counted = anthropic_messages.read_usage(usage, table, body.get("model"), cache_lifetime)
    else:
        counted = read_counters(usage, table)
    reading = _with_fees(counted, tables.fees(body), body)
    try:
        bill = stated_bill(usage, host=host)
    except InvalidUsage as error:
        return replace(reading, unknown=(*reading.unknown, error.detail))
    return reading if bill is None else replace(reading, bill=bill)


def _recognised(body: Mapping[str, Any], provider: str) -> str | None:
    """Return the API whose counters a reply has."""
    if mapping(body.get("usageMetadata")):
        return "gemini"
    usage = mapping(body.get("usage"))
    if "prompt_tokens" in usage:
        return "openai-embeddings" if "data" in body and "choices" not in body else "openai"
    if "inputTokens" in usage:
        return "bedrock-converse"
    if not usage.keys() & {"input_tokens", "output_tokens"}:
        # A transcription is counted in seconds: {"type": "duration", "seconds": 27}.
        return "openai-responses" if usage.get("type") == "duration" else None
    if provider == "anthropic" or body.get("type") == "message" or usage.keys() & _ANTHROPIC:
        return "anthropic"
    return "openai-responses"


@lru_cache(maxsize=256)
def _table(name: str, provider: str) -> CounterTable:
    tables = APIS[name]
    own = tables.providers.get(provider)
    return tables.counters.merged(own) if own else tables.counters


def _read_by_price_list(body: Mapping[str, Any], provider: str, flavor: str | None) -> ReplyReading:
    """Read the reply of an API without a table here, by the counters in the price list.

    Without a flavour it is the one whose usage stands where the reply has one.
    """
    for name, (root, table) in _listed_tables(provider).items():
        usage = body
        for step in root:
            usage = mapping(usage.get(step))
        if usage and flavor in {name, None}:
            return _with_fees(read_counters(usage, table), Fees(), body)
    raise InvalidUsage(
        detail=f"the reply of '{provider}' has no usage of a known API: name its api"
    )


@lru_cache(maxsize=256)
def _listed_tables(provider: str) -> dict[str, tuple[tuple[str, ...], CounterTable]]:
    found: dict[str, tuple[tuple[str, ...], CounterTable]] = {}
    for flavor, listed in snapshot.listed_counters(provider).items():
        rows: dict[str, tuple[str, ...]] = {}
        for row in listed.counters:
            rows[row.path] = (*rows.get(row.path, ()), row.kind)
        required = (row.path for row in listed.counters if row.required and "." not in row.path)
        table = CounterTable(
            counters={path: counter(*kinds) for path, kinds in rows.items()},
            required=tuple(dict.fromkeys(required)),
        )
        found[flavor] = (listed.root, table)
    return found


def _with_fees(counted: CounterReading, fees: Fees, body: Mapping[str, Any]) -> ReplyReading:
    units = counted.counts
    for kind, used in fees.units.items():
        # The usage and the output may both show the same uses.
        units[kind] = max(units.get(kind, 0), used)
    return ReplyReading(Usage(units, tier=_tier(body)), counted.unknown + fees.unknown)


def _tier(body: Mapping[str, Any]) -> str:
    """Return the tier the reply was billed at; empty where it does not say."""
    inner = mapping(body.get("usage") or body.get("usageMetadata"))
    if inner.get("inference_geo") == "us":
        # Anthropic bills US-only inference above the list price, which the list does not hold.
        return US_ONLY
    named = [inner.get("speed"), body.get("service_tier"), inner.get("service_tier")]
    named += [inner.get("trafficType"), inner.get("serviceTier")]
    # Bedrock names the tier in an object of its own: {"type": "priority"}.
    named.append(mapping(body.get("serviceTier")).get("type"))
    tiers = [tier_name(str(name)) for name in named if name]
    special = [tier for tier in tiers if tier != STANDARD]
    if "auto" in special:
        return ""
    return "+".join(special) if special else (STANDARD if tiers else "")
