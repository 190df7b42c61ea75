"""One request under its token's budget: bounded, held, sent, passed back, settled."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from hashlib import sha256
from typing import Any, Final, TypeVar

import aiohttp

from earmark.admission.charge import HoldQuote
from earmark.admission.guard import AsyncGuard, Opening
from earmark.admission.policy import Policy
from earmark.admission.request import OpenOptions
from earmark.admission.ticket import AsyncTicket
from earmark.apis.failures import connection_failure
from earmark.apis.provider_count import count_request
from earmark.config.settings import GatewaySettings
from earmark.errors import BudgetExceeded, InvalidUsage, KeyReused, ReservationClosed
from earmark.gateway.access import Holder
from earmark.gateway.allowed import check_access, costs_nothing, with_tier
from earmark.gateway.answers import send_answer
from earmark.gateway.body import decoded, spliced
from earmark.gateway.closing import policy_at
from earmark.gateway.denied import Denied
from earmark.gateway.endpoints import Endpoint
from earmark.gateway.form import form_body
from earmark.gateway.headers import AT_MOST, BUDGET, Pairs, to_client, to_provider
from earmark.gateway.hold_headers import hold_headers
from earmark.gateway.kept_ids import KeptIds, NewIds
from earmark.gateway.kept_requests import check_free, kept_tokens_of, new_ids, owned_response
from earmark.gateway.key_mask import masked_headers
from earmark.gateway.large_bodies import LargeBodies, is_large, run_apart
from earmark.gateway.metrics import GatewayMetrics, RequestRecord
from earmark.gateway.observed_trees import check_binds, observed_headers
from earmark.gateway.payers import RequestPayers
from earmark.gateway.peer import Peer
from earmark.gateway.quotes import send_quote
from earmark.gateway.self_bounded import (
    check_self_bounded,
    own_bound_of_path,
    self_bounded,
    with_own_bound,
)
from earmark.gateway.sender import ReplyTooLarge, SendProgress, UpstreamSender, read_reply
from earmark.gateway.stream import (
    ARRAY,
    EVENTS,
    content_type_of,
    pass_stream,
    pass_unread_stream,
)
from earmark.gateway.unbooked import says_what_was_sent
from earmark.gateway.upstreams import Upstream, Upstreams
from earmark.gateway.whole_reply import REDIRECTS, pass_error, pass_reply
from earmark.ledger.async_ledger import AsyncLedger
from earmark.money import Money
from earmark.pricing.json_values import mapping
from earmark.serving.asgi import Send

_SUCCESS: Final = range(200, 300)
#: A count is only worth a short wait; see the guard.
_COUNT_S: Final = 5.0
_PARTS_OF_A_PERCENT: Final = 10_000
#: Whatever sending a request, or reading its reply, raises.
SENDING_FAILED: Final = (aiohttp.ClientError, OSError, TimeoutError, ReplyTooLarge)
_T = TypeVar("_T")
_YES: Final = frozenset({"1", "true"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all calls share."""

    ledger: AsyncLedger
    guard: AsyncGuard
    upstreams: Upstreams
    sender: UpstreamSender
    settings: GatewaySettings
    policy: Policy
    payers: RequestPayers
    kept: KeptIds
    metrics: GatewayMetrics
    large: LargeBodies


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """A client's request, read whole."""

    method: str
    endpoint: Endpoint
    pairs: Pairs = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    holder: Holder
    own: dict[str, str]
    """Headers that every answer to it has from now on, a refusal too."""
    record: RequestRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """The same, as it is meant to be sent on."""

    upstream: Upstream
    written: dict[str, Any] = field(repr=False)
    """What the body says, as the client wrote it."""
    renamed: dict[str, Any] = field(repr=False)
    """The same with the model's name as its provider has it."""
    body: dict[str, Any] = field(repr=False)
    """The same with the service tier of its token, where it names none."""
    is_free: bool = False
    """Whether its provider bills nothing for it."""


