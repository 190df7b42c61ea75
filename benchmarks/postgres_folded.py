"""What the server can do with the ledger's rows: batches of so many operations, and no ledger.

Half of a batch opens reservations, half settles those of the batch before; three set-based
statements in one transaction, prepared, their arguments made before the clock runs. Nothing is
locked, looked up, decided, checked or answered, and no account is changed, so no ledger on these
rows can do more.
"""

from contextlib import closing
from itertools import count
from time import perf_counter_ns
from typing import Final

import psycopg

from benchmarks.load import LEAF, make_budgets
from earmark.clock import NANOS_PER_SECOND, SystemClock
from earmark.ids import new_key
from earmark.stores.open import open_ledger
from earmark.stores.postgres_url import PostgresUrl

#: So many operations are made ready before the clock runs.
_AT_ONCE: Final = 2048
_FIRST: Final = 1_000_000
#: Nano-USD, as they are sent.
_HOLD: Final = "100000000"
_COST: Final = "42000000"
#: As the store's own function has them: rows are found by their keys.
_SETTINGS: Final = (
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET plan_cache_mode = force_generic_plan",
)
_ENTRIES: Final = """
INSERT INTO {s}.entry (seq, at, kind, "key", budget, usd, calls, tokens, prior, data)
SELECT seq, 1, kind, "key", budget, usd, 1, NULL, 0, ''
FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[], %b::bigint[])
    AS e (seq, kind, "key", budget, usd)
"""
_OPENED: Final = """
INSERT INTO {s}.reservation (
    "key", budget, usd, calls, tokens, state, accounts, opened, expires, closed, labels, seq, last
)
SELECT "key", budget, usd, 1, NULL, 'open', '3 2 1', 1, 3600000000001, 0, '', seq, seq
FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::bigint[]) AS e (seq, "key", budget, usd)
"""
_CLOSED: Final = """
UPDATE {s}.reservation r
SET state = 'settled', closed = 2, actual_usd = e.usd, actual_calls = 1, last = e.seq
FROM unnest(%b::bigint[], %b::text[], %b::bigint[]) AS e (seq, "key", usd)
WHERE r."key" = e."key"
"""

Arguments = tuple[str, ...]
Statements = list[tuple[bytes, Arguments]]


class FoldedBatches:
    """Writes the rows of reserves and settles on one connection, a batch in each transaction."""

    def __init__(self, url: str, batch: int) -> None:
        self._size = batch
        with open_ledger(url) as ledger:
            make_budgets(ledger)
        place = PostgresUrl.parse(url)
        self._sql = [
            sql.replace("{s}", f'"{place.schema}"').encode() for sql in (_ENTRIES, _OPENED, _CLOSED)
        ]
        self._connection = psycopg.connect(place.conninfo, autocommit=True, prepare_threshold=0)
        for statement in _SETTINGS:
            self._connection.execute(statement.encode())
        self._clock = SystemClock()
        self._numbers = count(_FIRST)
        self._before: list[str] = []

    def rate(self, seconds: float) -> float:
        """Return how many operations a second become durable."""
        taken = done = 0
        while taken < seconds * NANOS_PER_SECOND:
            batches = [self._batch() for _ in range(_AT_ONCE // self._size)]
            began = perf_counter_ns()
            for _, statements in batches:
                self._commit(statements)
            taken += perf_counter_ns() - began
            done += sum(operations for operations, _ in batches)
        return done * NANOS_PER_SECOND / taken

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _batch(self) -> tuple[int, Statements]:
        """Return how many operations the next batch has, and what writes them."""
        opened = [new_key(self._clock) for _ in range(self._size // 2)]
        closed, self._before = self._before, opened
        new, old = len(opened), len(closed)
        numbers = [str(next(self._numbers)) for _ in range(new + old)]
        entries = (
            _array(numbers),
            _array(["reserve"] * new + ["settle"] * old),
            _array(opened + closed),
            _array([LEAF] * (new + old)),
            _array([_HOLD] * new + [_COST] * old),
        )
        holds = (
            _array(numbers[:new]),
            _array(opened),
            _array([LEAF] * new),
            _array([_HOLD] * new),
        )
        costs = _array(numbers[new:]), _array(closed), _array([_COST] * old)
        return new + old, list(zip(self._sql, (entries, holds, costs), strict=True))

    def _commit(self, batch: Statements) -> None:
        with self._connection.transaction():
            for sql, arguments in batch:
                self._connection.execute(sql, arguments)


def _array(values: list[str]) -> str:
    return '{"' + '","'.join(values) + '"}' if values else "{}"


def folded(url: str, batch: int, seconds: float) -> float:
    """Return the operations per second, in batches of *batch*, on new books at *url*."""
    with closing(FoldedBatches(url, batch)) as batches:
        return batches.rate(seconds)
