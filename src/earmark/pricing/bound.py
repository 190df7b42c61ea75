"""The most a call can cost, known before it is made. Pure: no network, no price list."""

from dataclasses import dataclass, field
from typing import Protocol

from earmark.errors import InvalidUsage
from earmark.money import Money
from earmark.pricing.price import Price
from earmark.pricing.rates import CostFunction
from earmark.pricing.usage import LARGEST_COUNT, Usage


class Bound(Protocol):
    """The most a call can cost; guaranteed as long as the provider keeps to what is sent."""

    @property
    def max_output_tokens(self) -> int | None:
        """The output tokens asked for, per choice; `None` if they cannot be lowered."""
        ...

    @property
    def least_output_tokens(self) -> int:
        """The fewest output tokens it can be sent with: more than its thinking budget."""
        ...

    def cost(self, max_output_tokens: int | None = None) -> Money:
        """Return the most it can cost, with so many output tokens; `None` for those asked for."""
        ...

    def tokens(self, max_output_tokens: int | None = None) -> int | None:
        """Return the most tokens it can use, for a `tokens` limit; `None` if it counts none."""
        ...

    def largest_output(self, available: Money) -> int:
        """Return the most output tokens whose cost fits *available*; 0 if none do."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBound:
    """The bound of a model call: its input can be no longer, and its output is cut off."""

    price: Price
    input_tokens: int
    """At most so many input tokens."""
    max_output_tokens: int
    """The output tokens asked for, per choice."""
    choices: int = 1
    excluded: frozenset[str] = frozenset()
    """Kinds the request cannot be billed in."""
    fees: Usage = field(default_factory=Usage)
    """Units beside tokens it can use up."""
    least_output_tokens: int = 1
    """With fewer output tokens the provider refuses the request: a thinking budget and one more."""
    context_window: int | None = None
    """The most input tokens the model takes, where the user said so."""
    _cost_functions: tuple[CostFunction, ...] = field(
        init=False, repr=False, compare=False, hash=False
    )

    def __post_init__(self) -> None:
        for name in ("input_tokens", "max_output_tokens", "choices"):
            value: object = getattr(self, name)
            if type(value) is not int or not (name == "choices") <= value <= LARGEST_COUNT:
                raise InvalidUsage(detail=f"{name} is {value!r}; it is a whole number above 0")
        cost_functions = self.price.cost_functions(
            self.input_tokens, self.max_output_tokens, excluded=self.excluded, fees=self.fees
        )
        object.__setattr__(self, "_cost_functions", cost_functions)

    def cost(self, max_output_tokens: int | None = None) -> Money:
        """Return the most it can cost, all choices together; exact, rounded up once."""
        produced = self._output(max_output_tokens) * self.choices
        return Money.nanos(
            max(cost_function.nanos(produced) for cost_function in self._cost_functions)
        )

    def tokens(self, max_output_tokens: int | None = None) -> int:
        """Return the most input and output tokens, all choices together."""
        return self.input_tokens + self._output(max_output_tokens) * self.choices

    def largest_output(self, available: Money) -> int:
        """Return the most output tokens per choice that fit, up to those asked for.

        0 where fewer fit than the request can be sent with.
        """
        most = [
            cost_function.max_output(available.in_nanos) for cost_function in self._cost_functions
        ]
        fitting = min([self.max_output_tokens, *(n // self.choices for n in most if n is not None)])
        return fitting if fitting >= self.least_output_tokens else 0

    def _output(self, max_output_tokens: int | None) -> int:
        return self.max_output_tokens if max_output_tokens is None else max_output_tokens


class DeclaredBound:
    """A bound somebody declared: a stage's own cost, a remote's quote."""

    __slots__ = ("_tokens", "amount")

    def __init__(self, amount: Money, tokens: int | None = None) -> None:
        self.amount = amount
        self._tokens = tokens

    @property
    def max_output_tokens(self) -> int | None:
        """`None`: there is nothing to lower."""
        return None

    @property
    def least_output_tokens(self) -> int:
        """Return 1: it has no output to lower."""
        return 1

    def cost(self, max_output_tokens: int | None = None) -> Money:
        """Return the declared amount."""
        del max_output_tokens
        return self.amount

    def tokens(self, max_output_tokens: int | None = None) -> int | None:
        """Return the declared tokens, if any."""
        del max_output_tokens
        return self._tokens

    def largest_output(self, available: Money) -> int:
        """Return 0: a declared cost buys no output tokens."""
        del available
        return 0

    def __repr__(self) -> str:
        return f"DeclaredBound({self.amount!r}, {self._tokens!r})"
