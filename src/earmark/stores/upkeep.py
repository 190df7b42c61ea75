"""The database beneath a store, for those who look after it: what it has and lacks, filling it.

It is used without a ledger: one that is too old or too new for that can be looked at, too.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from earmark.errors import StoreError
from earmark.ledger.store import Snapshot
from earmark.stores.migrations import Migration, SchemaState
from earmark.stores.rows import (
    ACCOUNT_COLUMNS,
    ALERT_COLUMNS,
    BUDGET_COLUMNS,
    ENTRY_COLUMNS,
    RESERVATION_COLUMNS,
)
from earmark.stores.tables import Row

#: Every table that has what people wrote, and its columns, which are the same in every database.
TABLES: Final[Mapping[str, str]] = {
    "budget": BUDGET_COLUMNS,
    "account": ACCOUNT_COLUMNS,
    "reservation": RESERVATION_COLUMNS,
    "entry": ENTRY_COLUMNS,
    "alert": ALERT_COLUMNS,
    "operation": '"key", content',
    "run": (
        "run_id, composition_id, composition, input, budget, limit_usd, started_at, status,"
        " alive_until, statement"
    ),
    "run_line": "run_id, number, line",
    "task": (
        "id, number, title, description, type, priority, labels, destructive, assignee, work,"
        " status, approval, approved_by, waiting, attempts, max_attempts, agent, model,"
        " lease_until, due_at, created_at, created_by, claimed_at, started_at, completed_at,"
        " result, error, quality, version"
    ),
    "task_need": "task_id, needs_id",
    "task_label": "label, number",
    "task_attempt": (
        'task_id, number, agent, model, "key", run_id, budget, started_at, ended_at, outcome,'
        " input_tokens, output_tokens"
    ),
    "task_event": "number, task_id, at, actor, move, status, note, operation",
    "quilt_patches": "type, name, data, version, author, created_at, updated_at",
    "quilt_history": "type, name, version, data, author, at",
    "nudge": ("id, number, kind, budget, recipient, title, data, created_at, acked_by, acked_at"),
    "nudge_delivery": "nudge_id, channel, state, tries, next_at, delivered_at, error",
    "nudge_mark": "tree, seq",
    "agent": "name, holder, lease_until, cycles, state, updated_at",
    "token": (
        "id, name, digest, scopes, created_at, expires_at, revoked_at, budget, providers, models,"
        " most_per_request, rotated_at, overlap_until, may_bound, tier, refusal_status,"
        " mode"
    ),
    "token_secret": "token_id, digest, ends_at",
    "request": 'token_id, "key", fingerprint, at, status, body',
    "session_budget": "token_id, path, number, created_at",
    "kept_id": "provider, id, token_id, model, tokens, kept_at",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What stands in a database, and how it stands to this program."""

    store: str
    """Its URL without a password."""
    engine: str
    """The program that keeps it, with its version."""
    schema_state: SchemaState
    rows: Mapping[str, int]
    """How many rows each table has; empty where the tables are not those this program knows."""
    open_holds: int
    settings: Mapping[str, str]
    """What decides whether a commit survives a power cut."""


class Load(Protocol):
    """One transaction that fills an empty database; nothing of it stands before its end."""

    def put(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        """Add *rows*, which are streamed, to *table*."""
        ...

    def complete(self) -> None:
        """Write what follows from the rows, such as the numbers the next ones get."""
        ...

    def count(self, table: str) -> int:
        """Return how many rows *table* has."""
        ...

    def snapshot(self) -> Snapshot:
        """Return what was loaded, before it is committed; closing it ends nothing."""
        ...


class Upkeep(Protocol):
    """A database that books are kept in, or can be."""

    @property
    def name(self) -> str:
        """The store's URL without a password."""
        ...

    def exists(self) -> bool:
        """Return whether there are books, of this program or another; makes nothing."""
        ...

    def status(self) -> Status:
        """Return what stands in the database; changes nothing.

        Raises:
            NotFound: There is no such file.
        """
        ...

    def migrate(self, *, finish: bool) -> tuple[Migration, ...]:
        """Apply what is pending, and return it; *finish* also applies the `post` migrations.

        Raises:
            NotFound: There is no such file.
            SchemaMismatch: A newer program changed the tables.
        """
        ...

    def loading(self) -> AbstractContextManager[Load]:
        """Fill the database, made if there is none; keeps all of it or, after an error, nothing.

        Raises:
            StoreError: It is not empty.
        """
        ...


def not_empty(name: str, found: Mapping[str, int]) -> StoreError:
    """Return the refusal to fill a store that has rows already."""
    counts = ", ".join(f"{table} {rows:,}" for table, rows in found.items())
    return StoreError(store=name, detail=f"it has rows ({counts}): copy to an empty one")
