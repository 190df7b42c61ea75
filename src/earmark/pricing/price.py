"""A price pinned at one moment: exact numbers, independent of any price list."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from earmark.money import Money
from earmark.pricing.rates import CostFunction, Rate, RateTable, make_rate_table, no_price, unpriced
from earmark.pricing.usage import STANDARD, Usage

_NO_FEES: Final = Usage()


@dataclass(frozen=True, slots=True)
class Tariff:
    """The rates of one service tier."""

    tier: str
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model's units cost, fixed at one moment; serialisable, hashable, immutable.

    Holds every tier the provider sells the model at, because a reply may be billed at another tier
    than was asked for; *allowed* are those the request can be billed at, which `worst` is over.
    """

    provider: str
    model: str
    at: int
    """The instant the price was looked up for."""
    source: str
    """Where the numbers are from: `own`, or the price list and its version."""
    tariffs: tuple[Tariff, ...]
    allowed: tuple[str, ...] = (STANDARD,)
    context_window: int | None = None
    """The most input tokens the model takes, where the price list knows it."""
    later: tuple[tuple[Tariff, ...], ...] = ()
    """What it costs at the moments until the call's end at which the price changes: a bound is over
    these too, a cost is of `tariffs` alone."""
    _rate_tables: Mapping[str, RateTable] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rate_tables", _rate_tables_of(self.tariffs))

    @property
    def name(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    def cost(self, usage: Usage) -> Money:
        """Return the exact cost of *usage*, rounded up once to a whole nano-dollar.

        Billed at the tier the usage names, else at the dearest allowed one.

        Raises:
            BudgetExceeded: With reason `unpriced`: a counted kind, or the tier, has no price.
            InvalidUsage: The counts contradict each other, or the sum is absurd.
        """
        tiers = (usage.tier,) if usage.tier else self.allowed
        return Money.nanos(max(self._rate_table(tier).nanos(usage, self.name) for tier in tiers))

    def worst(
        self,
        input_tokens: int,
        output_tokens: int,
        *,
        excluded: Collection[str] = (),
        fees: Usage = _NO_FEES,
    ) -> Money:
        """Return the most that up to so many tokens can be billed at; exact, rounded up once.

        Args:
            input_tokens: At most so many input tokens, of whatever kinds.
            output_tokens: At most so many output tokens, of all choices together.
            excluded: Kinds the request cannot be billed in, such as audio it does not ask for.
            fees: Units beside tokens the request may use up, such as web searches.

        Raises:
            BudgetExceeded: With reason `unpriced`: tokens or fees that have no price.
        """
        cost_functions = self.cost_functions(
            input_tokens, output_tokens, excluded=excluded, fees=fees
        )
        return Money.nanos(
            max(cost_function.nanos(output_tokens) for cost_function in cost_functions)
        )

    def cost_functions(
        self,
        input_tokens: int,
        output_tokens: int,
        *,
        excluded: Collection[str] = (),
        fees: Usage = _NO_FEES,
    ) -> tuple[CostFunction, ...]:
        """Return the linear functions of output tokens whose maximum is `worst`."""
        tokens = (input_tokens, output_tokens)
        return tuple(
            function
            for table in self._possible_rate_tables()
            for function in table.cost_functions(tokens, excluded, fees, self.name)
        )

    def check_priced(self, kind: str) -> None:
        """Refuse (`unpriced`) unless *kind* has a price at every tier the request allows."""
        for table in self._possible_rate_tables():
            if table.priced_whole(kind) is None:
                raise unpriced(no_price(self.name, kind))

    def _possible_rate_tables(self) -> Iterator[RateTable]:
        """Yield the rates that can apply to the call: each allowed tier, now and until its end."""
        for tier in self.allowed:
            yield self._rate_table(tier)
        for tariffs in self.later:
            tables = _rate_tables_of(tariffs)
            yield from (tables[tier] for tier in self.allowed if tier in tables)

    def rates(self, tier: str = STANDARD) -> tuple[Rate, ...]:
        """Return the rates of one tier, for people to read."""
        return next((tariff.rates for tariff in self.tariffs if tariff.tier == tier), ())

    def to_json(self) -> dict[str, Any]:
        """Return the price as strings and ints; `from_json` reads it back to an equal price."""
        return {
            "provider": self.provider,
            "model": self.model,
            "at": self.at,
            "source": self.source,
            "allowed": list(self.allowed),
            "context_window": self.context_window,
            "tariffs": _tariffs_to_json(self.tariffs),
            **({"later": [_tariffs_to_json(each) for each in self.later]} if self.later else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Price":
        """Read what `to_json` wrote."""
        return cls(
            provider=value["provider"],
            model=value["model"],
            at=value["at"],
            source=value["source"],
            allowed=tuple(value["allowed"]),
            context_window=value["context_window"],
            tariffs=_tariffs_from_json(value["tariffs"]),
            later=tuple(_tariffs_from_json(each) for each in value.get("later", ())),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Price.from_json, (self.to_json(),)

    def _rate_table(self, tier: str) -> RateTable:
        table = self._rate_tables.get(tier)
        if table is None:
            known = ", ".join(sorted(self._rate_tables))
            raise unpriced(
                f"'{self.name}' has no price for service tier '{tier}', only for {known}"
            )
        return table


def free(model: str, *, provider: str) -> Price:
    """Return the price of a call that no provider bills, whatever its model costs."""
    tariff = Tariff(STANDARD, ())
    return Price(provider=provider, model=model, at=0, source="free", tariffs=(tariff,))


def _rate_tables_of(tariffs: tuple[Tariff, ...]) -> dict[str, RateTable]:
    return {tariff.tier: make_rate_table(tariff.rates) for tariff in tariffs}


def _tariffs_to_json(tariffs: tuple[Tariff, ...]) -> dict[str, Any]:
    return {
        tariff.tier: {rate.kind: _rate_to_json(rate) for rate in tariff.rates} for tariff in tariffs
    }


def _tariffs_from_json(tariffs: Mapping[str, Mapping[str, Any]]) -> tuple[Tariff, ...]:
    return tuple(
        Tariff(tier, tuple(_rate_from_json(kind, rate) for kind, rate in rates.items()))
        for tier, rates in tariffs.items()
    )


def _rate_to_json(rate: Rate) -> Any:  # noqa: ANN401 - a JSON value
    if not rate.steps:
        return str(rate.usd)
    return {"usd": str(rate.usd), "above": [[start, str(usd)] for start, usd in rate.steps]}


def _rate_from_json(kind: str, value: Any) -> Rate:  # noqa: ANN401 - a JSON value
    if isinstance(value, str):
        return Rate(kind, Decimal(value))
    steps = tuple((int(start), Decimal(usd)) for start, usd in value["above"])
    return Rate(kind, Decimal(value["usd"]), steps)
