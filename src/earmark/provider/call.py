"""One bounded, not yet sent call of a model: the same for every API."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from earmark.admission.call import CountInput, Grant, ModelRequest, Reply
from earmark.apis import failures
from earmark.apis.bounds import DEFAULT_MAX_TOKENS, bound_request
from earmark.apis.dialect import Prompt
from earmark.apis.hidden_output import shows_output
from earmark.apis.output_limit import value_at, with_output_limit
from earmark.apis.provider_count import add_margin, count_endpoint, count_request
from earmark.apis.reply_cost import PricedRequest, model_of, reply_cost, request_id_of
from earmark.apis.requests import RequestReading, copy_body, read_body
from earmark.apis.streams import ReplyStream, open_stream
from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.errors import CallFailed, InvalidConfig, InvalidUsage
from earmark.pricing.book import LONGEST_CALL_NS, PriceBook
from earmark.pricing.bound import ModelBound
from earmark.pricing.json_values import mapping
from earmark.pricing.price import Price
from earmark.provider.server import Server

if TYPE_CHECKING:
    # Slow to import, and only needed to call a provider.
    from earmark.provider.sender import Incoming, Sender

#: Arguments of SDKs that are not in the body. A header can enable features with other prices.
_SDK_ARGUMENTS: Final = frozenset({"extra_headers", "extra_query"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTerms:
    """The configuration of a provider, without its server.

    Raises:
        InvalidUsage: `count_margin` is set, and no endpoint of the API is known that counts.
    """

    api: str
    book: PriceBook
    clock: Clock
    default_max_tokens: int = DEFAULT_MAX_TOKENS
    context_window: int | None = None
    """The most input tokens its models take, as the user configured it."""
    allowed_options: frozenset[str] = frozenset()
    """Options beyond the API's table that the user vouches for: text at most."""
    count_margin: int | None = None
    """Added to the provider's count of an input, in parts per million; `None` for no count."""

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
    """The body to send, without the limit of output tokens."""
    _reading: RequestReading = field(repr=False)
    _bound_with: Callable[..., ModelBound] = field(repr=False)
    """Bounds the request, with the `max_counted_tokens` of its input."""

    @property
    def count_input(self) -> CountInput | None:
        """Requests the provider's count, where that is configured and covers all of the input."""
        # A request that is sampled more than once always has uncounted parts.
        if self._terms.count_margin is None or self._reading.contents.uncounted:
            return None
        return partial(self._with_provider_count, self._terms.count_margin)

    async def _with_provider_count(self, margin: int, timeout_s: float) -> "ModelCall":
        """Return the call with the bound of the provider's count of its input.

        Raises:
            CallFailed: It returned none.
        """
        api, model = self._terms.api, self._reading.model
        priced = count_request(self._body, api=api, model=model)
        url = self._server.count_url(model, count_endpoint(api))
        async with self._sender.post(url, priced.body, timeout_s) as incoming:
            reply = await incoming.json()
        try:
            count = priced.tokens(reply)
        except InvalidUsage:
            raise failures.malformed_reply_failure(
                self._server.provider, "no count of an input"
            ) from None
        return replace(self, bound=self._bound_with(max_counted_tokens=add_margin(count, margin)))

    async def send(self, grant: Grant) -> Reply:
        """Make the call; at most once, with no retry inside.

        Raises:
            CallFailed: With `billed` saying what is known of the cost.
            BudgetExceeded: It was a stream, and `grant.produced` stopped it.
        """
        granted = grant.max_output_tokens
        max_output = self.bound.max_output_tokens if granted is None else granted
        api, reading = self._terms.api, self._reading
        body = with_output_limit(api, self._body, max_output, host=self._server.hostname)
        url = self._server.url(reading.model, stream=reading.stream)
        priced = self._priced_request()
        stream = None
        if reading.stream:
            stream = open_stream(api, choices=reading.choices, encoding=priced.encoding)
        headers: Mapping[str, str] = {}
        try:
            async with self._sender.post(url, body, grant.timeout_s) as incoming:
                headers = incoming.headers
                if stream is None or incoming.is_json:
                    reply = await incoming.json()
                else:
                    max_output *= reading.choices
                    reply = await self._add_up(stream, incoming, max_output, grant)
        except CallFailed as failure:
            partial = {} if stream is None or failure.billed == "no" else stream.partial_reply()
            _add_partial_cost(
                failure, _partial_reply_cost(partial, priced, request_id_of(partial, headers))
            )
            raise
        except BaseException:
            # Cancelled, also by its time-out, or stopped by `produced`.
            partial = {} if stream is None else stream.partial_reply()
            grant.partial(_partial_reply_cost(partial, priced, request_id_of(partial, headers)))
            raise
        return self._reply(reply, priced, request_id_of(reply, headers))

    async def _add_up(
        self, stream: ReplyStream, incoming: "Incoming", max_output: int, grant: Grant
    ) -> Mapping[str, Any]:
        """Return the reply of a stream, reporting its tokens to the guard event by event."""
        async with aclosing(incoming.events()) as events:
            async for name, event in events:
                before = stream.produced_tokens
                stream.feed(event, name)
                if stream.failure is not None:
                    # In the Responses API the error is in a response.
                    error = mapping(stream.failure.get("response")) or stream.failure
                    codes = failures.error_codes(error)
                    raise failures.aborted_reply_failure(incoming.provider, codes)
                if stream.produced_tokens > before:
                    await grant.produced(min(stream.produced_tokens, max_output))
        if not stream.finished:
            # A usage before the end is that of a part, so the cost is unknown.
            detail = f"a stream that ended early, after {incoming.pieces} pieces"
            raise failures.malformed_reply_failure(incoming.provider, detail)
        return stream.reply()

    def _priced_request(self) -> PricedRequest:
        """Return the request at the price of now, by which its reply is billed."""
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
        self, body: Mapping[str, Any], priced: PricedRequest, request_id: str | None
    ) -> Reply:
        output = self._server.dialect.read(body)
        known = reply_cost(body, priced, written=output.written)
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
        BudgetExceeded: With reason `unpriced`: no price, or an input without a bound.
        InvalidConfig: The options set what the bound depends on, or several answers are asked of an
            API that gives one.
        InvalidUsage: It is no request.
    """
    dialect = server.dialect
    if request.choices != 1 and not dialect.supports_choices:
        detail = f"API '{terms.api}' gives one reply to a call, not {request.choices}"
        raise InvalidConfig(place=f"choices of {request.model}", detail=detail)
    model = request.model.removeprefix(f"{server.provider}/")
    prompt = Prompt(
        model=model,
        messages=request.messages,
        options=_options(request, dialect.reserved_fields),
        choices=request.choices,
        stream=request.stream,
    )
    # What is bounded is what is sent, however long the call waits for its budget.
    body = copy_body(dialect.write(prompt))
    reading = read_body(
        terms.api, body, provider=server.provider, model=model, allowed=terms.allowed_options
    )
    reading = replace(reading, stream=request.stream, max_output_tokens=request.max_tokens)
    price = _price(terms, server.provider, reading, request.within_s)
    bound_with = partial(
        bound_request,
        reading,
        price,
        default_max_tokens=terms.default_max_tokens,
        extra_input_tokens=request.extra_input_tokens,
        context_window=terms.context_window,
    )
    return ModelCall(
        name=f"{server.provider}/{model}",
        bound=bound_with(),
        streams=request.stream
        and shows_output(server.provider, model, body, own_price=price.source == "own"),
        _terms=terms,
        _server=server,
        _sender=sender,
        _body=body,
        _reading=reading,
        _bound_with=bound_with,
    )


def _price(terms: ProviderTerms, provider: str, reading: RequestReading, within_s: float) -> Price:
    """Return the price now, with the highest price until the call's end for its bound."""
    return terms.book.resolve(
        reading.model,
        provider=provider,
        at=terms.clock.instant(),
        tier=reading.tier,
        within_ns=max(LONGEST_CALL_NS, round(within_s * NANOS_PER_SECOND)),
    )


