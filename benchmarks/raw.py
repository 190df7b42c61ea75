"""What the machine can do without Earmark: the limits that the ratios are taken to."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any, Final

from benchmarks.figure import quantile
from earmark.clock import NANOS_PER_SECOND

SYNC_BYTES: Final = 20 * 1024
"""What a commit of one operation writes: about five pages of 4 KiB."""
_LOG_BYTES: Final = 200 * SYNC_BYTES
"""As long as the write-ahead log gets before it starts over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Syncs:
    """How fast a disk makes small overwrites durable."""

    rate: float
    """Per second."""
    p50_ns: int
    p99_ns: int


def fdatasync(folder: Path, seconds: float) -> Syncs:
    """Overwrite 20 KiB of a preallocated file and sync it, again and again."""
    file = os.open(folder / "raw-sync", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # Written, not only allocated: a first write into allocated space costs the file's metadata.
        os.pwrite(file, bytes(_LOG_BYTES), 0)
        os.fsync(file)
        return _syncs(file, os.urandom(SYNC_BYTES), int(seconds * NANOS_PER_SECOND))
    finally:
        os.close(file)


def _syncs(file: int, data: bytes, length_ns: int) -> Syncs:
    times: list[int] = []
    began = at = perf_counter_ns()
    while at - began < length_ns:
        os.pwrite(file, data, len(times) * SYNC_BYTES % _LOG_BYTES)
        os.fdatasync(file)
        ended = perf_counter_ns()
        times.append(ended - at)
        at = ended
    rate = len(times) * NANOS_PER_SECOND / (at - began)
    times.sort()
    return Syncs(rate=rate, p50_ns=quantile(times, 0.5), p99_ns=quantile(times, 0.99))


# Memory and tasks ---------------------------------------------------------------------------------


def plain_books(path: Sequence[str]) -> Callable[[str, int], bool]:
    """Return the least a reserve can be: accounts in a dict, a set of keys, a lock; nothing else.

    It holds an amount on every account of *path* or on none, and a key counts once.
    """
    lock = threading.Lock()
    keys: set[str] = set()
    available = dict.fromkeys(path, 1 << 60)

    def reserve(key: str, amount: int) -> bool:
        with lock:
            if key in keys:
                return True
            for account in path:
                if amount > available[account]:
                    return False
            for account in path:
                available[account] -= amount
            keys.add(key)
            return True

    return reserve


def plain_reserves(path: Sequence[str], keys: Sequence[str]) -> float:
    """Return the nanoseconds of one reserve on plain books."""
    reserve = plain_books(path)
    began = process_time_ns()
    for key in keys:
        reserve(key, 100_000_000)
    return (process_time_ns() - began) / len(keys)


Stage = Callable[[Any], Awaitable[Any]]


async def wide_tasks(stage: Stage, many: int) -> None:
    """Await *many* tasks at once, each one call of *stage*."""
    async with asyncio.TaskGroup() as group:
        for _ in range(many):
            group.create_task(_call(stage))


async def deep_tasks(stage: Stage, many: int) -> None:
    """Await *many* tasks one after the other, each one call of *stage*."""
    for _ in range(many):
        await asyncio.create_task(_call(stage))


async def _call(stage: Stage) -> Any:  # noqa: ANN401 - a JSON value
    return await stage(None)
