"""Time: whole nanoseconds inside, aware datetimes at the edges."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.clock import (
    END_OF_TIME,
    NANOS_PER_SECOND,
    SystemClock,
    from_datetime,
    iso,
    parse_duration,
    time_limit,
    to_datetime,
)
from earmark.errors import InvalidDuration
from earmark.testing import ManualClock


def test_uptime_counts_what_the_monotonic_clock_does() -> None:
    """The machine's own counts suspension too, so it is never behind; a set clock moves neither."""
    clock = SystemClock()
    elapsed, uptime, later = clock.elapsed(), clock.uptime(), clock.uptime()
    assert elapsed <= uptime <= later
    manual = ManualClock()
    manual.advance(timedelta(seconds=1))
    manual.set(manual.now + timedelta(hours=1))
    manual.step(timedelta(days=9))
    assert (manual.elapsed(), manual.uptime()) == (NANOS_PER_SECOND, 3601 * NANOS_PER_SECOND)


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [
        ("10min", 600), ("30s", 30), ("2h", 7200), ("1d", 86_400), ("1.5h", 5400), ("0s", 0),
        (" 5 min ", 300), ("250ms", 0.25), ("3m", 180), ("7sec", 7), (2, 2), (0.5, 0.5),
        (timedelta(minutes=1), 60),
    ],
)  # fmt: skip
def test_a_duration_is_read(given_: Any, seconds: float) -> None:
    """Durations are a number and a unit, a timedelta, or seconds."""
    assert parse_duration(given_) == seconds * NANOS_PER_SECOND


@pytest.mark.parametrize(
    "wrong", ["", "10", "min", "ten min", "-5s", "1y", "1e3s", "5 m i n", -1, float("nan"),
              float("inf"), 10**12, timedelta(days=-1), "99999d", True, "9" * 400 + "s"],
)  # fmt: skip
def test_what_is_no_duration_is_refused(wrong: Any) -> None:
    """Words, negative, endless and absurd durations say what a duration looks like."""
    with pytest.raises(InvalidDuration):
        parse_duration(wrong)


MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2261, 1, 1))  # noqa: DTZ001 - UTC is added


@given(MOMENTS)
def test_a_moment_comes_back(naive: datetime) -> None:
    """An instant keeps a datetime to the microsecond, before 1970 too."""
    moment = naive.replace(tzinfo=UTC)
    assert to_datetime(from_datetime(moment)) == moment


def test_a_zone_is_converted() -> None:
    """The same moment in another zone is the same instant."""
    berlin = datetime(2026, 12, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert from_datetime(berlin) == from_datetime(datetime(2026, 12, 1, tzinfo=UTC))
    assert iso(from_datetime(berlin)) == "2026-12-01T00:00:00Z"


def test_a_moment_needs_a_zone_and_64_bits() -> None:
    """A naive datetime, or one that 64 bits of nanoseconds cannot hold, is refused."""
    with pytest.raises(InvalidDuration, match="time zone"):
        from_datetime(datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake under test
    for year in (1, 1600, 2263, 9999):
        with pytest.raises(InvalidDuration, match="2262"):
            from_datetime(datetime(year, 1, 1, tzinfo=UTC))
    assert to_datetime(END_OF_TIME).year == 2262


def test_the_systems_clock_goes_on() -> None:
    """The machine's clock gives instants near now, and durations that never step back."""
    clock = SystemClock()
    before = clock.elapsed()
    assert abs(clock.instant() - from_datetime(datetime.now(UTC))) < 5 * NANOS_PER_SECOND
    asyncio.run(clock.sleep(0))
    assert clock.elapsed() >= before


def test_a_manual_clock_moves_when_told() -> None:
    """It stands still, advances, and can be set back; durations only grow."""
    clock = ManualClock()
    start = clock.now
    assert clock.instant() == clock.instant()
    clock.advance(timedelta(hours=1))
    clock.set(start - timedelta(days=1))
    assert (clock.now, clock.elapsed()) == (start - timedelta(days=1), 3600 * NANOS_PER_SECOND)


def test_sleepers_of_a_manual_clock_wake_in_order() -> None:
    """A sleep ends when the clock passes it, the shortest first."""

    async def main() -> list[str]:
        clock, woken = ManualClock(), list[str]()

        async def nap(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(name)

        tasks = [asyncio.create_task(nap(*each)) for each in (("b", 2), ("a", 1), ("c", 9))]
        await asyncio.sleep(0)
        assert clock.sleepers == 3
        clock.advance(timedelta(seconds=5))
        await asyncio.gather(*tasks[:2])
        tasks[2].cancel()
        return woken

    assert asyncio.run(main()) == ["a", "b"]


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()], ids=["system", "manual"])
def test_a_time_limit_goes_by_its_clock(clock: SystemClock | ManualClock) -> None:
    """What takes longer ends by a `TimeoutError`; what ends before is left alone."""

    async def main() -> None:
        async with time_limit(clock, 3600):
            await asyncio.sleep(0)
        waiting = asyncio.create_task(_wait_for_ever(clock, 0.001))
        if isinstance(clock, ManualClock):
            for _ in range(3):
                await asyncio.sleep(0)
            assert (clock.sleepers, waiting.done()) == (1, False)
            clock.advance(timedelta(seconds=0.001))
        with pytest.raises(TimeoutError):
            await waiting

    asyncio.run(main())


async def _wait_for_ever(clock: SystemClock | ManualClock, seconds: float) -> None:
    async with time_limit(clock, seconds):
        await asyncio.Event().wait()
