"""One bounded, not yet sent call of a model: the same for every API."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from earmark.admission.call import CountInput, Grant, ModelRequest, Reply
from earmark.apis import failures
from earmark.apis.bounds import DEFAULT_MAX_TOKENS, bound_request
from earmark.apis.counts import count_endpoint, count_request, with_margin
from earmark.apis.dialect import Prompt
from earmark.apis.hidden_output import shows_output
from earmark.apis.output_limit import value_at, with_output_limit
from earmark.apis.reply_cost import PricedRequest, model_of, reply_cost, request_id_of
from earmark.apis.requests import RequestReading, copied_body, read_body
from earmark.apis.streams import ReplyStream, open_stream
from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.errors import CallFailed, InvalidConfig, InvalidUsage
from earmark.pricing.book import LONGEST_CALL_NS, PriceBook
from earmark.pricing.bound import ModelBound
from earmark.pricing.json_values import mapping
from earmark.pricing.price import Price
from earmark.provider.server import Server

if TYPE_CHECKING:
    # Slow to import, and only needed by who calls a provider.
    from earmark.provider.sender import Incoming, Sender

#: What SDKs take beside the body. A header can switch on what is billed otherwise.
_BESIDE_THE_BODY: Final = frozenset({"extra_headers", "extra_query"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTerms:
    """What a provider is configured with, beside its server.

    Raises:
        InvalidUsage: An input is to be counted, and no endpoint of the API is known that does.
    """

    api: str
    book: PriceBook
    clock: Clock
    default_max_tokens: int = DEFAULT_MAX_TOKENS
    context_window: int | None = None
    """The most tokens its models take in, as the user knows it."""
    allowed_options: frozenset[str] = frozenset()
    """Options beyond the API's table that the user vouches for: text at most."""
    count_margin: int | None = None
    """What is added to the provider's count of an input, in parts per million; `None` to ask for
    none."""

    def __post_init__(self) -> None:
        if self.count_margin is not None:
            count_endpoint(self.api)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A model call with its bound; see `earmark.admission.call.Call`."""

    name: str
    bound: ModelBound
    streams: bool
    _terms: ProviderTerms = field(repr=False)
    _server: Server = field(repr=False)
    _sender: "Sender" = field(repr=False)
    _body: Mapping[str, Any] = field(repr=False)
    """What is sent, but for the limit of output tokens."""
    _reading: RequestReading = field(repr=False)
    _bounded: Callable[..., ModelBound] = field(repr=False)
    """Bounds the request, with the `most_counted` of its input."""

    @property
    def count_input(self) -> CountInput | None:
        """Asks the provider for its count, where that is wanted and it counts all of the input."""
        # Whatever makes it sample more than once is something that cannot be counted.
        if self._terms.count_margin is None or self._reading.contents.uncounted:
            return None
        return partial(self._counted, self._terms.count_margin)

    async def _counted(self, margin: int, timeout_s: float) -> "ModelCall":
        """Return the call with the bound of the provider's count of its input.

        Raises:
            CallFailed: It gave none.
        """
        api, model = self._terms.api, self._reading.model
        asked = count_request(self._body, api=api, model=model)
        url = self._server.count_url(model, count_endpoint(api))
        async with self._sender.post(url, asked.body, timeout_s) as incoming:
            reply = await incoming.json()
        try:
            count = asked.tokens(reply)
        except InvalidUsage:
            raise failures.garbled(self._server.provider, "no count of an input") from None
        return replace(self, bound=self._bounded(most_counted=with_margin(count, margin)))

    async def send(self, grant: Grant) -> Reply:
        """Make the call; at most once, with no retry inside.

        Raises:
            CallFailed: With `billed` saying what is known of the cost.
            BudgetExceeded: It was a stream, and `grant.produced` stopped it.
        """
        granted = grant.max_output_tokens
        most = self.bound.max_output_tokens if granted is None else granted
        api, reading = self._terms.api, self._reading
        body = with_output_limit(api, self._body, most, host=self._server.hostname)
        url = self._server.url(reading.model, stream=reading.stream)
        asked = self._priced()
        stream = self._opened(asked) if reading.stream else None
        headers: Mapping[str, str] = {}
        try:
            async with self._sender.post(url, body, grant.timeout_s) as incoming:
                headers = incoming.headers
                if stream is None or incoming.is_json:
                    reply = await incoming.json()
                else:
                    most *= reading.choices
                    reply = await self._add_up(stream, incoming, most, grant)
        except CallFailed as failure:
            partial = {} if stream is None or failure.billed == "no" else stream.partial_reply()
            _add_known(failure, _cut(partial, asked, request_id_of(partial, headers)))
            raise
        except BaseException:
            # Cancelled, also by its time-out, or stopped by `produced`.
            partial = {} if stream is None else stream.partial_reply()
            grant.known(_cut(partial, asked, request_id_of(partial, headers)))
            raise
        return self._reply(reply, asked, request_id_of(reply, headers))

    def _opened(self, asked: PricedRequest) -> ReplyStream:
        choices = self._reading.choices
        return open_stream(self._terms.api, choices=choices, encoding=asked.encoding)

    async def _add_up(
        self, stream: ReplyStream, incoming: "Incoming", most: int, grant: Grant
    ) -> Mapping[str, Any]:
        """Return what the events of a stream add up to, reporting to the guard as they come."""
        async with aclosing(incoming.events()) as events:
            async for name, event in events:
                before = stream.produced_tokens
                stream.feed(event, name)
                if stream.failure is not None:
                    raise failures.broken_off(incoming.provider, _error_words(stream.failure))
                if stream.produced_tokens > before:
                    await grant.produced(min(stream.produced_tokens, most))
        return _whole(stream, incoming)

    def _priced(self) -> PricedRequest:
        """Return what the bill is read by: the request at the price of this moment."""
        terms, reading = self._terms, self._reading
        return PricedRequest(
            price=self.bound.price,
            book=terms.book,
            api=terms.api,
            tier=reading.tier,
            cache_lifetime=reading.cache_lifetime,
            choices=reading.choices,
            counts_choices=self._server.counts_choices,
            host=self._server.hostname,
        ).priced_at(terms.clock.instant())

    def _reply(
        self, body: Mapping[str, Any], asked: PricedRequest, request_id: str | None
    ) -> Reply:
        output = self._server.dialect.read(body)
        known = reply_cost(body, asked, written=output.written)
        if output.fault:
            detail = f"{self.name} sent {output.fault}"
            raise CallFailed(
                detail=detail,
                note=detail,
                billed="unknown" if known.cost is None else "yes",
                retryable=True,
                usage=known.usage,
                cost=known.cost,
                known_cost=known.known,
                unknown=known.unknown,
                model=model_of(body),
                request_id=request_id,
            )
        return Reply(
            value=output.value,
            cost=known.cost,
            known_cost=known.known,
            usage=known.usage,
            model=model_of(body),
            finish=output.finish,
            request_id=request_id,
            note=known.note,
            unknown=known.unknown,
        )


def make_call(
    terms: ProviderTerms, server: Server, sender: "Sender", request: ModelRequest
) -> ModelCall:
    """Return the call for *request*, priced now and bounded; reads no network.

    Raises:
        BudgetExceeded: With reason `unpriced`: no price, or an input nobody can bound.
        InvalidConfig: The options set what the bound depends on, or several answers are asked of an
            API that gives one.
        InvalidUsage: It is no request.
    """
    dialect = server.dialect
    if request.choices != 1 and not dialect.gives_choices:
        detail = f"API '{terms.api}' gives one reply to a call, not {request.choices}"
        raise InvalidConfig(place=f"choices of {request.model}", detail=detail)
    model = request.model.removeprefix(f"{server.provider}/")
    prompt = Prompt(
        model=model,
        messages=request.messages,
        options=_options(request, dialect.own_fields),
        choices=request.choices,
        stream=request.stream,
    )
    # What is bounded is what is sent, however long the call waits for its budget.
    body = copied_body(dialect.write(prompt))
    reading = read_body(
        terms.api, body, provider=server.provider, model=model, allowed=terms.allowed_options
    )
    reading = replace(reading, stream=request.stream, max_output_tokens=request.max_tokens)
    price = _price(terms, server.provider, reading, request.within_s)
    bounded = partial(
        bound_request,
        reading,
        price,
        default_max_tokens=terms.default_max_tokens,
        extra_input_tokens=request.extra_input_tokens,
        context_window=terms.context_window,
    )
    return ModelCall(
        name=f"{server.provider}/{model}",
        bound=bounded(),
        streams=request.stream
        and shows_output(server.provider, model, body, own_price=price.source == "own"),
        _terms=terms,
        _server=server,
        _sender=sender,
        _body=body,
        _reading=reading,
        _bounded=bounded,
    )


def _price(terms: ProviderTerms, provider: str, reading: RequestReading, within_s: float) -> Price:
    """Return the price of now, which holds the dearest until the call's end."""
    return terms.book.resolve(
        reading.model,
        provider=provider,
        at=terms.clock.instant(),
        tier=reading.tier,
        within_ns=max(LONGEST_CALL_NS, round(within_s * NANOS_PER_SECOND)),
    )


