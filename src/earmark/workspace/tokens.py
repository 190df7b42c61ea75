"""Tokens: who may use the service or the gateway, and for what. A digest is kept, never the token.

A token of the service has scopes. One of the gateway has a budget instead, on which alone it
spends, and opens nothing of the service. A token has one secret, and for the time of an overlap
those that it replaced: who holds any of them is the same holder, by the token's id.
"""

import hmac
import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from earmark.budget.budget import Budget
from earmark.clock import Clock, Instant, InstantOrZero, parse_duration
from earmark.errors import InvalidKey, InvalidUsage, NotFound, TokenRefused
from earmark.ids import new_key
from earmark.ledger.requests import Duration
from earmark.stores.tables import Row, Rows, Tables
from earmark.workspace.gateway_access import (
    ACCESS_COLUMNS,
    LONGEST_NAME,
    GatewayAccess,
    check_access,
)

#: From the least to the most; each includes those before it. `spend`: reservations, tasks,
#: acknowledgements. `admin`: budgets, approvals.
SCOPES: Final = ("read", "spend", "admin")
#: The scope of a gateway's token: none of the service's.
GATEWAY: Final = "gateway"
#: For how long a secret opens after another one has taken its place.
DEFAULT_OVERLAP: Final = "24h"

_LOCK: Final = "token"
_MOST_NAMED: Final = 8
_SHAPE: Final = re.compile(r"emk_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")
_COLUMNS: Final = (
    "id, name, digest, scopes, created_at, expires_at, revoked_at, rotated_at, overlap_until,"
    f" {ACCESS_COLUMNS}"
)
_ADD: Final = (
    f"INSERT INTO {{schema}}.token ({_COLUMNS})"  # noqa: S608
    f" VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, {', '.join('?' for _ in ACCESS_COLUMNS.split(','))})"
)
_GET: Final = f"SELECT {_COLUMNS} FROM {{schema}}.token WHERE id = ?"  # noqa: S608
_NAMED: Final = f"SELECT {_COLUMNS} FROM {{schema}}.token WHERE name = ? ORDER BY id"  # noqa: S608
_ANY: Final = "SELECT id FROM {schema}.token WHERE budget = '' ORDER BY id LIMIT 1"
_ALL: Final = f"SELECT {_COLUMNS} FROM {{schema}}.token ORDER BY id"  # noqa: S608
_COUNT: Final = "SELECT count(*) FROM {schema}.token"
_REVOKE: Final = "UPDATE {schema}.token SET revoked_at = ? WHERE id = ? AND revoked_at = 0"
_REPLACED: Final = (
    "SELECT digest, ends_at FROM {schema}.token_secret WHERE token_id = ? AND ends_at > ?"
)
_ROTATE: Final = (
    "UPDATE {schema}.token SET digest = ?, rotated_at = ?, overlap_until = ? WHERE id = ?"
)
_KEEP: Final = "INSERT INTO {schema}.token_secret (token_id, digest, ends_at) VALUES (?, ?, ?)"
_END: Final = "UPDATE {schema}.token_secret SET ends_at = ? WHERE token_id = ? AND ends_at > ?"
_FORGET: Final = "DELETE FROM {schema}.token_secret WHERE token_id = ? AND ends_at <= ?"


#: Returns the budget at a path, `None` where there is none: `Store.budget`.
FindBudget = Callable[[str], Budget | None]


def _no_budget(_: str) -> None:
    return None


class TokenRow(Struct, frozen=True, kw_only=True):
    """What is known of a token; the token itself is not. Instants are nanoseconds, 0 for never."""

    id: str
    """UUID; not secret."""
    name: str
    scopes: tuple[str, ...]
    created_at: Instant
    expires_at: InstantOrZero
    revoked_at: InstantOrZero
    rotated_at: InstantOrZero = 0
    """When its secret was last replaced."""
    overlap_until: InstantOrZero = 0
    """Until when a secret that was replaced may open."""
    access: GatewayAccess | None = None
    """What it may spend by the gateway; `None` for a token of the service."""

    def is_valid(self, now: int) -> bool:
        """Return whether it opens anything at the instant *now*."""
        return not self.revoked_at and (not self.expires_at or now < self.expires_at)