async def answer(parts: Parts, incoming: ClientRequest, peer: Peer, send: Send) -> None:
    """Answer a request for a model: hold the most it can cost, send it on, settle it.

    Raises:
        Denied: The token or the configuration does not let it through.
        EarmarkError: It was refused, or never reached its provider.
        ClientGone: The client left while its body was read or the call waited in line: nothing is
            held.
    """
    unlisted = incoming.endpoint.kind == "unlisted"
    own = own_bound_of_path(incoming.holder, incoming.headers) if unlisted else None
    outgoing = await _outgoing(parts, incoming, peer)
    holder, endpoint, upstream = incoming.holder, incoming.endpoint, outgoing.upstream
    kept = await kept_tokens_of(parts.kept, holder, endpoint, upstream, outgoing.body)
    if outgoing.is_free:
        checking = partial(check_free, endpoint, upstream, incoming.headers, outgoing.body, kept)
        await parts.large.run(incoming.body, peer, checking)
        await _pass_on(parts, incoming, outgoing, send)
        return
    options, dry = _options(parts, incoming, outgoing), _is_dry_run(incoming)
    options["kept"] = kept
    if own is not None:
        del options["api"]  # none of those that are known: its reply is not read either
        options = with_own_bound(holder, options, own)
    payer = await parts.payers.payer(holder, incoming.headers, makes=not dry)
    if payer.full:
        incoming.own["x-earmark-session-limit"] = str(parts.settings.sessions_per_token)
    if dry:
        quote = await _quoted(parts, incoming, outgoing, payer.budget, options, peer)
        await send_quote(parts.ledger, payer.budget, quote, send)
        return
    new = options["recorder"] = new_ids(parts.kept, holder, endpoint, upstream, outgoing.body)
    opening = await _opening(parts, incoming, outgoing, payer.budget, options, peer)
    incoming.record.model = opening.model
    try:
        with parts.metrics.in_line(), peer.ends_task():
            ticket = await opening
    except (KeyReused, ReservationClosed) as error:
        raise await _repeated(parts.ledger, error.key) from None
    parts.metrics.let_in(incoming.record, ticket)
    progress = SendProgress()
    with says_what_was_sent(ticket, progress):  # around the ticket, which books at its end too
        await _answer_held(parts, incoming, outgoing, ticket, new, progress, peer, send)


async def _answer_held(
    parts: Parts,
    incoming: ClientRequest,
    outgoing: ProviderRequest,
    ticket: AsyncTicket,
    new: NewIds | None,
    progress: SendProgress,
    peer: Peer,
    send: Send,
) -> None:
    async with ticket:
        try:
            await check_binds(incoming.holder, ticket)
            incoming.own.update(observed_headers(ticket))
            await _send(parts, incoming, outgoing, ticket, new, progress, peer, send)
        except Exception:
            incoming.own.update(await hold_headers(ticket, parts.ledger))
            raise


async def read_models(parts: Parts, incoming: ClientRequest, send: Send) -> None:
    """Pass a request on that reads what there is of models, all or one."""
    upstream = parts.upstreams.find(incoming.endpoint, incoming.endpoint.model)
    check_access(incoming.holder, upstream)
    nothing = ProviderRequest(upstream=upstream, written={}, renamed={}, body={})
    await _pass_on(parts, incoming, nothing, send)


async def pass_stored(parts: Parts, incoming: ClientRequest, send: Send) -> None:
    """Pass a request on that reads, removes or cancels a response that the token made."""
    kept = await owned_response(parts.kept, incoming.holder, incoming.endpoint.model)
    found = parts.upstreams.find(incoming.endpoint, f"{kept.provider}/{kept.id}")
    upstream = replace(found, model="")
    check_access(incoming.holder, upstream)
    nothing = ProviderRequest(upstream=upstream, written={}, renamed={}, body={})
    await _pass_on(parts, incoming, nothing, send)


async def _outgoing(parts: Parts, incoming: ClientRequest, peer: Peer) -> ProviderRequest:
    written, model = await parts.large.run(incoming.body, peer, partial(_read, incoming))
    upstream = parts.upstreams.find(incoming.endpoint, model)
    check_access(incoming.holder, upstream)
    renamed = written
    if "model" in written and upstream.model != written["model"]:
        if incoming.endpoint.is_form:
            words = f"a form passes as it is: name its model '{upstream.model[:100]}' in it"
            raise Denied(400, "invalid_form", words)
        renamed = {**written, "model": upstream.model}
    is_free = costs_nothing(incoming.endpoint, upstream)
    body = renamed if is_free else with_tier(incoming.holder, incoming.endpoint, renamed)
    return ProviderRequest(
        upstream=upstream, written=written, renamed=renamed, body=body, is_free=is_free
    )


