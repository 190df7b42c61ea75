"""The gateway as an ASGI application: who asks, what for, and the answer in that API's form."""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from earmark.admission.guard import AsyncGuard
from earmark.config.assemble import KeyLookup, policy_of
from earmark.config.settings import Settings
from earmark.errors import CallFailed
from earmark.gateway.access import CheckToken, Holders
from earmark.gateway.account import balance_of, statement_of
from earmark.gateway.answers import (
    break_off,
    is_expected,
    raw_headers,
    refused,
    send_answer,
    send_json,
)
from earmark.gateway.body_room import BodyRoom
from earmark.gateway.call import ClientRequest, Parts, answer, pass_stored, read_models
from earmark.gateway.denied import Denied
from earmark.gateway.endpoints import Endpoint, api_of_client, find_endpoint
from earmark.gateway.headers import Pairs, by_name, decoded_headers
from earmark.gateway.kept_ids import KeptIds
from earmark.gateway.large_bodies import LargeBodies
from earmark.gateway.metrics import GatewayMetrics, RequestRecord
from earmark.gateway.observed_trees import ObservedTrees
from earmark.gateway.payers import RequestPayers
from earmark.gateway.peer import ClientGone, Peer, read_body
from earmark.gateway.sender import UpstreamSender
from earmark.gateway.session_budgets import SessionBudgets
from earmark.gateway.upkeep import keep_up
from earmark.gateway.upstreams import Upstreams
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.pricing.book import ExactPriceBook
from earmark.pricing.preload import preload
from earmark.serving.asgi import AsgiScope, Message, Receive, Send
from earmark.serving.hosts import LOCAL_NAMES, HostNames, named_host
from earmark.stores.tables import Tables

_LOG: Final = logging.getLogger("earmark.gateway")
_WRONG_HOST: Final = 421
_UNREADABLE: Final = 415


