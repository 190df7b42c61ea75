"""Quiet hours: a part of each day in a time zone, right also where a clock is put on or back."""

from bisect import bisect_left
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from earmark.clock import NANOS_PER_SECOND

Hours = tuple[time, time]


def quiet_until(hours: Hours, instant: int, zone: str) -> int | None:
    """Return the end of the quiet hours that hold *instant*; None outside of them.

    Each night they begin and end once: at the first instant at which a clock in *zone* shows their
    time or a later one. What the clock then shows again does not begin them again.

    Args:
        hours: From, and until: `22:00` to `07:00` is over midnight.
        instant: Nanoseconds since the epoch, as the answer.
        zone: An IANA time zone.
    """
    begin, end = hours
    seconds = instant // NANOS_PER_SECOND
    today = datetime.fromtimestamp(seconds, ZoneInfo(zone)).date()
    over_midnight = timedelta(days=int(end <= begin))
    for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
        until = _first_shown(day + over_midnight, end, zone)
        if _first_shown(day, begin, zone) <= seconds < until:
            return until * NANOS_PER_SECOND
    return None


def _first_shown(day: date, at: time, zone: str) -> int:
    """Return the first second at which a clock in *zone* shows *at* on *day*, or is past it."""
    wall = datetime.combine(day, at, ZoneInfo(zone))
    first, second = int(wall.timestamp()), int(wall.replace(fold=1).timestamp())
    if first <= second:
        return first
    # The clock is put on over it, somewhere between the two: find the second of the jump.
    clock_time = wall.replace(tzinfo=None)
    between = range(second, first)
    return between.start + bisect_left(
        between,
        clock_time,
        key=lambda at: datetime.fromtimestamp(at, wall.tzinfo).replace(tzinfo=None),
    )
