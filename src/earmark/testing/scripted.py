"""A provider that answers by a script: real bounds, prices and bills, no model and no network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, assert_never

from earmark.admission.call import Grant, ModelRequest, Reply
from earmark.apis.bounds import DEFAULT_MAX_TOKENS, bound_request
from earmark.apis.requests import read_body
from earmark.clock import Clock, SystemClock
from earmark.errors import CallFailed
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound
from earmark.pricing.usage import Usage

#: USD per million tokens, so that ten input tokens and five output tokens cost 0.00002 USD.
PRICE: Final[Mapping[str, str]] = {"input_mtok": "1", "output_mtok": "2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The model answers, and the provider bills what *usage* counts, however much was asked for."""

    text: str = "ok"
    usage: Usage = field(default_factory=lambda: Usage.of(input_tokens=10, output_tokens=5))
    model: str | None = None
    """The model that answers; the one asked for unless given."""
    finish: str = "stop"
    after: float = 0.0
    """Seconds of the clock until it answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmetered:
    """The model answers and the provider bills *usage*, but the reply does not say so."""

    text: str = "ok"
    usage: Usage = field(default_factory=lambda: Usage.of(input_tokens=10, output_tokens=5))
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfStream:
    """The connection is lost after *pieces* pieces; the provider bills *usage* all the same."""

    pieces: int = 3
    usage: Usage = field(default_factory=lambda: Usage.of(input_tokens=10, output_tokens=5))
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The call fails; billed unless *billed* says `no`, as *usage* counts."""

    detail: str = "scripted failure"
    billed: Literal["no", "unknown", "yes"] = "no"
    retryable: bool = True
    status: int | None = None
    usage: Usage = field(default_factory=lambda: Usage.of(input_tokens=10, output_tokens=5))
    after: float = 0.0


Scripted = Answer | Unmetered | HalfStream | Failure


@dataclass(frozen=True, slots=True)
class Sent:
    """One call that was really sent."""

    request: ModelRequest
    grant: Grant


class ScriptedProvider:
    """Answers each call by the next line of its script; the last line repeats.

    Keeps what was sent in `sent` and its own bill in `billed`: what a real provider would charge,
    to compare a ledger with.

    Args:
        script: What happens, call by call; nothing given is one `Answer()`.
        name: First part of its models' names.
        book: Prices; every model costs `PRICE` unless given.
        clock: What the script's delays and the pinned prices go by.
        default_max_tokens: The output tokens of a request that names none.
        context_window: The most tokens its models take in, where that is known.
    """

    def __init__(
        self,
        script: Iterable[Scripted] = (),
        *,
        name: str = "scripted",
        book: PriceBook | None = None,
        clock: Clock | None = None,
        default_max_tokens: int = DEFAULT_MAX_TOKENS,
        context_window: int | None = None,
    ) -> None:
        self.name = name
        self.sent: list[Sent] = []
        self.billed = Money()
        self.closed = False
        self._script = list(script) or [Answer()]
        self._book = book
        self._clock = clock or SystemClock()
        self._default = default_max_tokens
        self._window = context_window

    def call(self, request: ModelRequest) -> "ScriptedCall":
        """Return the bounded, not yet sent call; see `earmark.admission.call.Provider`."""
        model = request.model.removeprefix(f"{self.name}/")
        book = self._book or PriceBook({f"{self.name}/{model}": PRICE})
        most = self._default if request.max_tokens is None else request.max_tokens
        options = dict(request.options)
        options |= options.pop("extra_body", {})
        body = {**options, "model": model, "messages": request.messages}
        reading = replace(
            read_body("openai", body), max_output_tokens=most, choices=request.choices
        )
        bound = bound_request(
            reading,
            book.resolve(model, provider=self.name, at=self._clock.instant()),
            default_max_tokens=most,
            extra_input_tokens=request.extra_input_tokens,
            context_window=self._window,
        )
        return ScriptedCall(
            name=f"{self.name}/{model}",
            bound=bound,
            streams=request.stream,
            _request=replace(request, model=model),
            _provider=self,
        )

    async def aclose(self) -> None:
        """Note that it was closed."""
        self.closed = True

    async def perform(self, call: "ScriptedCall", request: ModelRequest, grant: Grant) -> Reply:
        """Play the next line of the script for *call*."""
        line = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        self.sent.append(Sent(request, grant))
        if line.after:
            await self._clock.sleep(line.after)
        match line:
            case Answer():
                await self._generate(call, grant, line.usage, line.usage.get("output_tokens"))
                return Reply(
                    value=line.text,
                    cost=call.bound.price.cost(line.usage),
                    usage=line.usage,
                    model=line.model or request.model,
                    finish=line.finish,
                )
            case Unmetered():
                await self._generate(call, grant, line.usage, line.usage.get("output_tokens"))
                return Reply(value=line.text, cost=None, note="no usage in the reply")
            case HalfStream():
                await self._generate(call, grant, line.usage, line.pieces)
                raise CallFailed(
                    detail=f"the connection was lost after {line.pieces} pieces",
                    billed="unknown",
                    retryable=True,
                )
            case Failure():
                cost = Money() if line.billed == "no" else call.bound.price.cost(line.usage)
                self.billed += cost
                raise _failure(line, cost)
            case _:
                assert_never(line)

    async def _generate(
        self, call: "ScriptedCall", grant: Grant, usage: Usage, pieces: int
    ) -> None:
        """Stream *pieces* tokens; whoever stops the stream is billed for those that came."""
        came = pieces
        try:
            if call.streams:
                for came in range(1, pieces + 1):
                    await grant.produced(came)
        finally:
            stopped = came < pieces
            billed = Usage({**usage.counts, "output_tokens": came}) if stopped else usage
            self.billed += call.bound.price.cost(billed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedCall:
    """A call of a `ScriptedProvider`; see `earmark.admission.call.Call`."""

    name: str
    bound: ModelBound
    streams: bool
    _request: ModelRequest = field(repr=False)
    _provider: ScriptedProvider = field(repr=False)

    async def send(self, grant: Grant) -> Reply:
        """Play the next line of the provider's script."""
        return await self._provider.perform(self, self._request, grant)


def _failure(line: Failure, cost: Money) -> CallFailed:
    known = line.billed == "yes"
    return CallFailed(
        detail=line.detail,
        billed=line.billed,
        retryable=line.retryable,
        status=line.status,
        usage=line.usage if known else None,
        cost=cost if known else None,
    )
