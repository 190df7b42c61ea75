"""The most a call can cost, known before it is made. Pure: no network, no price list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from earmark.errors import InvalidUsage
from earmark.money import Money
from earmark.pricing.bill import Line, unpriced
from earmark.pricing.price import Price
from earmark.pricing.request import Contents, fees_of, read_request
from earmark.pricing.tokens import byte_bound, count_or_bound, encoding_of
from earmark.pricing.usage import LARGEST_COUNT, Usage

#: What a chat template adds to the messages: its own words, a default system prompt, a date.
#: Measured: 25-31 tokens for SmolLM2 on llama.cpp; 3 for OpenAI; gpt-oss writes about 70.
TEMPLATE_TOKENS: Final = 128
#: What it adds to each message. OpenAI's cookbook counts 3, or 4 with a name; ChatML takes 5.
MESSAGE_TOKENS: Final = 16
#: The hidden system prompt that comes with tools or an output schema. Anthropic's tool-use guide
#: lists up to 530 tokens (2026-11).
SCHEMA_TOKENS: Final = 600


class Bound(Protocol):
    """The most a call can cost; guaranteed as long as the provider keeps to what is sent."""

    @property
    def max_output_tokens(self) -> int | None:
        """The output tokens asked for, per choice; `None` if they cannot be lowered."""
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
    never: frozenset[str] = frozenset()
    """Kinds the request cannot be billed in."""
    fees: Usage = field(default_factory=Usage)
    """Units beside tokens it can use up."""
    _lines: tuple[Line, ...] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        for name in ("input_tokens", "max_output_tokens", "choices"):
            value: object = getattr(self, name)
            if type(value) is not int or not (name == "choices") <= value <= LARGEST_COUNT:
                raise InvalidUsage(detail=f"{name} is {value!r}; it is a whole number above 0")
        lines = self.price.lines(
            self.input_tokens, self.max_output_tokens, never=self.never, fees=self.fees
        )
        object.__setattr__(self, "_lines", lines)

    def cost(self, max_output_tokens: int | None = None) -> Money:
        """Return the most it can cost, all choices together; exact, rounded up once."""
        produced = self._output(max_output_tokens) * self.choices
        return Money.nanos(max(line.nanos(produced) for line in self._lines))

    def tokens(self, max_output_tokens: int | None = None) -> int:
        """Return the most input and output tokens, all choices together."""
        return self.input_tokens + self._output(max_output_tokens) * self.choices

    def largest_output(self, available: Money) -> int:
        """Return the most output tokens per choice that fit, up to those asked for; 0 if none."""
        most = [line.most(available.in_nanos) for line in self._lines]
        fitting = [n // self.choices for n in most if n is not None]
        return max(0, min([self.max_output_tokens, *fitting]))

    def _output(self, max_output_tokens: int | None) -> int:
        return self.max_output_tokens if max_output_tokens is None else max_output_tokens


def model_bound(
    price: Price,
    messages: Sequence[Mapping[str, Any]],
    *,
    max_output_tokens: int,
    choices: int = 1,
    options: Mapping[str, Any] | None = None,
    extra_input_tokens: int | None = None,
) -> ModelBound:
    """Return the bound of a model request: its input, its output, and what it can be billed as.

    Args:
        price: The pinned price, at the tier the request asks for (`request_tier`).
        messages: What is sent.
        max_output_tokens: The bound sent to the provider, per choice.
        choices: How many answers are asked for.
        options: Everything else that is sent: tools, response format, modalities …
        extra_input_tokens: The most tokens of inputs that cannot be counted here.

    Raises:
        BudgetExceeded: With reason `unpriced`: a part of the request has no bound or no price.
    """
    found = read_request(messages, options or {})
    for kind in sorted(found.needs()):
        price.check_priced(kind)
    tokens = _input_tokens(
        found, encoding_of(price.provider, price.model), extra_input_tokens, price.context_window
    )
    return ModelBound(
        price=price,
        input_tokens=tokens,
        max_output_tokens=max_output_tokens,
        choices=choices,
        never=found.never(price.provider),
        fees=fees_of(found),
    )


def input_token_bound(
    messages: Sequence[Mapping[str, Any]],
    *,
    model: str,
    provider: str,
    options: Mapping[str, Any] | None = None,
    extra_input_tokens: int | None = None,
    context_window: int | None = None,
) -> int:
    """Return the most input tokens a request can be billed for.

    Counted with the model's tokenizer where that is known and installed, else a token for each
    byte; plus what templates add; never more than the context window.

    Args:
        messages: What is sent.
        model: The model's name, which may name a tokenizer.
        provider: Who is called.
        options: Everything else that is sent.
        extra_input_tokens: The most tokens of images, files, earlier responses and server tools.
        context_window: The most input tokens the model takes, where known.

    Raises:
        BudgetExceeded: With reason `unpriced`: something cannot be counted and has no bound given.
        InvalidUsage: *extra_input_tokens* is no count, or the request is not JSON.
    """
    found = read_request(messages, options or {})
    return _input_tokens(found, encoding_of(provider, model), extra_input_tokens, context_window)


def _input_tokens(
    found: Contents, encoding: str | None, extra: int | None, context_window: int | None
) -> int:
    if found.uncounted and extra is None:
        what = ", ".join(sorted(set(found.uncounted)))
        raise unpriced(f"{what}: tokens cannot be counted here; give extra_input_tokens, the most")
    if extra is not None and (type(extra) is not int or not 0 <= extra <= LARGEST_COUNT):
        raise InvalidUsage(detail=f"extra_input_tokens is {extra!r}; it is a whole number")
    tokens = (
        count_or_bound(found.texts, encoding)
        + byte_bound(found.json)
        + TEMPLATE_TOKENS
        + MESSAGE_TOKENS * found.messages
        + (SCHEMA_TOKENS if found.has_schema else 0)
        + (extra or 0)
    )
    # Each round of a server tool has a context of its own: their sum may pass the window.
    if context_window is None or found.loops:
        return tokens
    return min(tokens, context_window)


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
