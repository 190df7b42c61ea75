"""The port between the guard and whatever costs money: a call, its grant and its reply.

Providers and stage kinds implement `Call`; only the guard sends it.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from earmark.errors import CallFailed
from earmark.money import Money
from earmark.pricing.bound import Bound
from earmark.pricing.usage import Usage

#: Reports to the guard how many output tokens a stream has produced; raises `BudgetExceeded` to
#: stop it.
ReportProduced = Callable[[int], Awaitable[None]]
#: Reports to the guard the partial reply of a call that is cut short.
ReportPartial = Callable[["Reply"], None]


def _ignore(reply: "Reply") -> None:
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
    produced: ReportProduced
    """To be awaited by streaming calls after each piece, with the output tokens so far: at least as
    many as there are, at most as many as were requested. If the cost is unknown, they are spent."""
    partial: ReportPartial = _ignore
    """To be called before a call ends by a cancellation (such as that of its time-out) or by what
    `produced` raised, with the partial reply: no error of its own can carry that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a call returned, and what is known of its cost."""

    value: Any
    cost: Money | None
    """The actual cost; `None` where it is unknown, and then the whole hold counts as spent."""
    usage: Usage | None = None
    model: str | None = None
    """The model that answered, as the provider named it."""
    finish: str | None = None
    """The provider's finish reason: `stop`, `length`, `end_turn`, `max_tokens` …"""
    note: str = ""
    """A remark for the statement, such as "no usage in the reply"."""
    known_cost: Money | None = None
    """Where `cost` is `None`: the cost of the counters that have a price; a lower bound."""
    unknown: tuple[str, ...] = ()
    """`name = number` of each counter of the reply whose price is unknown."""
    request_id: str | None = None
    """The provider's own id of this request, from its headers or its body: for its support."""

    def failure(self, detail: str) -> CallFailed:
        """Return the failure of a call whose reply cannot be used; it is billed by its cost."""
        return CallFailed(
            detail=detail,
            billed="unknown" if self.cost is None else "yes",
            retryable=True,
            usage=self.usage,
            cost=self.cost,
            known_cost=self.known_cost,
            unknown=self.unknown,
            model=self.model,
            request_id=self.request_id,
        )


class Call(Protocol):
    """One call that costs money; sent at most once."""

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
"""Requests the provider's count of a call's input, within so many seconds; returns the call with
the bound of that count. It costs nothing, and raises `CallFailed` where there is no count."""


def input_counter(call: Call) -> CountInput | None:
    """Return what counts the input of *call*: its attribute `count_input`, if it has one."""
    # Not by `isinstance`: of a protocol that takes as long as the ledger does to reserve.
    return getattr(call, "count_input", None)


class WrappedCall(ABC):
    """A call around an *inner* one: of the same name, bound and input count."""

    __slots__ = ("inner",)

    def __init__(self, inner: Call) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The inner call's name."""
        return self.inner.name

    @property
    def bound(self) -> Bound:
        """The inner call's bound."""
        return self.inner.bound

    @property
    def streams(self) -> bool:
        """Whether the inner call streams."""
        return self.inner.streams

    @property
    def count_input(self) -> CountInput | None:
        """What counts the inner call's input; the counted call is wrapped again."""
        count = input_counter(self.inner)
        if count is None:
            return None

        async def count_and_wrap(seconds: float) -> Call:
            return self.rewrap(await count(seconds))

        return count_and_wrap

    @abstractmethod
    def rewrap(self, inner: Call) -> Call:
        """Return a wrapper like this one around *inner*."""

    @abstractmethod
    async def send(self, grant: Grant) -> Reply:
        """Make the call; see `Call.send`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request to a model, in no provider's dialect."""

    model: str
    """`provider/model`, as in `local/smollm2-135m`."""
    messages: Sequence[Mapping[str, Any]]
    """`{"role": "system" | "user" | "assistant", "content": text or provider blocks}`."""
    max_tokens: int | None = None
    """The requested output tokens; `None` sends the provider's configured default."""
    choices: int = 1
    stream: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sent to the provider unchanged: temperature, seed, tools, service_tier …"""
    extra_input_tokens: int | None = None
    """An explicit bound for inputs that cannot be counted here: images, files, server tools."""
    within_s: float = 0
    """The seconds until the call ends at the latest, waiting included: it is bounded by the highest
    price of that time, and of an hour at least."""


class Provider(Protocol):
    """An API that answers `ModelRequest`s: `earmark.provider.open_provider`."""

    def call(self, request: ModelRequest) -> Call:
        """Return the bounded, unsent call; pure, without network access.

        Raises:
            BudgetExceeded: `unpriced`, for a model, tier or input without a price or a bound.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
