"""`Idempotency-Key`: a POST that is sent again under its key gets the first answer again.

The answer of a success is stored for a day, by token and key; a refusal is not: sent again under
its key, the request is tried anew, as in the ledger.

An operation on a reservation stores its answer in its own transaction (`AnswerWithEffect`).
Elsewhere the request is stored, done, and its answer stored, and a process may die in between. So
the effect itself carries the key, where the ledger or the board takes a name (a budget's extension,
a new task), and repeated it answers as the first time. The other operations are idempotent by
themselves: acknowledging and pausing again change nothing, and a task that has moved on refuses the
same move with 409.
"""

import json
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID, uuid5

from fastapi import Depends, Header, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.errors import EarmarkError, KeyReused, StoreError
from earmark.ids import new_key
from earmark.ledger.values import OnReservation, Reservation
from earmark.service.answers import SecretAnswer
from earmark.service.json_body import JsonRequest, check_json
from earmark.service.problems import ProblemError
from earmark.stores.tables import Row, Rows, Tables

LONGEST_KEY: Final = 200
_LONGEST_NAME: Final = 64
KEPT_S: Final = 24 * 3600
#: Whoever began to answer and has not for so long is dead, or so slow that doing it again beside
#: him is better: what is done is named by the key.
LEASE_S: Final = 5

_LOCK: Final = "request"
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_HEADER: Final = "idempotency-key"
_REPLAYED: Final = {"Idempotent-Replayed": "true"}
#: Headers that belong to an answer.
_KEPT_HEADERS: Final = ("location", "etag", "content-type")
_SUCCESS: Final = range(200, 300)
_BUSY: Final = "the first request under this key is still being answered"
_OTHER: Final = "the key was used before with another request: use a new key for a new request"

_LOG: Final = logging.getLogger("earmark.service")
_GET: Final = (
    'SELECT fingerprint, at, status, body FROM {schema}.request WHERE token_id = ? AND "key" = ?'
)
_ADD: Final = (
    'INSERT INTO {schema}.request (token_id, "key", fingerprint, at, status, body)'
    " VALUES (?, ?, ?, ?, 0, ?)"
)
_TAKE: Final = (
    'UPDATE {schema}.request SET at = ?, body = ? WHERE token_id = ? AND "key" = ? AND status = 0'
)
_KEEP: Final = (
    "UPDATE {schema}.request SET at = ?, status = ?, body = ?"
    ' WHERE token_id = ? AND "key" = ? AND status = 0'
)
_ADD_ANSWERED: Final = (
    'INSERT INTO {schema}.request (token_id, "key", fingerprint, at, status, body)'
    ' VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (token_id, "key") DO UPDATE'
    " SET at = excluded.at, status = excluded.status, body = excluded.body"
    " WHERE request.status = 0 AND request.fingerprint = excluded.fingerprint"
)
_DROP: Final = (
    'DELETE FROM {schema}.request WHERE token_id = ? AND "key" = ? AND status = 0 AND body = ?'
)
_PURGE: Final = "DELETE FROM {schema}.request WHERE at < ?"
_PROBE: Final = (
    'INSERT INTO {schema}.request (token_id, "key", fingerprint, at, status, body)'
    " VALUES ('', 'probe', '', ?, 0, '')"
    ' ON CONFLICT (token_id, "key") DO UPDATE SET at = excluded.at'
)

RouteHandler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class _RequestRow:
    """One request as the table knows it."""

    token_id: str
    key: str
    fingerprint: str
    holder: str
    """Who answers it now."""


@dataclass(frozen=True, slots=True)
class _StoredAnswer:
    status: int
    body: str


