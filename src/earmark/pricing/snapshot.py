"""The price list: genai-prices' bundled snapshot, read offline; nothing else touches that package.

Loading it takes a quarter of a second, so it is imported at the first look-up and not before.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from datetime import date as date_
from decimal import Decimal
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from earmark.pricing.price import Tariff
from earmark.pricing.rates import Rate
from earmark.pricing.units import UNITS_BY_PRICE_KEY, missing_prices
from earmark.pricing.usage import STANDARD, tier_name

if TYPE_CHECKING:
    from genai_prices.types import ExtractPath, ModelInfo, ModelPrice, Provider, TieredPrices

#: A longer name is none, and comparing takes time with its length.
_LONGEST_NAME: Final = 80
#: From how alike on one name may be meant by another.
_SIMILARITY: Final = 0.75
#: Variants a request asks for by a tier's name; others are the provider's choice.
_TIER_KEYS: Final = frozenset({"service_tier", "processing", "speed"})


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


@lru_cache(maxsize=256)
def nearest(model: str, provider: str | None = None) -> str | None:
    """Return the listed name most like *model*, of one provider or of all; `None` if none is.

    Of all it is as a call names it: with its provider, unless its own name says who makes it.
    """
    if provider is not None:
        return _nearest(model, _model_ids(provider))
    sellers = {model_id: each for each in _providers() for model_id in _model_ids(each)}
    found = _nearest(model, sellers)
    return found if found is None or maker(found) else f"{sellers[found]}/{found}"


def nearest_provider(provider: str) -> str | None:
    """Return the id of the listed provider most like *provider*; `None` if none is."""
    return _nearest(provider, set(_providers()))


@cache
def _model_ids(provider: str) -> tuple[str, ...]:
    return tuple(info.id for info in _providers()[provider].models)


def _nearest(name: str, known: Collection[str]) -> str | None:
    if len(name) > _LONGEST_NAME:
        return None
    return next(iter(get_close_matches(name, known, n=1, cutoff=_SIMILARITY)), None)


def tariffs(listed: Listed, moment: datetime) -> tuple[Tariff, ...]:
    """Return what the model cost at *moment*, at each tier it was sold at; standard first."""
    contexts: dict[str, dict[str, str]] = {STANDARD: {}}
    if listed.has_variants:
        for variant in listed.info.price_variants or ():
            contexts.setdefault(_variant_name(variant.when), variant.when)
    return tuple(
        Tariff(name, rates(listed.info.get_prices(moment, when))) for name, when in contexts.items()
    )


def changes(listed: Listed, start: datetime, end: datetime) -> list[datetime]:
    """Return the moments after *start*, up to *end*, at which a price of the model may change.

    Listed prices change at midnight of a date, or at a time of day; both are of UTC.
    """
    conditional = listed.info.prices if isinstance(listed.info.prices, list) else []
    rules = [each.constraint for each in (*conditional, *(listed.info.price_variants or ()))]
    days = [start.date() + timedelta(days=n) for n in range((end.date() - start.date()).days + 1)]
    moments: set[datetime] = set()
    for rule in rules:
        if isinstance(date := getattr(rule, "start_date", None), date_):
            moments.add(datetime.combine(date, time.min, UTC))
        for name in ("start_time", "end_time"):
            if isinstance(clock := getattr(rule, name, None), time):
                # A time without a zone is one of UTC.
                zone = clock.tzinfo or UTC
                moments |= {datetime.combine(day, clock, zone).astimezone(UTC) for day in days}
    return sorted(moment for moment in moments if start < moment <= end)


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


@dataclass(frozen=True, slots=True)
class ListedCounter:
    """One counter the list knows: where it stands in the usage, and the kind it adds to."""

    path: str
    kind: str
    required: bool


@dataclass(frozen=True, slots=True)
class ListedCounters:
    """The counters of one provider's API flavour."""

    root: tuple[str, ...]
    counters: tuple[ListedCounter, ...]


def listed_counters(provider: str) -> dict[str, ListedCounters]:
    """Return the counters the list names for each API flavour of a provider.

    Counters that it picks out of lists by a label are left out: whoever reads by this table sees
    them as unknown.
    """
    listed = _providers().get(provider)
    return {
        extractor.api_flavor: ListedCounters(
            (extractor.root,)
            if isinstance(extractor.root, str)
            else tuple(map(str, extractor.root)),
            tuple(
                ListedCounter(path, mapping.dest, mapping.required)
                for mapping in extractor.mappings
                if (path := _dotted(mapping.path)) is not None
            ),
        )
        for extractor in (listed.extractors if listed else None) or ()
    }


def _dotted(path: "ExtractPath") -> str | None:
    """Return the path with dots; `None` if a step of it is chosen by a label."""
    if isinstance(path, str):
        return path
    steps = [step for step in path if isinstance(step, str)]
    return ".".join(steps) if len(steps) == len(path) else None


@cache
def _providers() -> "dict[str, Provider]":
    # The bundled list itself, not the package's replaceable global snapshot: a book never changes.
    from genai_prices.data import providers  # noqa: PLC0415 - see the module's docstring

    return {provider.id: provider for provider in providers}
