"""The price list: genai-prices' bundled snapshot, read offline; nothing else touches that package.

Loading it takes a quarter of a second, so it is imported at the first look-up and not before.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from earmark.errors import InvalidUsage
from earmark.pricing.bill import Rate
from earmark.pricing.price import Tariff
from earmark.pricing.request import items, mapping
from earmark.pricing.units import UNITS_BY_PRICE_KEY, missing_prices
from earmark.pricing.usage import STANDARD, Usage, tier_name

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices, UsageExtractor

#: Variants a request asks for by a tier's name; others are the provider's choice.
_TIER_KEYS: Final = frozenset({"service_tier", "processing", "speed"})

#: The dialects of `earmark.toml`'s `api`: whose extractors read them, in the order tried.
_DIALECTS: Final = {
    "openai": ("openai", ("chat", "responses", "embeddings")),
    "anthropic": ("anthropic", ("default",)),
}
_FLAVORS: Final = ("default", "chat", "responses", "anthropic", "embeddings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A model found in the price list."""

    provider: str
    model: str
    """The model's own id in the list; many names lead to it."""
    info: "ModelInfo"
    has_variants: bool
    """Whether its tiers hold here: not for a model borrowed from its maker's list."""


@cache
def version() -> str:
    """Return the price list's name and version."""
    import genai_prices  # noqa: PLC0415 - a quarter of a second, only when a price is looked up

    return f"genai-prices {genai_prices.__version__}"


@lru_cache(maxsize=4096)
def find(provider: str, model: str) -> Listed | None:
    """Return the listed model of exactly this provider, or `None`.

    The list's own provider matching is by substring, so that `my-anthropic-proxy` would be billed
    as Anthropic; here a provider is known by its id alone.
    """
    listed = _providers().get(provider)
    if listed is None:
        return None
    info = listed.find_model(model, all_providers=list(_providers().values()))
    if info is None:
        return None
    own = any(info is one for one in listed.models)
    return Listed(provider=provider, model=info.id, info=info, has_variants=own)


def maker(model: str) -> str | None:
    """Return the provider that makes a model named without one: `anthropic` for `claude-…`."""
    for provider in _providers().values():
        if provider.model_match is not None and provider.model_match.is_match(model.lower()):
            return provider.id
    return None


def has_provider(provider: str) -> bool:
    """Whether the list knows a provider of this id."""
    return provider in _providers()


def tariffs(listed: Listed, moment: datetime) -> tuple[Tariff, ...]:
    """Return what the model cost at *moment*, at each tier it was sold at; standard first."""
    contexts: dict[str, dict[str, str]] = {STANDARD: {}}
    if listed.has_variants:
        for variant in listed.info.price_variants or ():
            contexts.setdefault(_variant_name(variant.when), variant.when)
    return tuple(
        Tariff(name, rates(listed.info.get_prices(moment, when))) for name, when in contexts.items()
    )


def _variant_name(when: Mapping[str, str]) -> str:
    if len(when) == 1 and when.keys() <= _TIER_KEYS:
        return tier_name(next(iter(when.values())))
    return ",".join(f"{key}={value}" for key, value in sorted(when.items()))


def rates(prices: "ModelPrice") -> tuple[Rate, ...]:
    """Return the exact rates; none where the list holds kinds that cannot be told apart.

    A kind newer than this Earmark, or an overlap without a price, would make a bound too low. The
    list writes a model that is given away as one without any price.
    """
    given: dict[str, Decimal | TieredPrices | None] = dict(vars(prices))
    priced = {key: value for key, value in given.items() if value is not None}
    if not priced:
        return (Rate("input_tokens", Decimal(0)), Rate("output_tokens", Decimal(0)))
    if not priced.keys() <= UNITS_BY_PRICE_KEY.keys():
        return ()
    found = tuple(_rate(UNITS_BY_PRICE_KEY[key].kind, value) for key, value in priced.items())
    return () if missing_prices(frozenset(rate.kind for rate in found)) else found


