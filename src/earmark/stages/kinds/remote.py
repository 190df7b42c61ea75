"""Stages behind a URL: `POST {"input": …}`, answered by the envelope, with the budget passed on."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import httpx2

from earmark.admission.call import Grant, Reply
from earmark.clock import NANOS_PER_SECOND, parse_duration
from earmark.composition.catalogue import Quote
from earmark.composition.effects import FALLIBLE, NETWORK
from earmark.composition.types import ANY
from earmark.errors import CallFailed, InvalidStage
from earmark.money import AmountLike, Money
from earmark.pricing.bound import Bound, DeclaredBound
from earmark.stages.kinds.declare import EffectLike, TypeLike, declare, declared_cost
from earmark.stages.kinds.envelope import StageReply, read_answer
from earmark.stages.kinds.jsontext import Json, write_json
from earmark.stages.kinds.kind import Tools, tail
from earmark.stages.stage import StageSpec

#: What a remote may answer before the connection is cut.
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
#: The request header, and body field, that tells a remote what it may spend, in USD.
BUDGET_HEADER = "Earmark-Budget-Usd"
BUDGET_FIELD = "budget_usd"

_OK = range(200, 300)
#: Statuses by which a server turns a request away before any work (RFC 9110 §15.5, RFC 6585 §4).
_TURNED_AWAY = frozenset({400, 401, 403, 404, 405, 406, 411, 413, 414, 415, 421, 422, 429, 431})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 529})


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteKind:
    """A stage that another program serves over HTTP."""

    spec: StageSpec
    url: str
    timeout_s: float | None = None

    @property
    def free(self) -> bool:
        """Never: also one that declares no cost can report one."""
        return False

    def quote(self, tools: Tools) -> Quote | None:
        """Leave its price to the declared cost."""
        del tools

    def call(self, value: Json, tools: Tools) -> "RemoteCall":
        """Return the call that posts *value* once."""
        cost = declared_cost(self.spec)
        return RemoteCall(name=self.spec.name, url=self.url, cost=cost, value=value, tools=tools)


def remote_stage(
    name: str,
    url: str,
    *,
    cost: AmountLike | None = None,
    effects: Iterable[EffectLike] | None = None,
    input: TypeLike = ANY,  # noqa: A002 - the format's own word
    output: TypeLike = ANY,
    timeout: str | float | None = None,
) -> RemoteKind:
    """Return the stage behind *url*; *cost* is the most one call may cost, in USD.

    Raises:
        InvalidStage: No http(s) address, or a type or an effect is none.
        InvalidAmount: The cost is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidStage(place="/url", detail=f"{show_url(url)!r} is no http(s) address")
    spec = declare(
        name,
        "remote",
        implementation={"url": url},
        effects=(NETWORK, FALLIBLE) if effects is None else effects,
        cost=cost,
        input=input,
        output=output,
    )
    seconds = None if timeout is None else parse_duration(timeout) / NANOS_PER_SECOND
    return RemoteKind(spec=spec, url=url, timeout_s=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCall:
    """One POST to a remote stage."""

    name: str
    url: str
    cost: Money
    value: Json
    tools: Tools

    @property
    def bound(self) -> Bound:
        """The declared cost."""
        return DeclaredBound(self.cost)

    @property
    def streams(self) -> bool:
        """Remote stages answer at once."""
        return False

    async def send(self, grant: Grant) -> Reply:
        """Post the input with the hold as the remote's budget; settle what it reports.

        A remote that reports nothing has spent the whole hold, as far as anybody knows.

        Raises:
            CallFailed: Not billed where it was never reached or turned the request away.
        """
        status, body = await self._post(_body(self.value, grant), grant)
        answer = read_answer(body)
        if status in _OK and not answer.problem:
            note = answer.note or (
                "" if answer.spent is not None else "the remote reported no cost"
            )
            cost = answer.spent
            if cost is None and not self.cost:
                cost = Money()  # declared free, and it does not object
            return Reply(value=answer.output, cost=cost, note=note)
        raise _failure(status, answer, body)

    async def _post(self, body: bytes, grant: Grant) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", BUDGET_HEADER: str(grant.available)}
        client = self.tools.http(httpx2.AsyncClient)
        try:
            async with (
                asyncio.timeout(grant.timeout_s),
                client.stream(
                    "POST", self.url, content=body, headers=headers, timeout=grant.timeout_s
                ) as response,
            ):
                return response.status_code, await _read_limited(response)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise _lost("cannot connect", error, "no") from error
        except (httpx2.HTTPError, TimeoutError) as error:
            raise _lost("no whole answer", error, "unknown") from error


def show_url(url: str) -> str:
    """Return *url* without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path


def _body(value: Json, grant: Grant) -> bytes:
    try:
        body = write_json({"input": value, BUDGET_FIELD: str(grant.available)})
    except ValueError as error:
        raise CallFailed(detail=f"its input is not JSON: {error}", billed="no") from error
    return body.encode(errors="replace")


async def _read_limited(response: httpx2.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > ANSWER_LIMIT_BYTES:
            detail = f"the remote answered more than {ANSWER_LIMIT_BYTES} bytes"
            raise CallFailed(detail=detail, billed="unknown", retryable=True)
    return bytes(content)


def _lost(description: str, error: Exception, billed: Literal["no", "unknown"]) -> CallFailed:
    reason = str(error) or type(error).__name__
    return CallFailed(detail=f"{description}: {reason}", billed=billed, retryable=True)


def _failure(status: int, answer: StageReply, body: bytes) -> CallFailed:
    detail = answer.problem
    if status not in _OK:
        message = (
            answer.problem if body.startswith(b"{") else tail(body[:400].decode(errors="replace"))
        )
        detail = f"HTTP {status}: {message}"
    retryable = status in _OK or status in _TRANSIENT
    if answer.spent is not None:
        return CallFailed(
            detail=detail, billed="yes", cost=answer.spent, retryable=retryable, status=status
        )
    billed = "no" if status in _TURNED_AWAY else "unknown"
    return CallFailed(detail=detail, billed=billed, retryable=retryable, status=status)
