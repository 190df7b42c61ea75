"""Who asks: a token of the gateway, checked at most once a second."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from msgspec import Struct

from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.gateway.denied import Denied
from earmark.gateway.headers import Pairs, tokens_in
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import TokenRow

#: For how long a token that was found valid is taken for it: a revoked one ends so much later.
_KEPT_NS: Final = NANOS_PER_SECOND
_MOST_KEPT: Final = 10_000

#: Returns the row of a token, `None` if it opens nothing: `Tokens.check`.
CheckToken = Callable[[str], TokenRow | None]


class Holder(Struct, frozen=True):
    """Who asks."""

    token_id: str
    access: GatewayAccess


class Holders:
    """The holders of tokens; its methods belong to the event loop's thread."""

    def __init__(self, check: CheckToken, clock: Clock) -> None:
        self._check = check
        self._clock = clock
        # By digest, so that no token is kept.
        self._known: dict[bytes, tuple[TokenRow, int]] = {}

    async def holder(self, pairs: Pairs) -> Holder:
        """Return who sends a request with these headers.

        Raises:
            Denied: None of them has a token of the gateway that opens anything; or two have, of
                different holders.
        """
        found: Holder | None = None
        for secret in dict.fromkeys(tokens_in(pairs)):
            row = await self._row(secret)
            if row is None or row.access is None:
                continue
            if found is not None and found.token_id != row.id:
                words = "two headers hold tokens of different holders: send one token"
                raise Denied(400, "repeated_header", words)
            found = Holder(row.id, row.access)
        if found is not None:
            return found
        words = (
            "this needs a token of the gateway that is valid, as the API key: ask whoever made"
            " yours for another; `earmark token create NAME --budget PATH` makes one"
        )
        raise Denied(401, "invalid_api_key", words, headers={"www-authenticate": "Bearer"})

    async def check_reader(self, pairs: Pairs) -> None:
        """Let who may read at the service see what this process counts.

        Raises:
            Denied: No header has a token of the service with the scope `read`.
        """
        for secret in tokens_in(pairs):
            row = await self._row(secret)
            if row is not None and row.access is None and "read" in row.scopes:
                return
        words = (
            "metrics need a token of the service: `earmark token create NAME --scope read` makes"
            " one"
        )
        raise Denied(401, "invalid_api_key", words, headers={"www-authenticate": "Bearer"})

    async def _row(self, secret: str) -> TokenRow | None:
        digest, now = sha256(secret.encode()).digest(), self._clock.elapsed()
        row, checked_at = self._known.get(digest, (None, 0))
        if row is None or now - checked_at > _KEPT_NS:
            row = await asyncio.to_thread(self._check, secret)
            self._keep(digest, row)
        return row if row is not None and row.is_valid(self._clock.instant()) else None

    def _keep(self, digest: bytes, row: TokenRow | None) -> None:
        self._known.pop(digest, None)
        if row is not None:
            self._known[digest] = (row, self._clock.elapsed())
            if len(self._known) > _MOST_KEPT:
                del self._known[next(iter(self._known))]