def _rate(kind: str, value: "Decimal | TieredPrices") -> Rate:
    if isinstance(value, Decimal):
        return Rate(kind, value)
    return Rate(kind, value.base, tuple((tier.start, tier.price) for tier in value.tiers))


def read_usage(body: Mapping[str, Any], provider: str, api: str | None) -> Usage:
    """Return the usage a reply reports, in our units.

    Raises:
        InvalidUsage: The reply names no usage, or counts that cannot be.
    """
    _check_one_model(body)
    problem = "the reply names no usage"
    for extractor in _extractors(provider, api):
        try:
            _, found = extractor.extract(body)
        except ValueError as error:
            problem = str(error)
            continue
        counts = {kind: _whole(count) for kind, count in vars(found).items()}
        return Usage(_with_hidden(counts, body), tier=_tier(body))
    raise InvalidUsage(detail=problem)


def _extractors(provider: str, api: str | None) -> "Iterator[UsageExtractor]":
    """Yield the readers to try, the likeliest first."""
    reader, flavors = _DIALECTS.get(api or "", (provider, (api,) if api else _FLAVORS))
    listed = _providers().get(provider)
    own = {one.api_flavor: one for one in (listed.extractors if listed else None) or ()}
    yield from (own[flavor] for flavor in flavors if flavor in own)
    if api in _DIALECTS:
        yield from (own[flavor] for flavor in (api, "default") if flavor in own)
        generic = {one.api_flavor: one for one in _providers()[reader].extractors or ()}
        yield from (generic[flavor] for flavor in flavors)


def _whole(count: object) -> int:
    # Seconds of audio may come as a fraction; counted up, a cost is never too low.
    if isinstance(count, float | Decimal):
        return math.ceil(count)
    return count  # pyright: ignore[reportReturnType] - Usage checks it


def _with_hidden(counts: dict[str, int], body: Mapping[str, Any]) -> dict[str, int]:
    """Count tokens that only the total shows as output.

    Google's OpenAI-compatible API leaves reasoning out of `completion_tokens` and bills it.
    """
    total: object = mapping(body.get("usage")).get("total_tokens")
    if type(total) is not int:
        return counts
    hidden = total - counts.get("input_tokens", 0) - counts.get("output_tokens", 0)
    if hidden <= 0:
        return counts
    return {**counts, "output_tokens": counts.get("output_tokens", 0) + hidden}


def _check_one_model(body: Mapping[str, Any]) -> None:
    """Refuse a reply that bills a second model, whose tokens its totals leave out.

    Anthropic lists such calls (its advisor tool) as iterations that name a model of their own.
    """
    for iteration in items(mapping(body.get("usage")).get("iterations")):
        other = mapping(iteration).get("model")
        if other is not None and other != body.get("model"):
            raise InvalidUsage(detail=f"the reply bills another model too: {str(other)[:60]!r}")


def _tier(body: Mapping[str, Any]) -> str:
    """Return the tier the reply was billed at; empty where it does not say."""
    inner = mapping(body.get("usage") or body.get("usageMetadata"))
    if inner.get("inference_geo") == "us":
        # Anthropic bills US-only inference above the list price, which the list does not hold.
        return "inference_geo=us"
    named = [inner.get("speed"), body.get("service_tier"), inner.get("service_tier")]
    named += [inner.get("trafficType"), inner.get("serviceTier")]
    tiers = [tier_name(str(name)) for name in named if name]
    special = [tier for tier in tiers if tier != STANDARD]
    if "auto" in special:
        return ""
    return "+".join(special) if special else (STANDARD if tiers else "")


@cache
def _providers() -> "dict[str, Provider]":
    # The bundled list itself, not the package's replaceable global snapshot: a book never changes.
    from genai_prices.data import providers  # noqa: PLC0415 - see the module's docstring

    return {provider.id: provider for provider in providers}