def _read(incoming: ClientRequest) -> tuple[dict[str, Any], str]:
    """Return what the body says, and the name of the model that the request is for."""
    endpoint = incoming.endpoint
    if endpoint.is_form:
        written = form_body(incoming.headers.get("content-type", ""), incoming.body)
    else:
        written = decoded(incoming.body)
    model = endpoint.model or written.get("model", endpoint.default_model)
    if not isinstance(model, str) or not model:
        raise Denied(400, "no_model", "the request names no model")
    if endpoint.kind == "unlisted":
        check_self_bounded(incoming.holder, written)
    return written, model


def _options(parts: Parts, incoming: ClientRequest, outgoing: ProviderRequest) -> OpenOptions:
    upstream, endpoint, settings = outgoing.upstream, incoming.endpoint, parts.settings
    options = OpenOptions(
        api=endpoint.api,
        provider=upstream.provider,
        host=upstream.host,
        headers=incoming.headers,
        stream=endpoint.stream,
        wait=settings.wait,
        timeout=settings.timeout,
        labels={"token": incoming.holder.token_id},
        policy=policy_at(parts.policy, stops_on_close=upstream.stops_on_close),
        default_max_tokens=upstream.default_max_tokens,
        context_window=upstream.context_window,
        allowed_options=upstream.allowed_options,
    )
    if endpoint.model:
        options["model"] = upstream.model
    most = _at_most(incoming)
    if most is not None:
        options["at_most"] = most
    named = incoming.headers.get("idempotency-key")
    if named:
        # Of one token: another's may have the same.
        whole = f"{incoming.holder.token_id}\n{named}"
        options["key"] = f"gateway-{sha256(whole.encode()).hexdigest()[:40]}"
    return options


def _is_dry_run(incoming: ClientRequest) -> bool:
    text = incoming.headers.get("x-earmark-dry-run")
    if text is not None and text.strip().lower() not in _YES:
        raise Denied(400, "unknown_header", "x-earmark-dry-run is 'true' or '1', or is left out")
    return text is not None


def _at_most(incoming: ClientRequest) -> Money | None:
    """Return the most that the call may hold, by its token and its header."""
    found = incoming.holder.access.most_per_request
    text = incoming.headers.get(AT_MOST)
    if text is None:
        return found
    asked = Money(text.strip())
    if asked < Money():
        raise Denied(400, "invalid_amount", f"{AT_MOST} is below 0")
    return asked if found is None else min(found, asked)


async def _quoted(
    parts: Parts,
    incoming: ClientRequest,
    outgoing: ProviderRequest,
    budget: str,
    options: OpenOptions,
    peer: Peer,
) -> HoldQuote:
    """Return what the call would hold; the books are read too, so a small one is in a thread."""
    reading = partial(parts.guard.quote, budget)
    quoting = partial(_self_bounded_too, incoming, outgoing, options, reading)
    if is_large(incoming.body):
        return await parts.large.run(incoming.body, peer, quoting)
    return await asyncio.to_thread(quoting)


async def _opening(
    parts: Parts,
    incoming: ClientRequest,
    outgoing: ProviderRequest,
    budget: str,
    options: OpenOptions,
    peer: Peer,
) -> Opening:
    """Return the call, bounded; by its provider's count where it does not fit without."""
    upstream = outgoing.upstream
    bounding = partial(parts.guard.open, budget)
    opening = await parts.large.run(
        incoming.body, peer, partial(_self_bounded_too, incoming, outgoing, options, bounding)
    )
    if upstream.count_margin is None or opening.is_declared:
        return opening
    if not await asyncio.to_thread(opening.would_be_refused):
        return opening
    counted = await _counted(parts, incoming, outgoing)
    if counted is None:
        return opening
    options["counted_input_tokens"] = counted
    options["count_margin"] = f"{Decimal(upstream.count_margin) / _PARTS_OF_A_PERCENT} %"
    again = partial(bounding, outgoing.body, **options)
    return await parts.large.run(incoming.body, peer, again)


def _self_bounded_too(
    incoming: ClientRequest,
    outgoing: ProviderRequest,
    options: OpenOptions,
    call: Callable[..., _T],
) -> _T:
    """Return what *call* makes of a request that a table bounds, or else its token by its own word.

    Raises:
        BudgetExceeded: Neither does.
    """
    try:
        return call(outgoing.body, **options)
    except BudgetExceeded as refusal:
        own = self_bounded(incoming.holder, incoming.headers, options, refusal)
        # No table says any more what an id is of.
        check_self_bounded(incoming.holder, outgoing.written)
        return call(outgoing.renamed, **own)


