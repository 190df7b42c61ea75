"""The price book: what a model costs at a moment; the user's prices first, then the price list."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar, Final

from earmark.clock import NANOS_PER_SECOND, to_datetime
from earmark.errors.inputs import wrong_argument
from earmark.pricing import snapshot
from earmark.pricing.own_prices import OwnPrices, own_rates
from earmark.pricing.price import Price, Tariff
from earmark.pricing.rates import Rate, how_to_price, unpriced
from earmark.pricing.units import UNITS
from earmark.pricing.usage import AUTO, STANDARD, tier_name

__all__ = ["Price", "PriceBook"]

#: How long a call may wait and take, by default.
LONGEST_CALL_NS: Final = 3600 * NANOS_PER_SECOND

#: Listed prices kept, each of one model in one minute.
_CACHE_SIZE: Final = 1024
#: The most characters of a name in a message.
_MAX_NAME: Final = 100
_MINUTE: Final = 60 * NANOS_PER_SECOND


class PriceBook:
    """Prices of models by provider, name and moment; immutable, offline, safe to share by threads.

    Args:
        own: The user's prices by `provider/model` and price key; they come before the list's.
        allow_free: Names (`provider/model`) that may run though their price is 0.

    Raises:
        InvalidConfig: An own price is wrong; says where.
    """

    #: Whether a model's name is the provider's own, so that a provider before it is a part of it.
    _is_exact: ClassVar[bool] = False

    def __init__(self, own: OwnPrices | None = None, allow_free: Collection[str] = ()) -> None:
        if not isinstance(own, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
            want = '{"provider/model": {"input_mtok": "1", "output_mtok": "2"}}'
            raise wrong_argument("own", own, want)
        self._own = {name: own_rates(name, prices) for name, prices in (own or {}).items()}
        self._allow_free = frozenset(_check_model_names(allow_free))

    def resolve(
        self,
        model: str,
        *,
        provider: str | None = None,
        at: int,
        tier: str | None = None,
        within_ns: int = LONGEST_CALL_NS,
    ) -> Price:
        """Return the model's price pinned at the instant *at*.

        Its cost is computed by the price then, its bound by the highest price from then until
        *within_ns* later: a call may wait before it is sent, and some prices depend on the time of
        day.

        Args:
            model: The model's name, or `provider/model`; a bare name is its maker's.
            provider: Who is called, by the price list's id or the name of an own price.
            at: The instant of the call.
            tier: The service tier asked for; `None` is the list price, `auto` the dearest the
                provider may choose.
            within_ns: How much later the call can end, waiting and timeout included.

        Raises:
            BudgetExceeded: With reason `unpriced`: an unknown provider, model or tier, or a price
                of 0 that is not allowed.
        """
        _check_names(model, provider)
        own = self._own_name(model, provider)
        if own:
            price = self._resolve_own(own)
        else:
            last_minute = (at + within_ns) // _MINUTE
            named = (
                (provider, model)
                if self._is_exact and provider is not None
                else _provider_and_model(model, provider)
            )
            price = _listed(*named, at // _MINUTE, last_minute)
        price = replace(price, at=at, allowed=_allowed(price, tier_name(tier)))
        names = {price.name} if self._is_exact else {price.name, model}
        if _is_free(price) and self._allow_free.isdisjoint(names):
            allow = f'earmark.PriceBook(allow_free=["{price.name}"])'
            raise unpriced(
                f"'{price.name}' is priced 0: allow it by {allow}, or in earmark.toml by"
                f" admission.allow_free; or give it a price {how_to_price(price.name)}"
            )
        return price

    def other_maker(self, model: str, provider: str) -> str | None:
        """Return the maker of *model*, where that is not *provider*, which has no price for it."""
        if self._own_name(model, provider) or snapshot.find(provider, model):
            return None
        maker = snapshot.maker(model)
        return None if maker == provider else maker

    def _own_name(self, model: str, provider: str | None) -> str | None:
        names = [f"{provider}/{model}"] if provider else []
        if provider is None or (not self._is_exact and model.startswith(f"{provider}/")):
            names.append(model)
        return next((name for name in names if name in self._own), None)

    def _resolve_own(self, name: str) -> Price:
        provider, _, model = name.partition("/")
        tariff = Tariff(STANDARD, self._own[name])
        return Price(provider=provider, model=model, at=0, source="own", tariffs=(tariff,))


class ExactPriceBook(PriceBook):
    """Prices by provider and by its own name for a model, which is not read for a provider again.

    A router sells `openai/m` as a model of its own: `local/openai/m`; and `local/m` of the provider
    `local` is `local/local/m`.
    """

    _is_exact: ClassVar[bool] = True


def check_book(book: PriceBook | None) -> PriceBook:
    """Return *book* if it is a price book; the price list alone where none is given.

    Raises:
        InvalidUsage: It is another thing, such as a dict of prices.
    """
    if not isinstance(book, PriceBook | None):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        want = 'earmark.PriceBook({"provider/model": {"input_mtok": "1", "output_mtok": "2"}})'
        raise wrong_argument("the book", book, want)
    return _LIST_ALONE if book is None else book


@lru_cache(maxsize=_CACHE_SIZE)
def _listed(provider: str, model: str, minute: int, last_minute: int) -> Price:
    """Return the listed price; look-ups within one minute share it.

    No listed price changes within a minute of UTC: they change at midnight or at a time of day.
    """
    name = f"{provider}/{model}"
    listed = snapshot.find(provider, model)
    if listed is None:
        raise unpriced(_not_listed(provider, model))
    instant = minute * _MINUTE
    start, end = to_datetime(instant), to_datetime(last_minute * _MINUTE)
    tariffs = snapshot.tariffs(listed, start)
    # Each once, in the order in which they begin.
    later = dict.fromkeys(
        snapshot.tariffs(listed, moment) for moment in snapshot.changes(listed, start, end)
    )
    for each in (tariffs, *later):
        _check_billable(name, listed.model, each)
    choices = tuple(tariff.tier for tariff in tariffs if "=" in tariff.tier)
    return Price(
        provider=provider,
        model=model,
        at=instant,
        source=f"{snapshot.version()}: {listed.provider}/{listed.model}",
        tariffs=tariffs,
        later=tuple(each for each in later if each != tariffs),
        allowed=(STANDARD, *choices),
        context_window=_window(listed.info.context_window, tariffs),
    )


def _check_names(model: object, provider: object) -> None:
    if not isinstance(model, str):
        raise wrong_argument("the model", model, "its name, such as 'gpt-4o'")
    if not isinstance(provider, str | None):
        raise wrong_argument("the provider", provider, "its name, such as 'openai'")


def _check_model_names(names: Collection[str]) -> Collection[str]:
    # In a string, every letter would be a name.
    if (
        isinstance(names, str)
        or not isinstance(names, Collection)  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        or not all(isinstance(each, str) for each in names)  # pyright: ignore[reportUnnecessaryIsInstance]
    ):
        raise wrong_argument("allow_free", names, 'names of models, such as ["local/m"]')
    return names


def _provider_and_model(model: str, provider: str | None) -> tuple[str, str]:
    """Return the provider and its name for the model."""
    if provider is not None:
        # Some names start with their maker's: openrouter lists `openrouter/auto`.
        return provider, model if snapshot.find(provider, model) else model.removeprefix(
            f"{provider}/"
        )
    first, slash, rest = model.partition("/")
    if slash and (snapshot.has_provider(first) or not snapshot.maker(model)):
        return first, rest
    owner = snapshot.maker(model)
    if owner is None:
        suggestion = _did_you_mean(snapshot.nearest(model))
        advice = f"name its provider, as in 'openai/{model:.{_MAX_NAME}}'"
        raise unpriced(f"no price for model '{model:.{_MAX_NAME}}': {suggestion}{advice}")
    return owner, model


def _not_listed(provider: str, model: str) -> str:
    """Return the advice for a model, or a provider, that no list has."""
    if snapshot.has_provider(provider):
        missing = f"model '{model:.{_MAX_NAME}}' of '{provider}'"
        suggestion = snapshot.nearest(model, provider)
    else:
        missing = f"provider '{provider:.{_MAX_NAME}}'"
        suggestion = snapshot.nearest_provider(provider)
    advice = how_to_price(f"{provider:.{_MAX_NAME}}/{model:.{_MAX_NAME}}")
    return f"no price for {missing}: {_did_you_mean(suggestion)}give it one {advice}"


def _did_you_mean(suggestion: str | None) -> str:
    return "" if suggestion is None else f"did you mean '{suggestion}'? Else "


def _allowed(price: Price, tier: str) -> tuple[str, ...]:
    """Return the tiers that a request for *tier* can be billed at."""
    if tier == STANDARD:
        return price.allowed
    sold = [tariff.tier for tariff in price.tariffs]
    if tier == AUTO:
        # A batch is another request, sent on purpose; any other tier may be the account's default.
        return tuple(name for name in sold if name != "batch")
    if tier not in sold:
        known = ", ".join(sold)
        raise unpriced(
            f"'{price.name}' has no price for service tier '{tier:.40}', only for {known}"
        )
    # "This response value may be different from the value set in the parameter" (OpenAI API
    # reference, `service_tier`); Google serves a tier that is full as standard ("Priority
    # inference"); 2026-11. No batch is answered at once.
    return (tier,) if tier == "batch" else (tier, *(each for each in (STANDARD,) if each in sold))


def _check_billable(name: str, model: str, tariffs: tuple[Tariff, ...]) -> None:
    if not all(tariff.rates for tariff in tariffs):
        raise unpriced(f"no complete price for '{name}': give it one {how_to_price(name)}")
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
    return UNITS[rate.kind].family != "tool_calls"


def _window(tokens: int | None, tariffs: tuple[Tariff, ...]) -> int | None:
    """Return the context window, unless the price list contradicts it.

    The list has models with a 200,000-token window and a dearer rate above 200,000 tokens: a window
    that can be passed bounds nothing.
    """
    starts = [start for tariff in tariffs for rate in tariff.rates for start, _ in rate.steps]
    if tokens is None or tokens <= max(starts, default=0):
        return None
    return tokens


_LIST_ALONE: Final = PriceBook()
