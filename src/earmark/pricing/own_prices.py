"""The user's own prices, from `earmark.toml`: exact, checked once, before any price list."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from earmark.errors import InvalidConfig
from earmark.errors.inputs import shown, wrong_argument
from earmark.pricing.rates import Rate
from earmark.pricing.units import UNITS_BY_PRICE_KEY, missing_prices

#: Own prices by `provider/model`, then by price key: `{"local/m": {"input_mtok": "0.10", …}}`.
OwnPrices = Mapping[str, Mapping[str, object]]

#: USD for one million tokens, one thousand searches, one hour …; nobody asks for more.
_MAX_PRICE = Decimal(1_000_000)


def own_rates(name: str, prices: Mapping[str, object]) -> tuple[Rate, ...]:
    """Return the checked rates of one model.

    Args:
        name: `provider/model`.
        prices: USD by price key, such as `{"input_mtok": "0.10", "output_mtok": "0.40"}`: a decimal
            string, a Decimal or an int.

    Raises:
        InvalidConfig: The name has no provider, a key is unknown, an amount is none, or a kind is
            priced without the whole it is part of.
    """
    if not isinstance(name, str) or not isinstance(prices, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        want = '"provider/model": {"input_mtok": "1", "output_mtok": "2"}'
        raise wrong_argument("a price", prices if isinstance(name, str) else name, want)
    path = f'prices."{shown(name)}"'
    provider, slash, model = name.partition("/")
    if not (provider and slash and model):
        raise InvalidConfig(place=path, detail='a price is for "provider/model"')
    unknown = [key for key in prices if key not in UNITS_BY_PRICE_KEY]
    if unknown or not prices:
        known = "input_mtok, output_mtok, cache_read_mtok, cache_write_mtok, web_searches_kcount"
        wrong = f"{shown(unknown[0])!r} is no kind of price" if unknown else "it prices nothing"
        raise InvalidConfig(place=path, detail=f"{wrong}: give {known} …")
    rates = tuple(
        Rate(UNITS_BY_PRICE_KEY[key].kind, _usd(f"{path}.{key}", value))
        for key, value in prices.items()
    )
    missing = missing_prices(frozenset(rate.kind for rate in rates))
    if missing:
        raise InvalidConfig(place=path, detail=f"it needs a price for {', '.join(missing)} too")
    return rates


def _usd(path: str, value: object) -> Decimal:
    if isinstance(value, bool | float) or not isinstance(value, str | int | Decimal):
        raise InvalidConfig(
            place=path, detail='USD as a decimal string, such as "0.10", not a float'
        )
    try:
        usd = Decimal(value) if len(str(value)) <= 40 else Decimal("NaN")  # noqa: PLR2004
    except InvalidOperation:
        usd = Decimal("NaN")
    if not (usd.is_finite() and 0 <= usd <= _MAX_PRICE):
        raise InvalidConfig(
            place=path, detail=f"{shown(value)!r} is not from 0 to {_MAX_PRICE} USD"
        )
    if usd and usd.adjusted() < -20:  # noqa: PLR2004 - twenty places keep the arithmetic short
        raise InvalidConfig(place=path, detail=f"{shown(value)!r} has more than 20 places")
    return usd
