"""What the server does without Earmark: bare commits, and one transaction per operation.

The latter is how one would do it without batches, and as well as it goes: one call of one function,
so one round trip, that changes the three accounts leaf first and root last, so that the row all
callers want is locked the shortest time; READ COMMITTED, prepared, keys that count once, an entry
for each operation. It knows no windows, no other units, no deadlines and no alerts.
"""

import asyncio
from itertools import count
from time import perf_counter_ns
from typing import Final

import psycopg

from benchmarks.figure import quantile
from benchmarks.load import LoopFactory
from benchmarks.raw import Syncs
from earmark.clock import NANOS_PER_SECOND, SystemClock
from earmark.ids import new_key

_RAW: Final = """
CREATE TABLE raw_commit (id bigint PRIMARY KEY, amount bigint NOT NULL);
"""
_TABLES: Final = """
CREATE TABLE plain_account (
    id bigint PRIMARY KEY, "limit" bigint NOT NULL, settled bigint NOT NULL, held bigint NOT NULL
) WITH (fillfactor = 40);
INSERT INTO plain_account VALUES (1, 1e15, 0, 0), (2, 1e15, 0, 0), (3, 1e15, 0, 0);
CREATE TABLE plain_hold (
    "key" text PRIMARY KEY, amount bigint NOT NULL, actual bigint, state text NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE plain_entry (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, "key" text NOT NULL,
    amount bigint NOT NULL
);
CREATE FUNCTION plain_reserve(p_key text, p_amount bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_id bigint;
BEGIN
    INSERT INTO plain_hold VALUES (p_key, p_amount, NULL, 'open') ON CONFLICT DO NOTHING;
    IF NOT found THEN
        RETURN true;
    END IF;
    INSERT INTO plain_entry (kind, "key", amount) VALUES ('reserve', p_key, p_amount);
    FOREACH v_id IN ARRAY ARRAY[3, 2, 1] LOOP
        UPDATE plain_account SET held = held + p_amount
        WHERE id = v_id AND p_amount <= "limit" - settled - held;
        IF NOT found THEN
            RAISE EXCEPTION 'over the limit of %', v_id;
        END IF;
    END LOOP;
    RETURN true;
END $$;
CREATE FUNCTION plain_settle(p_key text, p_actual bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE v_amount bigint; v_id bigint;
BEGIN
    UPDATE plain_hold SET state = 'settled', actual = p_actual
    WHERE "key" = p_key AND state = 'open' RETURNING amount INTO v_amount;
    IF NOT found THEN
        RETURN false;
    END IF;
    INSERT INTO plain_entry (kind, "key", amount) VALUES ('settle', p_key, p_actual);
    FOREACH v_id IN ARRAY ARRAY[3, 2, 1] LOOP
        UPDATE plain_account SET held = held - v_amount, settled = settled + p_actual
        WHERE id = v_id;
    END LOOP;
    RETURN true;
END $$;
"""
_HOLD: Final = 100_000_000
_COST: Final = 42_000_000
#: The share of a measurement that runs before it counts.
_WARM_UP: Final = 0.2


def prepare(conninfo: str) -> None:
    """Make the tables and functions, in the schema that *conninfo* leads to."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in (_RAW, _TABLES):
            connection.execute(statement)


class RawCommits:
    """Transactions of one inserted row on one connection, the least that is durable."""

    def __init__(self, conninfo: str) -> None:
        self._connection = psycopg.connect(conninfo, autocommit=True, prepare_threshold=0)
        self._numbers = count()

    def take(self, seconds: float) -> Syncs:
        """Return how fast the server makes a row durable."""
        execute, numbers = self._connection.execute, self._numbers
        times: list[int] = []
        began = at = perf_counter_ns()
        while at - began < seconds * NANOS_PER_SECOND:
            execute("INSERT INTO raw_commit VALUES (%b, %b)", (next(numbers), _HOLD))
            ended = perf_counter_ns()
            times.append(ended - at)
            at = ended
        rate = len(times) * NANOS_PER_SECOND / (at - began)
        times.sort()
        return Syncs(rate=rate, p50_ns=quantile(times, 0.5), p99_ns=quantile(times, 0.99))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def transactions(
    conninfo: str, connections: int, seconds: float, loop: LoopFactory | None
) -> float:
    """Return the operations per second of *connections* that commit each operation by itself."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(_transactions(conninfo, connections, seconds))


async def _transactions(conninfo: str, connections: int, seconds: float) -> float:
    crew = [
        await psycopg.AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=0)
        for _ in range(connections)
    ]
    began = perf_counter_ns()
    start = began + int(seconds * _WARM_UP * NANOS_PER_SECOND)
    stop = start + int(seconds * NANOS_PER_SECOND)
    clock = SystemClock()

    async def caller(connection: psycopg.AsyncConnection) -> int:
        done = 0
        # One at least: a machine that is busy with other work measures less well.
        while perf_counter_ns() < stop or not done:
            key = new_key(clock)
            for statement, amount in (("plain_reserve", _HOLD), ("plain_settle", _COST)):
                await connection.execute(f"SELECT {statement}(%b, %b)".encode(), (key, amount))
                ended = perf_counter_ns()
                done += start <= ended and (ended <= stop or not done)
        return done

    try:
        done = await asyncio.gather(*(caller(connection) for connection in crew))
    finally:
        for connection in crew:
            await connection.close()
    return sum(done) * NANOS_PER_SECOND / (stop - start)