class StoredAnswers:
    """The answers of one store's services; any thread may call."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock
        self._answering: dict[tuple[str, str], str] = {}
        """The fingerprints of the requests that this process answers; for the loop's thread."""

    async def answer(self, request: Request, key: str, handler: RouteHandler) -> Response:
        """Return what *handler* answers, or what it answered when *key* came first.

        Raises:
            ProblemError: 422: the key came with another request; 409: that one is being answered.
        """
        row = await self._row_of(request, key)
        stored = await run_in_threadpool(self.begin, row)
        if stored is not None:
            return _replayed(stored)
        try:
            response = await handler(request)
        except BaseException as error:
            await self._quietly(self._forget if _is_decided(error) else self._leave, row)
            raise
        if response.status_code in _SUCCESS:
            await self._quietly(self._keep, row, response)
        else:
            await self._quietly(self._forget, row)
        return response

    async def answer_with_effect(
        self, request: Request, key: str, handler: RouteHandler
    ) -> Response:
        """Return what *handler* answers, or what it answered when *key* came first.

        The handler stores its answer itself, by `AnswerWithEffect`.

        Raises:
            ProblemError: As `answer`; 409 within this process. In another one the same request
                finds by the ledger's keys that its operation was done, and another request under
                the key finds this one's answer in its transaction, which is undone.
            KeyReused: That happened here.
        """
        row = await self._row_of(request, key)
        name = (row.token_id, row.key)
        first = self._answering.get(name)
        if first is not None:
            raise _busy() if first == row.fingerprint else ProblemError(422, "key_reused", _OTHER)
        self._answering[name] = row.fingerprint
        try:
            stored = await run_in_threadpool(self.find, row)
            if stored is not None:
                return _replayed(stored)
            request.state.idempotency_row = row
            return await handler(request)
        finally:
            del self._answering[name]

    def find(self, row: _RequestRow) -> _StoredAnswer | None:
        """Return the stored answer, if there is one; changes nothing."""
        now = self._clock.instant()
        found = self._tables.read(lambda rows: rows.run(_GET, row.token_id, row.key))
        # Those whose day is over are removed by the next write.
        valid = [each for each in found if each[1] >= now - KEPT_S * NANOS_PER_SECOND]
        return _stored_answer(valid[0], row, now) if valid else None

    def begin(self, row: _RequestRow) -> _StoredAnswer | None:
        """Return the answer that is kept; `None`: it is the caller's to give, and noted as such."""
        now = self._clock.instant()
        return self._tables.write(_LOCK, lambda rows: _begin(rows, row, now))

    def probe(self) -> None:
        """Write one row in the place of the last probe's: whether the store can be written."""
        at = self._clock.instant()
        self._tables.write(_LOCK, lambda rows: rows.run(_PROBE, at))

    async def _row_of(self, request: Request, key: str) -> _RequestRow:
        body = await request.body()
        target = f"{request.method} {request.url.path}?{request.url.query}\n"
        fingerprint = sha256(target.encode() + body).hexdigest()
        return _RequestRow(request.state.caller.token_id, key, fingerprint, new_key(self._clock))

    def _keep(self, row: _RequestRow, response: Response) -> None:
        now, status = self._clock.instant(), response.status_code
        values = (now, status, _stored_form(response), row.token_id, row.key)
        self._tables.write(_LOCK, lambda rows: rows.run(_KEEP, *values))

    def _forget(self, row: _RequestRow) -> None:
        """Free the key: nothing was done."""
        values = (row.token_id, row.key, row.holder)
        self._tables.write(_LOCK, lambda rows: rows.run(_DROP, *values))

    def _leave(self, row: _RequestRow) -> None:
        """Let the same request be made again at once, and no other: it may have been done."""
        over = self._clock.instant() - LEASE_S * NANOS_PER_SECOND
        values = (over, row.holder, row.token_id, row.key)
        self._tables.write(_LOCK, lambda rows: rows.run(_TAKE, *values))

    async def _quietly(self, work: Callable[..., None], *values: object) -> None:
        """Do *work*; where the store fails now, the lease ends by itself."""
        try:
            await run_in_threadpool(work, *values)
        except StoreError as error:
            _LOG.warning("an answer under a key was not kept: %s", error)


def _begin(rows: Rows, row: _RequestRow, now: int) -> _StoredAnswer | None:
    rows.run(_PURGE, now - KEPT_S * NANOS_PER_SECOND)
    found = rows.run(_GET, row.token_id, row.key)
    if not found:
        rows.run(_ADD, row.token_id, row.key, row.fingerprint, now, row.holder)
        return None
    stored = _stored_answer(found[0], row, now)
    if stored is None and found[0][3] != row.holder:
        rows.run(_TAKE, now, row.holder, row.token_id, row.key)
    return stored


def _stored_answer(found: Row, row: _RequestRow, now: int) -> _StoredAnswer | None:
    """Return the answer in *found*; `None`: it is the caller's to give.

    Raises:
        ProblemError: It is another request's, or that request is being answered.
    """
    fingerprint, at, status, body = found
    if not status and body == row.holder:
        return None  # written before the connection was lost
    if fingerprint != row.fingerprint:
        raise ProblemError(422, "key_reused", _OTHER)
    if status:
        return _StoredAnswer(status, body)
    # Begun later than now, it was begun by a clock that was set back since.
    if 0 <= now - at < LEASE_S * NANOS_PER_SECOND:
        raise _busy()
    return None


def _busy() -> ProblemError:
    return ProblemError(409, "in_progress", _BUSY, headers={"Retry-After": "1"})


def _stored_form(response: Response) -> str:
    """Return what is stored of *response*."""
    stored = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    body = response.stored_body if isinstance(response, SecretAnswer) else response.body
    return json.dumps({"headers": stored, "body": bytes(body).decode()})