def _options(request: ModelRequest, reserved_fields: frozenset[str]) -> Mapping[str, Any]:
    """Return the options as fields of the body; an SDK's `extra_body` holds more of them."""
    options = dict(request.options)
    options |= options.pop("extra_body", {})
    place = f"options of {request.model}"
    for name in sorted(_SDK_ARGUMENTS & options.keys()):
        raise InvalidConfig(place=place, detail=f"'{name}' can change the bill: leave it out")
    for name in sorted(reserved_fields):
        if name in options or value_at(options, name) is not None:
            raise InvalidConfig(
                place=place,
                detail=f"'{name}' is part of the bound: set it on the request, not in its options",
            )
    return options


def _add_partial_cost(failure: CallFailed, known: Reply) -> None:
    """Add the *known* part of its cost to *failure*: a lower bound."""
    failure.usage, failure.unknown = known.usage, known.unknown
    failure.known_cost = known.known_cost
    failure.model, failure.request_id = known.model, known.request_id


def _partial_reply_cost(
    partial: Mapping[str, Any], priced: PricedRequest, request_id: str | None
) -> Reply:
    """Return the cost of the *partial* reply of a call that was cut short."""
    if not partial:
        return Reply(value=None, cost=None, request_id=request_id)
    known = reply_cost(partial, priced)
    return Reply(
        value=None,
        cost=None,
        known_cost=known.known if known.cost is None else known.cost,
        usage=known.usage,
        unknown=known.unknown,
        model=model_of(partial),
        request_id=request_id,
    )