class Gateway:
    """An ASGI application; it begins and ends with its lifespan."""

    def __init__(
        self,
        ledger: Ledger,
        check_token: CheckToken,
        settings: Settings,
        *,
        key: KeyLookup,
        tables: Tables,
        on_refusal: Callable[[Exception], None] | None = None,
    ) -> None:
        """Let clients spend on the budgets of *ledger*, which stays the caller's.

        Args:
            ledger: The books.
            check_token: Returns the row of a token: `Tokens.check`.
            settings: The providers, prices, options and policy, and the gateway's own.
            key: Reads the key of a provider when it is called: `key_from(os.environ)`.
            tables: Beside the books; they stay the caller's.
            on_refusal: Called with each error that a request is answered with here.

        Raises:
            InvalidConfig: An API has two default providers.
        """
        own = settings.gateway
        self.settings = own
        self._hosts = HostNames({*LOCAL_NAMES, own.host, *own.allowed_hosts})
        self._holders = Holders(check_token, ledger.clock)
        self._ledger = AsyncLedger(ledger)
        self._trees = ObservedTrees(self._ledger)
        self._policy = policy_of(settings)
        book = ExactPriceBook(settings.prices, allow_free=settings.admission.allow_free)
        self._guard = AsyncGuard(self._ledger, policy=self._policy, book=book)
        self._upstreams = Upstreams(settings, key)
        self._sessions = SessionBudgets(tables, ledger.clock)
        self._kept = KeptIds(tables, ledger.clock)
        self._room = BodyRoom()
        self._on_refusal = on_refusal
        self.metrics = GatewayMetrics(ledger.clock)
        self._parts: Parts | None = None
        self._loaded: asyncio.Future[None] | None = None

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _Started(send))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        # In a thread: loading takes a second, and whoever comes meanwhile is answered.
        self._loaded = asyncio.ensure_future(asyncio.to_thread(preload))
        ended = asyncio.Event()
        upkeep = asyncio.ensure_future(keep_up(self._kept.forget_old, ended))
        silence_s = self.settings.timeout.total_seconds()
        self._parts = Parts(
            ledger=self._ledger,
            guard=self._guard,
            upstreams=self._upstreams,
            sender=UpstreamSender(silence_s),
            settings=self.settings,
            policy=self._policy,
            payers=RequestPayers(self._ledger, self._sessions, self.settings.sessions_per_token),
            kept=self._kept,
            metrics=self.metrics,
            large=LargeBodies(),
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._loaded
        ended.set()
        await upkeep
        await self._parts.sender.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: AsgiScope, receive: Receive, send: "_Started") -> None:
        raw_path = scope.get("raw_path", b"").decode("latin-1")
        api, client = api_of_client(raw_path, {}), ""
        record = RequestRecord()
        try:
            pairs = decoded_headers(scope["headers"])
            headers = by_name(pairs)
            api = api_of_client(raw_path, headers)
            client = headers.get("originator") or headers.get("user-agent", "")
            self._check_host(pairs)
            query = scope["query_string"].decode("latin-1")
            endpoint = find_endpoint(scope["method"], raw_path, query, headers)
            api = endpoint.api
            await self._serve(scope["method"], endpoint, pairs, headers, record, receive, send)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            is_broken, record.error = send.started, error
            await self._refuse(api, error, client, send)
            if is_broken:
                break_off(scope)
        finally:
            self.metrics.ended(record)

    async def _serve(
        self,
        method: str,
        endpoint: Endpoint,
        pairs: Pairs,
        headers: dict[str, str],
        record: RequestRecord,
        receive: Receive,
        send: "_Started",
    ) -> None:
        if endpoint.kind == "hello":
            # Whether there is anybody: asked for without a token.
            await send_answer(send, 200, [(b"content-length", b"0")], b"")
            return
        if endpoint.kind == "metrics":
            await self._send_metrics(pairs, headers.get("accept", ""), send)
            return
        holder = await self._holders.holder(pairs)
        record.token = holder.token_id
        send.refusal_status = holder.access.refusal_status
        if endpoint.kind == "balance":
            await send_json(send, 200, await balance_of(self._ledger, self._sessions, holder))
            return
        if endpoint.kind == "statement":
            after = parse_qs(endpoint.query).get("after", [""])[0]
            await send_json(send, 200, await statement_of(self._ledger, holder, after))
            return
        send.own.update(await self._trees.headers(holder))
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Denied(_UNREADABLE, "encoded_body", "send the body as it is, without compression")
        if not _is_utf8(headers.get("content-type", "")):
            # Its provider may read another body than was bounded here.
            raise Denied(_UNREADABLE, "encoded_body", "send JSON in UTF-8, or name no charset")
        async with self._room.place() as place:
            incoming = ClientRequest(
                method=method,
                endpoint=endpoint,
                pairs=pairs,
                headers=headers,
                body=await read_body(receive, headers.get("content-length", ""), place),
                holder=holder,
                own=send.own,
                record=record,
            )
            await self._pass(incoming, receive, send)

    async def _pass(self, incoming: ClientRequest, receive: Receive, send: "_Started") -> None:
        endpoint = incoming.endpoint
        assert self._parts is not None, "it is asked within its lifespan"
        assert self._loaded is not None, "as the parts"
        await asyncio.shield(self._loaded)
        if endpoint.kind == "stored":
            await pass_stored(self._parts, incoming, send)
            return
        if endpoint.kind == "models":
            await read_models(self._parts, incoming, send)
            return
        async with Peer(receive) as peer:
            await answer(self._parts, incoming, peer, send)

    async def _send_metrics(self, pairs: Pairs, accept: str, send: Send) -> None:
        from earmark.gateway.metric_families import written  # noqa: PLC0415 - only who is scraped

        await self._holders.check_reader(pairs)
        body, media_type = written(self.metrics, accept)
        length = ("content-length", str(len(body)))
        await send_answer(send, 200, raw_headers([("content-type", media_type), length]), body)

    def _check_host(self, pairs: Pairs) -> None:
        host = named_host([value for name, value in pairs if name == "host"])
        if not host:
            raise Denied(400, "wrong_host", "the request names no host, or not just one")
        if host not in self._hosts:
            words = "this gateway does not answer to that host name: see [gateway] allowed_hosts"
            raise Denied(_WRONG_HOST, "wrong_host", words)

    async def _refuse(self, api: str, error: Exception, client: str, send: "_Started") -> None:
        if not is_expected(error):
            # Its type alone: its text may hold a prompt or a key.
            _LOG.error("a request failed by %s", type(error).__name__)
        elif isinstance(error, CallFailed):
            _LOG.warning("%s", error)
        if self._on_refusal is not None:
            self._on_refusal(error)
        if send.started:
            return  # half an answer, which cannot become another one
        found = refused(api, error, client, send.refusal_status)
        await send_json(send, found.status, found.body, found.headers)


def _is_utf8(content_type: str) -> bool:
    """Return whether *content_type* names no charset but UTF-8."""
    found = re.findall(r"charset\s*\*?\s*=\s*([^;]*)", content_type.lower())
    return all(each.strip(" \t\"'") in {"utf-8", "utf8"} for each in found)


class _Started:
    """Sends to a client, and knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.own: dict[str, str] = {}
        """Headers that the answer has beside its own, where these lack them."""
        self.refusal_status: int | None = None
        """What its token's budget refuses with, once it is known whose it is."""

    async def __call__(self, message: Message) -> None:
        if not self.started and self.own:
            named = {name for name, _ in message["headers"]}
            added = raw_headers(self.own.items())
            message["headers"] += [each for each in added if each[0] not in named]
        self.started = True
        await self._send(message)