class Tokens:
    """The tokens of one store; any thread may call."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    def create(self, name: str, scopes: Iterable[str], expires_at: int = 0) -> tuple[TokenRow, str]:
        """Make a token; durable. Returns its row and the token itself, which is not kept.

        Args:
            name: Whom it is for: 1 to 100 printable characters.
            scopes: Of `SCOPES`; the highest includes the others.
            expires_at: The instant from which it opens nothing; 0 for never.

        Raises:
            InvalidKey: The name or a scope is none.
        """
        row, token = self._new(name, _check_scopes(scopes), expires_at)
        self._tables.write(_LOCK, lambda rows: _add(rows, row, token))
        return row, token

    def create_for_gateway(
        self,
        name: str,
        access: GatewayAccess,
        expires_at: int = 0,
        *,
        budget_at: FindBudget = _no_budget,
    ) -> tuple[TokenRow, str]:
        """Make a token that spends by the gateway, as *access* has it, and nothing else; durable.

        See `create`.

        Args:
            name: Whom it is for.
            access: What it may spend.
            expires_at: The instant from which it opens nothing; 0 for never.
            budget_at: Returns the budget at a path; without it no token observes.

        Raises:
            InvalidPath: The budget is no path.
            InvalidKey: The name, a provider, a model, the tier, the status or the mode is none, or
                the amount is not above 0.
            TokenRefused: Its mode is `observe`, and the root of its budget is not observed.
        """
        check_access(access)
        if access.mode == "observe":
            _check_observed(name, access.root, budget_at)
        row, token = self._new(name, (GATEWAY,), expires_at, access)
        self._tables.write(_LOCK, lambda rows: _add(rows, row, token))
        return row, token

    def create_first(self, name: str, scopes: Iterable[str]) -> tuple[TokenRow, str] | None:
        """Make a token of the service if there never was one, in one transaction; else `None`.

        Of several processes that ask at once, one gets a token. See `create`.
        """
        row, token = self._new(name, _check_scopes(scopes), 0)
        is_first = self._tables.write(_LOCK, lambda rows: _add_first(rows, row, token))
        return (row, token) if is_first else None

    def _new(
        self,
        name: str,
        scopes: tuple[str, ...],
        expires_at: int,
        access: GatewayAccess | None = None,
    ) -> tuple[TokenRow, str]:
        number = new_key(self._clock).replace("-", "")
        row = TokenRow(
            id=_id(number),
            name=_check_name(name),
            scopes=scopes,
            created_at=self._clock.instant(),
            expires_at=expires_at,
            revoked_at=0,
            access=access,
        )
        return row, f"emk_{number}_{token_urlsafe(32)}"

    def rotate(self, token_id: str, overlap: Duration = DEFAULT_OVERLAP) -> tuple[TokenRow, str]:
        """Give a token another secret; durable. Returns its row and the new token, not kept.

        All else of it stays: id, budget, terms, and so its balance and its calls. The secret before
        opens until *overlap* is over, and so at most do those before that one. In one transaction:
        of several rotations of one secret, one is done.

        Args:
            token_id: Which token.
            overlap: For how long the secret before opens from now on; `0s`: no more.

        Raises:
            NotFound: There is none of that id.
            TokenRefused: It is revoked or expired, or was rotated by somebody else meanwhile.
            InvalidDuration: *overlap* is no duration.
        """
        overlap_ns = parse_duration(overlap)
        before = self._digest_of(token_id)
        token = f"emk_{token_id.replace('-', '')}_{token_urlsafe(32)}"
        change = _Rotation(token_id, before, digest_of(token), overlap_ns)
        return self._tables.write(_LOCK, lambda rows: _rotate(rows, change, self._clock)), token

    def check(self, secret: str) -> TokenRow | None:
        """Return the row of the token *secret*; `None` if it opens nothing (any more).

        See `opened_by`.
        """
        shape = _SHAPE.fullmatch(secret)
        return None if shape is None else self.opened_by(_id(shape[1]), _digest(shape[2]))

    def opened_by(self, token_id: str, digest: str) -> TokenRow | None:
        """Return the row of a token that the secret with *digest* opens; `None` if it does not.

        Of a secret that was replaced, the row expires where the overlap ends.
        """
        now = self._clock.instant()
        row = self._tables.read(lambda rows: _opened(rows, token_id, digest, now))
        return row if row is not None and row.is_valid(now) else None

    def find(self, named: str) -> TokenRow:
        """Return the row of the token whose id is *named*, or else whose name it is.

        Of several tokens of one name, the one that is neither revoked nor expired.

        Raises:
            NotFound: There is none.
            InvalidUsage: Several have that name.
        """
        found = self._tables.read(lambda rows: rows.run(_GET, named) or rows.run(_NAMED, named))
        rows, now = [_row(each) for each in found], self._clock.instant()
        rows = [each for each in rows if each.is_valid(now)] or rows
        if not rows:
            raise _none(named)
        if len(rows) > 1:
            ids = ", ".join(each.id for each in rows[:_MOST_NAMED])
            more = f" and {len(rows) - _MOST_NAMED} more" if len(rows) > _MOST_NAMED else ""
            detail = f"{len(rows)} tokens have the name '{named}': give an id: {ids}{more}"
            raise InvalidUsage(detail=detail)
        return rows[0]

    def get(self, token_id: str) -> TokenRow:
        """Return the row of the token whose id is *token_id*.

        Raises:
            NotFound: There is none.
        """
        found = self._tables.read(lambda rows: rows.run(_GET, token_id))
        if not found:
            raise _none(token_id)
        return _row(found[0])

    def all(self) -> list[TokenRow]:
        """Return every token there ever was, in the order of creation."""
        return [_row(row) for row in self._tables.read(lambda rows: rows.run(_ALL))]

    def count(self) -> int:
        """Return how many tokens there ever were."""
        return self._tables.read(lambda rows: rows.run(_COUNT))[0][0]

    def of_service(self) -> list[TokenRow]:
        """Return every token of the service there ever was; the gateway has its own."""
        return [each for each in self.all() if each.access is None]

    def of_gateway(self) -> list[TokenRow]:
        """Return every token of the gateway there ever was, in the order of creation."""
        return [each for each in self.all() if each.access is not None]

    def any_valid(self) -> bool:
        """Return whether there is a token that opens something of the service now."""
        now = self._clock.instant()
        return any(each.is_valid(now) for each in self.of_service())

    def revoke(self, token_id: str) -> TokenRow:
        """End a token for good; durable. A second time changes nothing.

        Raises:
            NotFound: There is none of that id.
        """
        now = self._clock.instant()
        self._tables.write(_LOCK, lambda rows: rows.run(_REVOKE, now, token_id))
        return self.get(token_id)

    def _digest_of(self, token_id: str) -> str:
        found = self._tables.read(lambda rows: rows.run(_GET, token_id))
        if not found:
            raise _none(token_id)
        return str(found[0][2])


class _Rotation(Struct, frozen=True):
    """One replacement of a token's secret."""

    token_id: str
    before: str
    """The digest that it replaces, and no other."""
    after: str
    overlap_ns: int


