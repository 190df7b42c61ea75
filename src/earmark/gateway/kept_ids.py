"""Ids of what providers keep, such as responses: each belongs to the token that it was made with.

All tokens share one account at a provider, which would let each of them name what another made.
"""

import json
from contextlib import suppress
from typing import Final

from msgspec import Struct

from earmark.admission.charge import Charge
from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.ledger.values import TableRows
from earmark.pricing.json_values import mapping
from earmark.stores.tables import Row, Tables

#: Rows that are older than this may be removed: OpenAI keeps a response for 30 days. Source:
#: developers.openai.com, "Conversation state", 2026-11.
_KEPT_NS: Final = 31 * 24 * 3600 * NANOS_PER_SECOND
_LOCK: Final = "kept_id"
#: An id that is longer is none that any provider makes.
LONGEST_ID: Final = 200
#: Of one reply, which is one response.
_MOST_NAMED: Final = 4
_COLUMNS: Final = "provider, id, token_id, model, tokens"
#: Whose an id is, stays: a provider that names one again gives it to nobody else. Of one token the
#: most counts, and nothing where that is not known.
_ADD: Final = """
INSERT INTO {schema}.kept_id AS had (provider, id, token_id, model, tokens, kept_at)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (provider, id) DO UPDATE SET tokens = CASE
    WHEN had.model <> excluded.model OR had.tokens IS NULL OR excluded.tokens IS NULL THEN NULL
    WHEN had.tokens > excluded.tokens THEN had.tokens
    ELSE excluded.tokens END
WHERE had.token_id = excluded.token_id
"""
_GET: Final = (
    f"SELECT {_COLUMNS} FROM {{schema}}.kept_id WHERE id = ? AND token_id = ? ORDER BY kept_at DESC"  # noqa: S608
)
_FORGET: Final = """
DELETE FROM {schema}.kept_id WHERE (provider, id) IN (
    SELECT provider, id FROM {schema}.kept_id WHERE kept_at < ? ORDER BY kept_at LIMIT ?
) RETURNING id
"""
#: In one transaction, which settlements wait for.
_BATCH: Final = 500


class KeptId(Struct, frozen=True, kw_only=True):
    """What a provider keeps for one token."""

    provider: str
    id: str
    token_id: str
    model: str
    """As the provider names it."""
    tokens: int | None
    """The most tokens that it brings into a request; `None` where nobody knows."""


class KeptIds:
    """The table of them; any thread may call."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    def find(self, token_id: str, name: str) -> list[KeptId]:
        """Return what the id *name* is of the token's, at whichever providers; the newest first."""
        if not 0 < len(name) <= LONGEST_ID:
            return []
        return [
            _kept(row) for row in self._tables.read(lambda rows: rows.run(_GET, name, token_id))
        ]

    def add_in(self, rows: TableRows, kept: KeptId) -> None:
        """Note *kept* in the transaction of *rows*, unless its id is another token's."""
        values = (kept.provider, kept.id, kept.token_id, kept.model, kept.tokens)
        rows.run(_ADD, *values, self._clock.instant())

    def forget_old(self, most: int = _BATCH) -> bool:
        """Remove *most* rows of what no provider keeps any more; return whether there may be more.

        Durable, in one transaction.
        """
        before = self._clock.instant() - _KEPT_NS
        removed = self._tables.write(_LOCK, lambda rows: rows.run(_FORGET, before, most))
        return len(removed) == most


class NewIds:
    """Notes the ids that one reply names, in the transaction that books its call: a recorder."""

    def __init__(
        self, kept: KeptIds, *, token_id: str, provider: str, model: str, is_whole: bool
    ) -> None:
        """Note them as the token's; *is_whole*: the reply counts all that they will bring."""
        self._kept = kept
        self._token_id = token_id
        self._provider = provider
        self._model = model
        self._is_whole = is_whole
        self._named: set[str] = set()

    def read(self, data: object) -> None:
        """Take the ids out of a decoded reply, or of an event of its stream."""
        for name in names_in(data):
            # What cannot be asked for by its id need not be noted.
            if len(name) <= LONGEST_ID and name.isprintable() and len(self._named) < _MOST_NAMED:
                self._named.add(name)

    def read_body(self, body: bytes) -> None:
        """Take the ids out of a whole reply; what is no JSON has none."""
        with suppress(ValueError, RecursionError):
            self.read(json.loads(body))

    def write(self, rows: TableRows, charge: Charge, failure: BaseException | None) -> None:
        """Note what was named until now; what a settled reply counted is what it brings."""
        usage = charge.usage
        counted = charge.state == "settled" and usage is not None and failure is None
        tokens = usage.tokens if counted and self._is_whole and usage is not None else None
        for name in sorted(self._named):
            kept = KeptId(
                provider=self._provider,
                id=name,
                token_id=self._token_id,
                model=self._model,
                tokens=tokens,
            )
            self._kept.add_in(rows, kept)

    def written(self) -> None:
        """Do nothing: whoever reads them asks the table."""


def names_in(data: object) -> list[str]:
    """Return the id of the response in a reply, or in an event of its stream. Pure."""
    body = mapping(data)
    parts = (body, mapping(body.get("response")))
    found = [part.get("id") for part in parts if part.get("object") == "response"]
    return [each for each in found if isinstance(each, str)]


def _kept(row: Row) -> KeptId:
    provider, name, token_id, model, tokens = row
    return KeptId(provider=provider, id=name, token_id=token_id, model=model, tokens=tokens)
