"""The price book: what a model costs at a moment; the user's prices first, then the price list."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from earmark.clock import NANOS_PER_SECOND, to_datetime
from earmark.errors.inputs import wrong_argument
from earmark.pricing import snapshot
from earmark.pricing.bill import Rate, how_to_price, unpriced
from earmark.pricing.own import OwnPrices, own_rates
from earmark.pricing.price import Price, Tariff
from earmark.pricing.units import UNITS
from earmark.pricing.usage import AUTO, STANDARD, tier_name

__all__ = ["Price", "PriceBook"]

#: How long a call may wait and take, unless whoever asks for its price knows better.
LONGEST_CALL_NS: Final = 3600 * NANOS_PER_SECOND

#: Listed prices kept, each of one model in one minute.
_REMEMBERED: Final = 1024
#: Of a name, as a message shows it.
_SHOWN: Final = 100
_MINUTE: Final = 60 * NANOS_PER_SECOND


class PriceBook:
    """Prices of models by provider, name and moment; immutable, offline, safe to share by threads.

    Args:
        own: The user's prices by `provider/model` and price key; they come before the list's.
        allow_free: Names (`provider/model`) that may run though their price is 0.

    Raises:
        InvalidConfig: An own price is wrong; says where.
    """

    def __init__(self, own: OwnPrices | None = None, allow_free: Collection[str] = ()) -> None:
        if not isinstance(own, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
            want = '{"provider/model": {"input_mtok": "1", "output_mtok": "2"}}'
            raise wrong_argument("own", own, want)
        self._own = {name: own_rates(name, prices) for name, prices in (own or {}).items()}
        self._allow_free = frozenset(_names(allow_free))

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

        What it costs is its cost then; what bounds it is the dearest price from then until
        *within_ns* later: a call may wait before it is sent, and some prices are those of a time of
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
                of 0 that nobody allowed.
        """
        _check_names(model, provider)
        own = self._own_name(model, provider)
        if own:
            found = self._resolve_own(own)
        else:
            last_minute = (at + within_ns) // _MINUTE
            found = _listed(*_named(model, provider), at // _MINUTE, last_minute)
        price = replace(found, at=at, allowed=_allowed(found, tier_name(tier)))
        if _is_free(price) and self._allow_free.isdisjoint({price.name, model}):
            allow = f'earmark.PriceBook(allow_free=["{price.name}"])'
            raise unpriced(
                f"'{price.name}' is priced 0: allow it by {allow}, or in earmark.toml by"
                f" admission.allow_free; or give it a price {how_to_price(price.name)}"
            )
        return price

    def other_maker(self, model: str, provider: str) -> str | None:
        """Return who makes *model*, where that is not *provider*, which has no price for it."""
        if self._own_name(model, provider) or snapshot.find(provider, model):
            return None
        maker = snapshot.maker(model)
        return None if maker == provider else maker

    def _own_name(self, model: str, provider: str | None) -> str | None:
        names = [f"{provider}/{model}"] if provider else []
        if provider is None or model.startswith(f"{provider}/"):
            names.append(model)
        return next((name for name in names if name in self._own), None)

    def _resolve_own(self, name: str) -> Price:
        provider, _, model = name.partition("/")
        tariff = Tariff(STANDARD, self._own[name])
        return Price(provider=provider, model=model, at=0, source="own", tariffs=(tariff,))


def check_book(given: PriceBook | None) -> PriceBook:
    """Return *given* if it is a price book; the price list alone where none is given.

    Raises:
        InvalidUsage: It is another thing, such as a dict of prices.
    """
    if not isinstance(given, PriceBook | None):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        want = 'earmark.PriceBook({"provider/model": {"input_mtok": "1", "output_mtok": "2"}})'
        raise wrong_argument("the book", given, want)
    return _LIST_ALONE if given is None else given


@lru_cache(maxsize=_REMEMBERED)
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
    found = snapshot.tariffs(listed, start)
    # Each once, in the order in which they begin.
    later = dict.fromkeys(
        snapshot.tariffs(listed, moment) for moment in snapshot.changes(listed, start, end)
    )
    for each in (found, *later):
        _check_billable(name, listed.model, each)
    choices = tuple(tariff.tier for tariff in found if "=" in tariff.tier)
    return Price(
        provider=provider,
        model=model,
        at=instant,
        source=f"{snapshot.version()}: {listed.provider}/{listed.model}",
        tariffs=found,
        later=tuple(each for each in later if each != found),
        allowed=(STANDARD, *choices),
        context_window=_window(listed.info.context_window, found),
    )


def _check_names(model: object, provider: object) -> None:
    if not isinstance(model, str):
        raise wrong_argument("the model", model, "its name, such as 'gpt-4o'")
    if not isinstance(provider, str | None):
        raise wrong_argument("the provider", provider, "its name, such as 'openai'")


def _names(given: Collection[str]) -> Collection[str]:
    # Of a bare text, every letter would be a name.
    if (
        isinstance(given, str)
        or not isinstance(given, Collection)  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        or not all(isinstance(each, str) for each in given)  # pyright: ignore[reportUnnecessaryIsInstance]
    ):
        raise wrong_argument("allow_free", given, 'names of models, such as ["local/m"]')
    return given


def _named(model: str, provider: str | None) -> tuple[str, str]:
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
        near = _did_you_mean(snapshot.nearest(model))
        how = f"name its provider, as in 'openai/{model:.{_SHOWN}}'"
        raise unpriced(f"no price for model '{model:.{_SHOWN}}': {near}{how}")
    return owner, model


def _not_listed(provider: str, model: str) -> str:
    """Return what to do about a model, or a provider, that no list has."""
    if snapshot.has_provider(provider):
        what, near = f"model '{model:.{_SHOWN}}' of '{provider}'", snapshot.nearest(model, provider)
    else:
        what, near = f"provider '{provider:.{_SHOWN}}'", snapshot.nearest_provider(provider)
    how = how_to_price(f"{provider:.{_SHOWN}}/{model:.{_SHOWN}}")
    return f"no price for {what}: {_did_you_mean(near)}give it one {how}"


def _did_you_mean(near: str | None) -> str:
    return "" if near is None else f"did you mean '{near}'? Else "


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


def _check_billable(name: str, model: str, found: tuple[Tariff, ...]) -> None:
    if not all(tariff.rates for tariff in found):
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


def _window(tokens: int | None, found: tuple[Tariff, ...]) -> int | None:
    """Return the context window, unless the price list contradicts it.

    The list has models with a 200,000-token window and a dearer rate above 200,000 tokens: a window
    that can be passed bounds nothing.
    """
    starts = [start for tariff in found for rate in tariff.rates for start, _ in rate.steps]
    if tokens is None or tokens <= max(starts, default=0):
        return None
    return tokens


_LIST_ALONE: Final = PriceBook()
