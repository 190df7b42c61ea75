"""One bounded, not yet sent call of a model: the same for every API."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from earmark.admission.call import Grant, ModelRequest, Reply
from earmark.apis.bounds import model_bound
from earmark.apis.reply_cost import PricedRequest, reply_cost, request_id_of
from earmark.apis.requests import request_tier
from earmark.clock import Clock
from earmark.errors import CallFailed, InvalidConfig
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound
from earmark.provider.answer import Answer

#: What a call without `max_tokens` may produce, where the provider is not configured otherwise.
DEFAULT_MAX_TOKENS: Final = 1024

#: What an SDK takes beside the body. A header can switch on what is billed otherwise, unseen here.
_BESIDE_THE_BODY: Final = frozenset({"extra_headers", "extra_query"})


class Api(Protocol):
    """The dialect of one API: how a request is written and an answer read."""

    @property
    def form(self) -> str:
        """The form of its usage block: `openai` or `anthropic`."""
        ...

    @property
    def counts_choices(self) -> bool:
        """Whether the server is known to report the usage of all choices of a call."""
        ...

    @property
    def bounded_here(self) -> frozenset[str]:
        """The options a request may not set, because the bound depends on them."""
        ...

    async def send(self, request: ModelRequest, most: int, grant: Grant) -> Answer:
        """Send *request* once, for at most *most* output tokens per choice.

        Raises:
            CallFailed: There is no answer.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a provider is configured with, beside its server."""

    provider: str
    book: PriceBook
    clock: Clock
    default_max_tokens: int = DEFAULT_MAX_TOKENS
    context_window: int | None = None
    """The most tokens its models take in, as the user knows it."""
    allowed_options: frozenset[str] = frozenset()
    """Options beyond the API's table that the user vouches for: text at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A model call with its bound; see `earmark.admission.call.Call`."""

    name: str
    bound: ModelBound
    streams: bool
    _request: ModelRequest = field(repr=False)
    _order: PricedRequest = field(repr=False)
    _api: Api = field(repr=False)

    async def send(self, grant: Grant) -> Reply:
        """Make the call; at most once, with no retry inside.

        Raises:
            CallFailed: With `billed` saying what is known of the cost.
        """
        most = grant.max_output_tokens
        answer = await self._api.send(
            self._request, self.bound.max_output_tokens if most is None else most, grant
        )
        known = reply_cost(answer.body, self._order, written=answer.written)
        if answer.fault:
            raise CallFailed(
                detail=f"{self.name} sent {answer.fault}",
                billed="unknown" if known.cost is None else "yes",
                retryable=True,
                usage=known.usage,
                cost=known.cost,
            )
        return Reply(
            value=answer.value,
            cost=known.cost,
            usage=known.usage,
            model=answer.model,
            finish=answer.finish,
            note=known.note,
            known_cost=known.known,
            request_id=request_id_of(answer.body),
        )


def make_call(terms: Terms, api: Api, request: ModelRequest) -> ModelCall:
    """Return the call for *request*, priced now and bounded; reads no network.

    Raises:
        BudgetExceeded: With reason `unpriced`: no price, or an input nobody can bound.
        InvalidConfig: The options set what the bound depends on.
    """
    model = request.model.removeprefix(f"{terms.provider}/")
    options = _options(request, api)
    order = _order(terms, api, replace(request, model=model, options=options))
    most = terms.default_max_tokens if request.max_tokens is None else request.max_tokens
    bound = model_bound(
        order.price,
        request.messages,
        max_output_tokens=most,
        api=api.form,
        choices=request.choices,
        options=options,
        allowed_options=terms.allowed_options,
        extra_input_tokens=request.extra_input_tokens,
        context_window=terms.context_window,
    )
    asked_an_hour = "cache_write_1h_tokens" not in bound.never
    return ModelCall(
        name=f"{terms.provider}/{model}",
        bound=bound,
        streams=request.stream,
        _request=replace(request, model=model, options=options),
        _order=replace(order, cache_lifetime="1h" if asked_an_hour else ""),
        _api=api,
    )


def _order(terms: Terms, api: Api, request: ModelRequest) -> PricedRequest:
    instant = terms.clock.instant()
    tier = request_tier(request.options)
    price = terms.book.resolve(request.model, provider=terms.provider, at=instant, tier=tier)
    return PricedRequest(
        price=price,
        book=terms.book,
        api=api.form,
        tier=tier,
        choices=request.choices,
        counts_choices=api.counts_choices,
    )


def _options(request: ModelRequest, api: Api) -> Mapping[str, Any]:
    """Return the options as fields of the body; an SDK's `extra_body` holds more of them."""
    options = dict(request.options)
    options |= options.pop("extra_body", {})
    place = f"options of {request.model}"
    for name in sorted(_BESIDE_THE_BODY & options.keys()):
        raise InvalidConfig(place=place, detail=f"'{name}' can change the bill: leave it out")
    for name in sorted(api.bounded_here & options.keys()):
        raise InvalidConfig(
            place=place,
            detail=f"'{name}' is part of the bound: set it on the request, not in its options",
        )
    return options
