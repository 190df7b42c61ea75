"""Exact integer arithmetic over the rates of one service tier."""

from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Final

from earmark.errors import BudgetExceeded, InvalidUsage, Reason
from earmark.money import LARGEST_NANOS, NANOS_PER_USD, Money
from earmark.pricing.units import UNITS, billed_within
from earmark.pricing.usage import Usage


def unpriced(detail: str) -> BudgetExceeded:
    """Return the refusal of something whose cost is unknown; *detail* says what, and the remedy."""
    return BudgetExceeded(reason=Reason.UNPRICED, budget="", detail=detail)


_LONGEST_KIND: Final = 60
#: Below this similarity a name is not suggested: `prompt_tokens` is no `output_tokens`.
_SIMILARITY: Final = 0.85


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one kind of unit: USD per million tokens, thousand searches, or hour."""

    kind: str
    usd: Decimal
    steps: tuple[tuple[int, Decimal], ...] = ()
    """(input tokens, USD): above so many input tokens the *whole* call is billed at this rate."""

    def usd_above(self, start: int) -> Decimal:
        """Return the USD that hold for more than *start* input tokens; -1 for the first step."""
        passed = [usd for above, usd in self.steps if above <= start]
        return passed[-1] if passed else self.usd


@dataclass(frozen=True, slots=True)
class CostFunction:
    """`(fixed + slope * output tokens) / divisor` nano-dollars, rounded up."""

    fixed: int
    slope: int
    divisor: int

    def nanos(self, output_tokens: int) -> int:
        """Return the nano-dollars for so many output tokens, rounded up."""
        return -(-(self.fixed + self.slope * output_tokens) // self.divisor)

    def max_output(self, nanos: int) -> int | None:
        """Return the most output tokens that cost at most *nanos*: -1 for none, `None` for any."""
        available = nanos * self.divisor - self.fixed
        if available < 0:
            return -1
        return available // self.slope if self.slope else None


@dataclass(frozen=True, slots=True)
class RateTable:
    """The rates of one tier over one common divisor, so that a cost is a few integer products."""

    kinds: tuple[str, ...]
    """Priced kinds, parts before their wholes."""
    parts: tuple[tuple[int, ...], ...]
    """For each kind, where its priced parts stand in *kinds*."""
    starts: tuple[int, ...]
    """Input tokens above which the next row of *rates* holds."""
    rates: tuple[tuple[int, ...], ...]
    """Nano-dollars of one unit, times *divisor*: a row for each step, a column for each kind."""
    per_call: tuple[int, ...]
    """Nano-dollars of the request itself, times *divisor*, for each step."""
    divisor: int

    def nanos(self, usage: Usage, name: str) -> int:
        """Return the cost of *usage* in nano-dollars, rounded up once; *name* is for refusals."""
        counts = usage.counts
        step = bisect_left(self.starts, counts.get("input_tokens", 0)) if self.starts else 0
        total = self.per_call[step]
        remaining: list[int] = []
        for kind, parts, rate in zip(self.kinds, self.parts, self.rates[step], strict=True):
            count = counts.get(kind, 0)
            for part in parts:
                count -= remaining[part]
            if count < 0:
                raise InvalidUsage(detail=_contradiction(kind, usage))
            remaining.append(count)
            total += count * rate
        for kind in counts:
            if kind not in self.kinds:
                self._check_part(kind, usage, name)
        nanos = -(-total // self.divisor)
        if nanos > LARGEST_NANOS:
            raise InvalidUsage(detail=f"one call of {Money.nanos(nanos)} USD is not credible")
        return nanos

    def priced_whole(self, kind: str) -> str | None:
        """Return the priced kind that *kind* is billed in, itself maybe; `None` has no price."""
        return billed_within(kind, frozenset(self.kinds))

    def rate_of_fee(self, kind: str, step: int, name: str) -> int:
        """Return the rate of a unit beside tokens, such as a web search; times *divisor*."""
        if kind not in self.kinds:
            raise unpriced(no_price(name, kind))
        return self.rates[step][self.kinds.index(kind)]

    def cost_functions(
        self, tokens: tuple[int, int], excluded: Collection[str], fees: Usage, name: str
    ) -> Iterator[CostFunction]:
        """Yield one line for each step the input can reach; their maximum bounds the cost.

        *tokens* are the most input and output tokens; *excluded* the kinds that cannot be billed.
        """
        max_input, max_output = tokens
        self._check_bounded({*excluded, *fees.counts}, name)
        inputs = self._columns("input", excluded, name) if max_input else ()
        outputs = self._columns("output", excluded, name) if max_output else ()
        for step, start in enumerate((-1, *self.starts)):
            if step and start >= max_input:
                return
            rates = self.rates[step]
            # Fewer tokens can be dearer where a later step is cheaper: each step up to its own end.
            end = min(max_input, *self.starts[step : step + 1], max_input)
            fees_here = sum(n * self.rate_of_fee(k, step, name) for k, n in fees.counts.items())
            yield CostFunction(
                fixed=self.per_call[step]
                + fees_here
                + end * max((rates[i] for i in inputs), default=0),
                slope=max((rates[i] for i in outputs), default=0),
                divisor=self.divisor,
            )

    def _check_bounded(self, bounded: Collection[str], name: str) -> None:
        for kind in _billed_beside_tokens(self.kinds):
            if kind not in bounded:
                raise unpriced(
                    f"'{name}' bills {kind} too, which has no bound: use a declared cost"
                )

    def _columns(self, direction: str, excluded: Collection[str], name: str) -> tuple[int, ...]:
        columns = _token_columns(self.kinds, direction, frozenset(excluded))
        if not columns:
            raise unpriced(no_price(name, f"{direction}_tokens"))
        return columns

    def _check_part(self, kind: str, usage: Usage, name: str) -> None:
        whole = self.priced_whole(kind)
        if whole is None:
            raise unpriced(no_price(name, kind))
        if usage.get(kind) > usage.get(whole):
            raise InvalidUsage(detail=_contradiction(whole, usage))


def no_price(name: str, kind: str) -> str:
    """Return the message for a kind without a price, with the remedy."""
    if kind not in UNITS:
        return f"'{name}' has no price for {not_a_kind(kind)}"
    return f"'{name}' has no price for {kind}: give {how_to_price(name, UNITS[kind].price_key)}"


def not_a_kind(kind: str) -> str:
    """Return the message that *kind* names no unit, with the names that exist."""
    suggestion = get_close_matches(kind[:_LONGEST_KIND], UNITS, n=1, cutoff=_SIMILARITY)
    suggestion = f"did you mean {suggestion[0]}? Else " if suggestion else ""
    return (
        f"{kind:.{_LONGEST_KIND}}, which is no kind of unit: {suggestion}give input_tokens,"
        " output_tokens, cache_read_tokens, cache_write_tokens, web_searches …, or the provider's"
        " reply as it came"
    )


def how_to_price(name: str, *keys: str) -> str:
    """Return how a program and a file set a price: its *keys*, input and output if none.

    It completes a sentence that begins with "give".
    """
    prices = ", ".join(f'"{key}": …' for key in keys or ("input_mtok", "output_mtok"))
    book = f'book=earmark.PriceBook({{"{name}": {{{prices}}}}})'
    named = f"{', '.join(keys)} " if keys else ""
    return f'{named}by {book}, or in earmark.toml under [prices."{name}"]'


def _contradiction(whole: str, usage: Usage) -> str:
    parts = [
        f"{kind} {count}"
        for kind, count in usage.counts.items()
        if kind != whole and kind in UNITS and whole in UNITS and UNITS[whole].includes(UNITS[kind])
    ]
    return f"{', '.join(parts)} cannot be part of {whole} {usage.get(whole)}"


@lru_cache(maxsize=4096)
def _token_columns(
    kinds: tuple[str, ...], direction: str, excluded: frozenset[str]
) -> tuple[int, ...]:
    """Return where the *kinds* of tokens of one *direction* stand, but for those *excluded*."""
    return tuple(
        index
        for index, kind in enumerate(kinds)
        if kind not in excluded
        and UNITS[kind].family == "tokens"
        and UNITS[kind].dimension("direction") == direction
    )


@lru_cache(maxsize=4096)
def _billed_beside_tokens(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return those *kinds* that are neither tokens nor calls of tools."""
    return tuple(kind for kind in kinds if UNITS[kind].family not in {"tokens", "tool_calls"})