async def _counted(parts: Parts, incoming: ClientRequest, outgoing: ProviderRequest) -> int | None:
    """Return what the provider counts for nothing; `None` where it does not answer in time."""
    upstream, endpoint = outgoing.upstream, incoming.endpoint
    asked = count_request(outgoing.body, api=endpoint.api, model=upstream.model)
    name = f"{upstream.provider}/{upstream.model}"
    url = parts.upstreams.find(replace(endpoint, path=asked.path, query=""), name).url
    headers = to_provider(incoming.pairs, upstream.headers)
    body = await run_apart(incoming.body, lambda: json.dumps(asked.body).encode())
    try:
        async with (
            asyncio.timeout(_COUNT_S),
            parts.sender.request("POST", url, headers, body) as response,
        ):
            reply = decoded(await read_reply(response, upstream.secret))
            return asked.tokens(reply) if response.status in _SUCCESS else None
    except (*SENDING_FAILED, InvalidUsage, Denied):
        return None


async def _repeated(ledger: AsyncLedger, key: str) -> Denied:
    """Return the answer to a request whose Idempotency-Key was let in before."""
    known = await ledger.reservation(key)
    words = (
        "a request under this Idempotency-Key was let in before and is not sent again: its"
        f" reservation is {known.state}; use a new key for a new request"
    )
    own = {"x-earmark-key": key, "x-earmark-state": str(known.state), BUDGET: known.budget}
    return Denied(409, "key_reused", words, headers=own)


async def _send(
    parts: Parts,
    incoming: ClientRequest,
    outgoing: ProviderRequest,
    ticket: AsyncTicket,
    new: NewIds | None,
    progress: SendProgress,
    peer: Peer,
    send: Send,
) -> None:
    url, secret = outgoing.upstream.url, outgoing.upstream.secret
    try:
        splicing = partial(spliced, incoming.body, outgoing.written, ticket.body)
        body = await run_apart(incoming.body, splicing)
        headers = to_provider(incoming.pairs, outgoing.upstream.headers)
        async with parts.sender.request("POST", url, headers, body, progress) as response:
            kind = content_type_of(response)
            if response.status not in _SUCCESS:
                await pass_error(parts.ledger, response, ticket, secret, send)
            elif kind == EVENTS or (incoming.endpoint.is_array and kind == ARRAY):
                hides = _hides_usage(incoming.endpoint, outgoing.written)
                own = await hold_headers(ticket, parts.ledger)
                counted = parts.metrics.counted(send)
                with parts.metrics.streaming():
                    if not ticket.is_priced:
                        await pass_unread_stream(response, ticket, own, counted, secret=secret)
                        return
                    await pass_stream(
                        response, ticket, own, new, peer, counted, hides_usage=hides, secret=secret
                    )
            else:
                await pass_reply(parts.ledger, response, ticket, new, secret, send)
    except SENDING_FAILED as error:
        if ticket.charge is not None:
            raise
        if progress.began:
            raise await ticket.fail(error) from None
        failure = connection_failure(outgoing.upstream.provider, error)
        failure.charge = await ticket.release()
        raise failure from None
    except (Exception, asyncio.CancelledError):
        if not progress.began:
            await ticket.release()
        raise


def _hides_usage(endpoint: Endpoint, body: dict[str, Any]) -> bool:
    """Return whether the client did not ask for the usage that its stream is asked for here."""
    asked = mapping(body.get("stream_options")).get("include_usage")
    return endpoint.api == "openai" and asked is not True


async def _pass_on(
    parts: Parts, incoming: ClientRequest, outgoing: ProviderRequest, send: Send
) -> None:
    """Pass a request on that costs nothing, and its reply back."""
    body, secret = incoming.body, outgoing.upstream.secret
    if outgoing.body is not outgoing.written:
        splicing = partial(spliced, body, outgoing.written, outgoing.body)
        body = await run_apart(body, splicing)
    headers = to_provider(incoming.pairs, outgoing.upstream.headers)
    try:
        async with parts.sender.request(
            incoming.method, outgoing.upstream.url, headers, body
        ) as response:
            reply = await read_reply(response, secret)
            if response.status in REDIRECTS:
                raise Denied(502, "redirect", "the provider answered with a redirect")
            passed = to_client(masked_headers(response.raw_headers, secret), keeps_length=True)
            status = response.status
    except SENDING_FAILED as error:
        kind = type(error).__name__
        words = f"provider '{outgoing.upstream.provider}' cannot be asked ({kind})"
        raise Denied(502, "call_failed", words) from None
    await send_answer(send, status, passed, reply)