def _options(request: ModelRequest, own_fields: frozenset[str]) -> Mapping[str, Any]:
    """Return the options as fields of the body; an SDK's `extra_body` holds more of them."""
    options = dict(request.options)
    options |= options.pop("extra_body", {})
    place = f"options of {request.model}"
    for name in sorted(_BESIDE_THE_BODY & options.keys()):
        raise InvalidConfig(place=place, detail=f"'{name}' can change the bill: leave it out")
    for name in sorted(own_fields):
        if name in options or value_at(options, name) is not None:
            raise InvalidConfig(
                place=place,
                detail=f"'{name}' is part of the bound: set it on the request, not in its options",
            )
    return options


def _add_known(failure: CallFailed, known: Reply) -> None:
    """Add to *failure* what is *known* of its cost: at least so much."""
    failure.usage, failure.unknown = known.usage, known.unknown
    failure.known_cost = known.known_cost
    failure.model, failure.request_id = known.model, known.request_id


def _cut(partial: Mapping[str, Any], asked: PricedRequest, request_id: str | None) -> Reply:
    """Return what the *partial* reply says of the cost of a call that was cut short."""
    if not partial:
        return Reply(value=None, cost=None, request_id=request_id)
    known = reply_cost(partial, asked)
    return Reply(
        value=None,
        cost=None,
        known_cost=known.known if known.cost is None else known.cost,
        usage=known.usage,
        unknown=known.unknown,
        model=model_of(partial),
        request_id=request_id,
    )


def _whole(stream: ReplyStream, incoming: "Incoming") -> Mapping[str, Any]:
    """Return the reply of a stream that ended.

    Raises:
        CallFailed: It ended before the reply did: a usage sent until then is that of a part, so the
            cost is unknown.
    """
    if not stream.finished:
        what = f"a stream that ended early, after {incoming.pieces} pieces"
        raise failures.garbled(incoming.provider, what)
    return stream.reply()


def _error_words(event: Mapping[str, Any]) -> str:
    """Return the codes of an API's error event; in the Responses API it is a response."""
    return failures.error_words(mapping(event.get("response")) or event)
