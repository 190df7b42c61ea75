"""The port between the guard and whatever costs money: a call, its grant and its reply.

Providers and stage kinds implement `Call`; the guard is the only one that sends it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from earmark.money import Money
from earmark.pricing.bound import Bound
from earmark.pricing.usage import Usage

#: Tells the guard how many output tokens a stream has produced; raises `BudgetExceeded` to stop it.
Produced = Callable[[int], Awaitable[None]]
#: Tells the guard what is known of the cost of a call that is cut short.
Known = Callable[["Reply"], None]


def _forgotten(reply: "Reply") -> None:
    del reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a call may do: the output tokens it may ask for and how long it may take."""

    max_output_tokens: int | None
    """The bound to send to the provider; `None` for calls whose bound is not in tokens."""
    timeout_s: float
    """Seconds until the guard gives up on the call."""
    available: Money
    """The hold: what the call may cost; a remote stage passes it on as its own budget."""
    produced: Produced
    """To be awaited by streaming calls after each piece, with the output tokens so far: at least as
    many as there are, at most as were asked for. If nobody knows the cost, they are spent."""
    known: Known = _forgotten
    """To be called before a call ends by a cancellation (such as that of its time-out) or by what
    `produced` raised: with what came of its reply, for no error of its own can carry that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a call gave back, and what is known of its cost."""

    value: Any
    cost: Money | None
    """The actual cost; `None` where nobody knows, and then the whole hold counts as spent."""
    usage: Usage | None = None
    model: str | None = None
    """The model that answered, as the provider named it."""
    finish: str | None = None
    """Why the output ended, in the provider's word: `stop`, `length`, `end_turn`, `max_tokens` …"""
    note: str = ""
    """What a reader of the statement should know, such as "no usage in the reply"."""
    known_cost: Money | None = None
    """Where `cost` is `None`: what its known counters cost, of which there are more."""
    unknown: tuple[str, ...] = ()
    """`name = number` of each counter of the reply whose price nobody knows."""
    request_id: str | None = None
    """The provider's own name for this request, from its headers or its body: for its support."""


class Call(Protocol):
    """One thing that costs money; made once, sent at most once."""

    @property
    def name(self) -> str:
        """What is called, for statements: `anthropic/claude-…`, a stage's name."""
        ...

    @property
    def bound(self) -> Bound:
        """The most the call can cost, known before it."""
        ...

    @property
    def streams(self) -> bool:
        """Whether the call reports through `Grant.produced`, so that its hold can grow with it."""
        ...

    async def send(self, grant: Grant) -> Reply:
        """Make the call; at most once, with no retry inside.

        Raises:
            CallFailed: With `billed` saying what is known of the cost.
        """
        ...


CountInput = Callable[[float], Awaitable[Call]]
"""Asks a provider, for so many seconds, how long the input of a call is; gives the call with the
bound of that. It costs nothing, and raises `CallFailed` where there is no count."""


def counting(call: Call) -> CountInput | None:
    """Return what counts the input of *call*: its attribute `count_input`, if it has one."""
    # Not by `isinstance`: of a protocol that takes as long as the ledger does to reserve.
    return getattr(call, "count_input", None)


def counting_inside(inner: Call, around: Callable[[Call], Call]) -> CountInput | None:
    """Return what has the input of *inner* counted, and puts *around* it what was around it."""
    count = counting(inner)
    if count is None:
        return None

    async def counted(seconds: float) -> Call:
        return around(await count(seconds))

    return counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """What is asked of a model, in no provider's dialect."""

    model: str
    """`provider/model`, as in `local/smollm2-135m`."""
    messages: Sequence[Mapping[str, Any]]
    """`{"role": "system" | "user" | "assistant", "content": text or provider blocks}`."""
    max_tokens: int | None = None
    """The output tokens wanted; `None` lets the provider's configured default be injected."""
    choices: int = 1
    stream: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Passed to the provider as they are: temperature, seed, tools, service_tier …"""
    extra_input_tokens: int | None = None
    """An explicit bound for inputs that cannot be counted here: images, files, server tools."""
    within_s: float = 0
    """The seconds until the call ends at the latest, waiting included: it is bounded by the dearest
    price of that time, and of an hour at least."""


class Provider(Protocol):
    """An API that answers `ModelRequest`s: `earmark.provider.open_provider`."""

    def call(self, request: ModelRequest) -> Call:
        """Return the bounded, not yet sent call; pure, reads no network.

        Raises:
            BudgetExceeded: `unpriced`, for a model, tier or input without a price or a bound.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
