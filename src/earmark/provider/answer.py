"""A provider's answer and what it cost: the one place where a reply becomes a bill.

Never counted too little: whatever leaves doubt, such as a missing usage or a model nobody priced,
makes the cost unknown, and then the whole hold counts as spent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from earmark.admission.call import Grant
from earmark.apis.replies import read_reply
from earmark.errors import BudgetExceeded, InvalidUsage
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.price import Price
from earmark.pricing.usage import Usage

#: For a stream's own count: so many bytes of text are one token at least. Measured with o200k:
#: English 4.1, C++ 4.9, Chinese 4.3, JSON 2.6, digits 3.0 bytes a token. A piece is one token at
#: least, so text of shorter tokens is counted by its pieces.
BYTES_PER_TOKEN: Final = 3

#: The date a provider appends to the name it was asked for: `gpt-4o` is answered by
#: `gpt-4o-2024-08-06`.
_DATED: Final = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider sent, read only as far as a reply and its bill need it."""

    body: Mapping[str, Any]
    """The body, or what a stream adds up to: `model`, `usage`, `service_tier` …"""
    value: Any
    finish: str | None
    written: int
    """How many choices hold any output at all."""
    fault: str = ""
    """Why this is no usable reply, though it came in full; empty if it is one."""

    @property
    def model(self) -> str | None:
        """The model that answered, as the provider names it."""
        name = self.body.get("model")
        return name if isinstance(name, str) and name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What is known of a reply's cost; *note* says why less than everything is."""

    cost: Money | None
    usage: Usage | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for, at which price: all that reading the bill needs."""

    price: Price
    book: PriceBook
    api: str
    """The form of the usage block: `openai` or `anthropic`."""
    instant: int
    """When the price was pinned."""
    tier: str | None = None
    """The service tier asked for."""
    cache_lifetime: str = ""
    """The longest cache lifetime asked for, such as `1h`."""
    choices: int = 1
    counts_choices: bool = True
    """Whether the server is known to report the usage of all choices."""


def bill(answer: Answer, order: Order) -> Bill:
    """Return what *answer* cost, by its usage block and the price pinned in *order*."""
    if not answer.body.get("usage"):
        return Bill(cost=None, note="no usage in the reply")
    try:
        reading = read_reply(
            answer.body,
            provider=order.price.provider,
            api=order.api,
            cache_lifetime=order.cache_lifetime,
        )
    except (BudgetExceeded, InvalidUsage) as error:
        return Bill(cost=None, note=f"the usage cannot be read: {error}")
    usage = reading.usage
    if reading.unknown:
        counters = ", ".join(reading.unknown)
        return Bill(cost=None, usage=usage, note=f"no price is known for {counters}")
    doubt = _doubt(usage, answer, order)
    if doubt:
        return Bill(cost=None, usage=usage, note=doubt)
    try:
        return _priced(usage, answer, order)
    except (BudgetExceeded, InvalidUsage) as error:
        return Bill(cost=None, usage=usage, note=str(error))


def _doubt(usage: Usage, answer: Answer, order: Order) -> str:
    """Say why the counts cannot be all there is; empty if they can."""
    if not usage.get("input_tokens") or usage.get("output_tokens") < answer.written:
        return "the usage counts less than was sent and written"
    if order.choices > 1 and not order.counts_choices:
        # llama.cpp's server reports the completion tokens of one choice only (measured, 2026-11).
        return f"this server's usage may count one of {order.choices} choices only"
    return ""


def _priced(usage: Usage, answer: Answer, order: Order) -> Bill:
    asked = order.price
    cost = asked.cost(usage)
    if answer.model is None or answer.model == asked.model:
        return Bill(cost=cost, usage=usage)
    # The reply names another model. It may be an alias billed as asked, or a substitute billed as
    # itself: the dearer of the two is never too little. A dated name has a price of its own in the
    # list where it costs something else.
    is_dated_name = same_model(asked.model, answer.model)
    try:
        other = order.book.resolve(
            answer.model, provider=asked.provider, at=order.instant, tier=order.tier
        )
    except BudgetExceeded:
        if is_dated_name:
            return Bill(cost=cost, usage=usage)
        raise
    note = "" if is_dated_name else f"answered by {answer.model}"
    return Bill(cost=max(cost, other.cost(usage)), usage=usage, note=note)


def same_model(asked: str, answered: str) -> bool:
    """Whether *answered* is the model that was *asked* for, or merely its dated name."""
    if not answered.startswith(asked):
        return False
    rest = answered.removeprefix(asked)
    return not rest or _DATED.fullmatch(rest) is not None


@dataclass(slots=True)
class Progress:
    """Counts a stream's output tokens as they come and reports them to the guard.

    An estimate, for holds that grow: the provider's own count arrives only at the end. Tokens that
    are not streamed, such as hidden reasoning, are missing from it until then.
    """

    grant: Grant
    most: int
    """The output tokens asked for, of all choices together."""
    pieces: int = 0
    _bytes: int = field(default=0, repr=False)

    async def add(self, text: str) -> None:
        """Count one piece of output.

        Raises:
            BudgetExceeded: The hold cannot grow any further: stop the stream.
        """
        self.pieces += 1
        self._bytes += len(text.encode("utf-8", "surrogatepass"))
        estimate = min(-(-self._bytes // BYTES_PER_TOKEN), self.most)
        await self.grant.produced(max(self.pieces, estimate))
