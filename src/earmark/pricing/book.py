"""The price book: what a model costs at a moment; the user's prices first, then the price list."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from earmark.clock import to_datetime
from earmark.pricing import snapshot
from earmark.pricing.bill import Rate, unpriced
from earmark.pricing.own import OwnPrices, own_rates
from earmark.pricing.price import Price, Tariff
from earmark.pricing.units import UNITS
from earmark.pricing.usage import AUTO, STANDARD, Usage, tier_name

__all__ = ["Price", "PriceBook"]

#: Look-ups kept; each is one model at one moment.
_REMEMBERED: Final = 1024


class PriceBook:
    """Prices of models by provider, name and moment; immutable, offline, safe to share by threads.

    Args:
        own: The user's prices by `provider/model` and price key; they come before the list's.
        allow_free: Names (`provider/model`) that may run though their price is 0.

    Raises:
        InvalidConfig: An own price is wrong; says where.
    """

    def __init__(self, own: OwnPrices | None = None, allow_free: Collection[str] = ()) -> None:
        self._own = {name: own_rates(name, prices) for name, prices in (own or {}).items()}
        self._allow_free = frozenset(allow_free)
        self._listed = lru_cache(maxsize=_REMEMBERED)(self._resolve_listed)

    def resolve(
        self, model: str, *, provider: str | None = None, at: int, tier: str | None = None
    ) -> Price:
        """Return the model's price pinned at the instant *at*.

        Args:
            model: The model's name, or `provider/model`; a bare name is its maker's.
            provider: Who is called, by the price list's id or the name of an own price.
            at: The instant of the call.
            tier: The service tier asked for; `None` is the list price, `auto` the dearest the
                provider may choose.

        Raises:
            BudgetExceeded: With reason `unpriced`: an unknown provider, model or tier, or a price of
                0 that nobody allowed.
        """
        own = self._own_name(model, provider)
        price = self._resolve_own(own, at) if own else self._listed(*_named(model, provider), at)
        price = _at_tier(price, tier_name(tier))
        if _is_free(price) and self._allow_free.isdisjoint({price.name, model}):
            raise unpriced(
                f"'{price.name}' is priced 0: allow it by name, or give it a price under"
                f' [prices."{price.name}"]'
            )
        return price

    def usage(
        self,
        body: Mapping[str, Any],
        *,
        provider: str,
        model: str | None = None,
        api: str | None = None,
    ) -> Usage:
        """Return the usage a provider's reply reports, with the service tier it names.

        Args:
            body: The decoded reply, its `usage` block included.
            provider: Who answered.
            model: Not needed to read; kept so that callers name what they read.
            api: The dialect (`openai`, `anthropic`) or the price list's name of the API flavour;
                `None` tries the provider's flavours in turn.

        Raises:
            InvalidUsage: The reply names no usage, or counts that cannot be.
        """
        del model
        return snapshot.read_usage(body, provider, api)

    def _own_name(self, model: str, provider: str | None) -> str | None:
        names = [f"{provider}/{model}"] if provider else []
        if provider is None or model.startswith(f"{provider}/"):
            names.append(model)
        return next((name for name in names if name in self._own), None)

    def _resolve_own(self, name: str, at: int) -> Price:
        provider, _, model = name.partition("/")
        tariff = Tariff(STANDARD, self._own[name])
        return Price(provider=provider, model=model, at=at, source="own", tariffs=(tariff,))

    def _resolve_listed(self, provider: str, model: str, at: int) -> Price:
        name = f"{provider}/{model}"
        listed = snapshot.find(provider, model)
        if listed is None:
            known = snapshot.has_provider(provider)
            what = f"model '{model}' of '{provider}'" if known else f"provider '{provider}'"
            raise unpriced(f'no price for {what}: give it one under [prices."{name}"]')
        found = snapshot.tariffs(listed, to_datetime(at))
        _check_billable(name, listed.model, found)
        choices = tuple(tariff.tier for tariff in found if "=" in tariff.tier)
        return Price(
            provider=provider,
            model=model,
            at=at,
            source=f"{snapshot.version()}: {listed.provider}/{listed.model}",
            tariffs=found,
            allowed=(STANDARD, *choices),
            context_window=_window(listed.info.context_window, found),
        )


def _named(model: str, provider: str | None) -> tuple[str, str]:
    if provider is not None:
        known = model.removeprefix(f"{provider}/") if not snapshot.find(provider, model) else model
        return provider, known
    first, slash, rest = model.partition("/")
    if slash and (snapshot.has_provider(first) or not snapshot.maker(model)):
        return first, rest
    owner = snapshot.maker(model)
    if owner is None:
        raise unpriced(f"no price for model '{model}': name its provider, as in 'openai/{model}'")
    return owner, model


def _at_tier(price: Price, tier: str) -> Price:
    sold = [tariff.tier for tariff in price.tariffs]
    if tier == STANDARD:
        return price
    allowed = tuple(name for name in sold if name != "batch") if tier == AUTO else (tier,)
    if tier != AUTO and tier not in sold:
        raise unpriced(
            f"'{price.name}' has no price for service tier '{tier}', only for {', '.join(sold)}"
        )
    return Price(
        provider=price.provider,
        model=price.model,
        at=price.at,
        source=price.source,
        tariffs=price.tariffs,
        allowed=allowed,
        context_window=price.context_window,
    )


def _check_billable(name: str, model: str, found: tuple[Tariff, ...]) -> None:
    if not all(tariff.rates for tariff in found):
        raise unpriced(f"no complete price for '{name}': give it one under [prices.\"{name}\"]")
    if name.startswith("groq/") and model.startswith("whisper"):
        # Groq bills at least ten seconds a request, which a rate by the second cannot say.
        raise unpriced(f"'{name}' bills a minimum per request: use a declared cost")


def _is_free(price: Price) -> bool:
    return any(
        all(not _charges(rate) for rate in tariff.rates if _is_basic(rate))
        for tariff in price.tariffs
        if tariff.tier in price.allowed
    )


def _charges(rate: Rate) -> bool:
    return bool(rate.usd) or any(usd for _, usd in rate.steps)


def _is_basic(rate: Rate) -> bool:
    # A search fee does not make a model that gives its tokens away a priced one.
    return ("family", "tool_calls") not in UNITS[rate.kind].dimensions


def _window(tokens: int | None, found: tuple[Tariff, ...]) -> int | None:
    """Return the context window, unless the price list contradicts it.

    The list has models with a 200,000-token window and a dearer rate above 200,000 tokens: a window
    that can be passed bounds nothing.
    """
    starts = [start for tariff in found for rate in tariff.rates for start, _ in rate.steps]
    if tokens is None or tokens <= max(starts, default=0):
        return None
    return tokens