def _rotate(rows: Rows, change: _Rotation, clock: Clock) -> TokenRow:
    (found,) = rows.run(_GET, change.token_id)
    row, now = _row(found), clock.instant()
    if found[2] == change.after:
        return row  # done before the connection was lost
    if found[2] != change.before:
        detail = "its secret was replaced by somebody else meanwhile"
        raise TokenRefused(token=row.id, detail=f"{detail}: rotate it again for another one")
    if not row.is_valid(now):
        raise TokenRefused(token=row.id, detail="it is revoked or expired: make a new one")
    until = now + change.overlap_ns
    rows.run(_KEEP, row.id, change.before, until)
    rows.run(_END, until, row.id, until)
    rows.run(_FORGET, row.id, now)
    rows.run(_ROTATE, change.after, now, until if change.overlap_ns else 0, row.id)
    return _row(rows.run(_GET, row.id)[0])


def _opened(rows: Rows, token_id: str, digest: str, now: int) -> TokenRow | None:
    found = rows.run(_GET, token_id)
    # Compared in constant time, also where no token has that id.
    same = hmac.compare_digest(str(found[0][2]) if found else "", digest)
    if same and found:
        return _row(found[0])
    for kept, ends_at in rows.run(_REPLACED, token_id, now) if found else ():
        if hmac.compare_digest(kept, digest):
            row = _row(found[0])
            return replace(row, expires_at=min(row.expires_at or ends_at, ends_at))
    return None


def _none(named: str) -> NotFound:
    return NotFound(kind="token", name=named[:LONGEST_NAME], hint="`earmark token list` shows them")


def _add(rows: Rows, row: TokenRow, token: str) -> None:
    # Done before the connection was lost, perhaps.
    if not rows.run(_GET, row.id):
        scopes = " ".join(row.scopes)
        head = (row.id, row.name, digest_of(token), scopes, row.created_at, row.expires_at)
        rows.run(_ADD, *head, *(row.access or GatewayAccess(budget="")).to_columns())


def _add_first(rows: Rows, row: TokenRow, token: str) -> bool:
    ids = [each[0] for each in rows.run(_ANY)]
    if not ids:
        _add(rows, row, token)
    return ids in ([], [row.id])  # the latter: done before the connection was lost


def _row(row: Row) -> TokenRow:
    number, name, _, scopes, created_at, expires_at, revoked_at, rotated_at, until, *access = row
    return TokenRow(
        id=number,
        name=name,
        scopes=tuple(scopes.split()),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        rotated_at=rotated_at,
        overlap_until=until,
        access=GatewayAccess.from_columns(*access) if access[0] else None,
    )


def digest_of(token: str) -> str:
    """Return what is kept of a token that has the form of one."""
    return _digest(token.split("_", 2)[2])


def _digest(secret: str) -> str:
    # 256 random bits need no salt and no slow hash: there is nothing to guess.
    return sha256(secret.encode()).hexdigest()


def _id(number: str) -> str:
    return "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))


def _check_name(name: str) -> str:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        want = f"1 to {LONGEST_NAME} printable characters"
        raise InvalidKey(text=name[:40], want=want, kind="name of a token")
    return name


def _check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    unique = set(scopes)
    strange = unique.difference(SCOPES)
    if strange or not unique:
        want = "one of " + ", ".join(SCOPES)
        raise InvalidKey(text=", ".join(sorted(strange)), want=want, kind="scope")
    highest = max(map(SCOPES.index, unique))
    return SCOPES[: highest + 1]


def _check_observed(name: str, root: str, budget_at: FindBudget) -> None:
    found = budget_at(root)
    if found is None:
        make = f"`earmark budget set {root} --limit '10 usd per day' --observed` makes it"
        detail = f"mode 'observe' needs an observed tree, and there is no budget '{root}': {make}"
    elif not found.observed:
        mark = f"`earmark budget set {root} --observed` marks it"
        detail = f"mode 'observe' needs an observed tree, and '{root}' is not: {mark}"
    else:
        return
    raise TokenRefused(token=name, detail=detail)