@lru_cache(maxsize=4096)
def make_rate_table(rates: tuple[Rate, ...]) -> RateTable:
    """Return *rates* ready for arithmetic; equal rates share one bill."""
    billed = sorted(
        (rate for rate in rates if rate.kind != "requests"),
        key=lambda rate: (-len(UNITS[rate.kind].dimensions), rate.kind),
    )
    units = [UNITS[rate.kind] for rate in billed]
    starts = sorted({start for rate in rates for start, _ in rate.steps})
    rows = [[_nanos(rate, start) for rate in billed] for start in (-1, *starts)]
    requests = [rate for rate in rates if rate.kind == "requests"]
    calls = [sum((_nanos(r, s) for r in requests), Fraction(0)) for s in (-1, *starts)]
    divisor = lcm(*(f.denominator for row in (*rows, calls) for f in row))
    return RateTable(
        kinds=tuple(unit.kind for unit in units),
        parts=tuple(
            tuple(i for i, part in enumerate(units[:at]) if whole.includes(part))
            for at, whole in enumerate(units)
        ),
        starts=tuple(starts),
        rates=tuple(tuple(int(f * divisor) for f in row) for row in rows),
        per_call=tuple(int(f * divisor) for f in calls),
        divisor=divisor,
    )


def _nanos(rate: Rate, start: int) -> Fraction:
    return Fraction(rate.usd_above(start)) * NANOS_PER_USD / UNITS[rate.kind].per