def _is_decided(error: BaseException) -> bool:
    """Return whether *error* says no before anything was done."""
    if isinstance(error, EarmarkError):
        return not isinstance(error, StoreError)
    return isinstance(error, ProblemError | RequestValidationError | HTTPException)


def _replayed(stored: _StoredAnswer) -> Response:
    form = json.loads(stored.body)
    return Response(form["body"], stored.status, headers={**form["headers"], **_REPLAYED})


Op = TypeVar("Op", bound=OnReservation)


class AnswerWithEffect:
    """The answer to one request about a reservation, stored by the transaction of its effect.

    One commit writes both. Without an Idempotency-Key no answer is stored.
    """

    def __init__(
        self, request: Request, to_json: Callable[[Reservation], object], *, status: int = 200
    ) -> None:
        """Answer *request* with the JSON of the reservation."""
        self._row: _RequestRow | None = getattr(request.state, "idempotency_row", None)
        self._clock: Clock = request.app.state.service.clock
        self._to_json = to_json
        self._status = status

    def by(self, operation: Op) -> Op:
        """Return *operation* so that it stores the answer."""
        return operation if self._row is None else replace(operation, also=self._store)

    def response(self, reservation: Reservation) -> Response:
        """Return the answer."""
        return JSONResponse(self._to_json(reservation), self._status)

    def _store(self, rows: Rows, reservation: Reservation) -> None:
        assert self._row is not None, "without a key no answer is stored"
        now, row = self._clock.instant(), self._row
        form = _stored_form(self.response(reservation))
        rows.run(_PURGE, now - KEPT_S * NANOS_PER_SECOND)
        values = (row.token_id, row.key, row.fingerprint, now, self._status, form)
        rows.run(_ADD_ANSWERED, *values)
        # Read after it was written: whoever wrote first has committed by then.
        (found,) = rows.run(_GET, row.token_id, row.key)
        if found[0] != row.fingerprint:
            # Another process did another request under this key meanwhile: nothing is done here.
            raise KeyReused(key=row.key, field="a request", first="that differs", now="this one")


class IdempotentRoute(APIRoute):
    """A route of the API: finds out who asks, and answers repeated requests as the first."""

    stores_with_effect = False
    """Whether its handlers store their answers by `AnswerWithEffect`."""

    def get_route_handler(self) -> RouteHandler:
        """Return the handler, with that before it."""
        handler = super().get_route_handler()
        known = frozenset(_query_names(self.dependant))

        async def handle(values: Request) -> Response:
            request = JsonRequest(values.scope, values.receive)
            service = request.app.state.service
            caller = await service.authenticator.caller(request)
            request.state.caller = caller
            _check_query(request, known)
            if request.method in _WITH_BODY:
                await check_json(request)
            key = request.headers.get(_HEADER)
            if request.method != "POST" or key is None or not caller.token_id:
                return await handler(request)
            stored: StoredAnswers = service.stored_answers
            answer = stored.answer_with_effect if self.stores_with_effect else stored.answer
            return await answer(request, _checked(key), handler)

        return handle


class AnswerWithEffectRoute(IdempotentRoute):
    """A route whose handlers store their answers by `AnswerWithEffect`: one commit for both."""

    stores_with_effect = True


def _query_names(route: Dependant) -> Iterator[str]:
    yield from (each.alias for each in route.query_params)
    for part in route.dependencies:
        yield from _query_names(part)


def _check_query(request: Request, known: frozenset[str]) -> None:
    """Refuse a parameter that the route does not take: ignored, it would change the answer."""
    for name in request.query_params:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            there_are = f"there are {', '.join(sorted(known))}" if known else "there are none here"
            hint = f"did you mean {near[0]}?" if near else there_are
            named = ascii(name[:_LONGEST_NAME])
            raise ProblemError(
                422, "unknown_parameter", f"query parameter {named} is unknown: {hint}"
            )


def _checked(key: str) -> str:
    if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        want = f"an Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters"
        raise ProblemError(400, "invalid_key", want)
    return key


async def _operation(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=LONGEST_KEY,
            pattern="^[ -~]*$",
            description="Names the request: sent again, it is answered again and not done again.",
        ),
    ] = None,
) -> str | None:
    """Return the name that the request's key gives to what it does: of this token alone."""
    if idempotency_key is None:
        return None
    space = UUID(request.state.caller.token_id) if request.state.caller.token_id else UUID(int=0)
    return str(uuid5(space, idempotency_key))


#: What the effect of a POST is called; None where the caller gave no key.
OperationName = Annotated[str | None, Depends(_operation)]
