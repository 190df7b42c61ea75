"""The one place that reads the time.

An *instant* is an int: nanoseconds since 1970-01-01T00:00Z. It is what ledgers store and compare;
`datetime` values are made from it, always aware and in UTC, at the edges.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Protocol

from earmark.errors import InvalidDuration
from earmark.errors.inputs import shown, wrong_argument

NANOS_PER_SECOND = 1_000_000_000
#: An instant, as JSON has it: RFC 3339.
Instant = Annotated[int, "instant"]
#: 0 where something has not happened; null in JSON.
InstantOrZero = Annotated[int, "instant or zero"]
#: The instant after every other: the end of an interval that never ends.
END_OF_TIME = (1 << 63) - 1

#: Linux counts suspension in one of its own; the monotonic clock of macOS does so already.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"ms": 0.001, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|sec|s|min|m|h|d)\s*")


class Clock(Protocol):
    """Where time comes from; `earmark.testing.ManualClock` is the one for tests."""

    def instant(self) -> int:
        """Return the wall clock's nanoseconds since the epoch, UTC; it may step backwards."""
        ...

    def elapsed(self) -> int:
        """Return a nanosecond counter that never steps back, good for durations only."""
        ...

    def uptime(self) -> int:
        """Return a nanosecond counter that nobody can set and that also counts suspension."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of this clock's time."""
        ...


class SystemClock:
    """The machine's own clock: the wall clock, the monotonic one, and the time since its start."""

    # The system's functions themselves, read at every commit: a method would cost more than they.
    instant = staticmethod(time.time_ns)
    elapsed = staticmethod(time.monotonic_ns)
    uptime = staticmethod(partial(time.clock_gettime_ns, _UPTIME))

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*."""
        await asyncio.sleep(seconds)


def check_clock(given: Clock) -> Clock:
    """Return *given* if it can be a clock.

    Raises:
        InvalidUsage: It has not the methods of one.
    """
    if not all(callable(getattr(given, each, None)) for each in ("instant", "elapsed", "sleep")):
        raise wrong_argument("the clock", given, "one with the methods of earmark.clock.Clock")
    return given


def time_limit(clock: Clock, seconds: float) -> AbstractAsyncContextManager[object]:
    """Return a block of a task that ends by a `TimeoutError` after *seconds* of *clock*'s time."""
    # Loops go by the machine's clock: a timer of theirs does, where a sleep takes a task.
    return asyncio.timeout(seconds) if type(clock) is SystemClock else _slept(clock, seconds)


@asynccontextmanager
async def _slept(clock: Clock, seconds: float) -> AsyncGenerator[None]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:

        async def expire() -> None:
            await clock.sleep(seconds)
            limit.reschedule(loop.time())

        alarm = asyncio.ensure_future(expire())
        try:
            yield
        finally:
            alarm.cancel()


def to_datetime(instant: int) -> datetime:
    """Return *instant* (nanoseconds since the epoch) as an aware UTC datetime, to the µs."""
    return _EPOCH + timedelta(microseconds=instant // 1000)


def from_datetime(moment: datetime) -> int:
    """Return *moment* as nanoseconds since the epoch, in 64 bits.

    Raises:
        InvalidDuration: (a `ValueError`) for a naive datetime, or one before 1678 or after 2262.
    """
    if not isinstance(moment, datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise InvalidDuration(text=shown(moment), want="a datetime", kind="moment")
    if moment.tzinfo is None:
        raise InvalidDuration(text=moment.isoformat(), want="one with a time zone", kind="moment")
    delta = moment - _EPOCH
    instant = (delta.days * 86_400 + delta.seconds) * NANOS_PER_SECOND + delta.microseconds * 1000
    if abs(instant) > END_OF_TIME:
        raise InvalidDuration(text=moment.isoformat(), want="one from 1678 to 2262", kind="moment")
    return instant


def iso(instant: int) -> str:
    """Return *instant* as RFC 3339 text in UTC, such as `2026-12-01T00:00:00Z`."""
    return to_datetime(instant).isoformat().replace("+00:00", "Z")


def parse_duration(value: str | float | timedelta) -> int:
    """Return the nanoseconds of a duration: `"10min"`, a timedelta, or seconds as a number.

    Raises:
        InvalidDuration: The text is no duration, or it is negative or longer than ten years.
    """
    seconds = _seconds(value)
    if not 0 <= seconds <= 10 * 366 * 86_400:
        raise InvalidDuration(text=shown(value), want="between 0 s and 10 years")
    return round(seconds * NANOS_PER_SECOND)


def _seconds(value: str | float | timedelta) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            want = "a number and a unit, such as 30s, 10min or 2h"
            raise InvalidDuration(text=shown(value), want=want)
        return float(match[1]) * _UNITS[match[2]]
    if isinstance(value, bool) or not isinstance(value, int | float):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        want = "a number and a unit, such as 30s, a timedelta, or seconds as a number"
        raise InvalidDuration(text=shown(value), want=want)
    # An int may be larger than any float.
    return value if abs(value) <= END_OF_TIME else math.inf
