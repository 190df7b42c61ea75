"""Windows: the rules that cut time into intervals in a budget's time zone.

The intervals of one window in one zone tile time: half-open, no gap, no overlap. Calendar days are
as long as they are there: 23, 24 or 25 hours, or none where a zone skipped one.
"""

import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from earmark.clock import END_OF_TIME, NANOS_PER_SECOND
from earmark.errors import InvalidLimit
from earmark.errors.inputs import shown

_DAY_SECONDS: Final = 86_400
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_FIXED = re.compile(r"([0-9]{1,6})(s|min|h)")
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600}
_WANT: Final = "hour, day, week, month, total, or <n>s, <n>min or <n>h up to 24h"
#: Names zoneinfo would read although they depend on the machine or count leap seconds.
_NOT_ZONES = re.compile(r"localtime|posixrules|Factory|posix/.*|right/.*")


class Cut(StrEnum):
    """How a window cuts time."""

    DAY = "day"
    WEEK = "week"
    """ISO weeks: from Monday's midnight."""
    MONTH = "month"
    TOTAL = "total"
    """Not at all: one interval for ever."""
    FIXED = "fixed"
    """Equal steps counted from each local midnight; midnight also cuts the last one."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of time `[start, end)`, in nanoseconds since the epoch."""

    start: int
    end: int

    def __contains__(self, instant: int) -> bool:
        return self.start <= instant < self.end


@dataclass(frozen=True, slots=True)
class Window:
    """The rule that cuts time into intervals; `hour` is the fixed window of 3600 seconds.

    Windows that cut alike are equal and print alike: `60min`, `1h` and `hour` are one window. `24h`
    is not `day`: on a day of 25 hours it has a second, short interval.
    """

    cut: Cut
    seconds: int = 0
    """The step of a fixed window, else 0."""

    def __post_init__(self) -> None:
        fits = 0 < self.seconds <= _DAY_SECONDS if self.cut is Cut.FIXED else self.seconds == 0
        if not fits:
            raise InvalidLimit(text=f"{self.seconds}s", want=_WANT, kind="window")

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Return the window named *text*: `day`, `30min`, `total` and the like.

        Raises:
            InvalidLimit: No such window, a step of 0 or one longer than 24 hours.
        """
        window = _NAMED.get(text)
        if window is not None:
            return window
        match = _FIXED.fullmatch(text)
        if match is None:
            raise InvalidLimit(text=text[:40], want=_WANT, kind="window")
        seconds = int(match[1]) * _SECONDS[match[2]]
        if seconds > _DAY_SECONDS:
            want = "a step of at most 24h, or one of day, week, month and total"
            raise InvalidLimit(text=text, want=want, kind="window")
        if not seconds:
            raise InvalidLimit(text=text, want="a step of at least 1s", kind="window")
        return cls(Cut.FIXED, seconds)

    def interval(self, instant: int, zone: str) -> Interval:
        """Return the interval that holds *instant* (nanoseconds since the epoch) in *zone*.

        A day begins at the first instant at which a clock there shows its date or a later one:
        where midnight is skipped, when the clock is put forward; where it comes twice, the first
        time. What the clock then shows again of the day before belongs to the day that has begun.

        Raises:
            InvalidLimit: *zone* is no IANA time zone.
        """
        if self.cut is Cut.TOTAL:
            return _FOR_EVER
        seconds = instant // NANOS_PER_SECOND
        start, end = _stretch(_STEPS[self.cut], seconds, zone)
        if self.cut is Cut.FIXED:
            start += (seconds - start) // self.seconds * self.seconds
            end = min(end, start + self.seconds)
        # The last interval ends with time itself: what comes after is no number of a store.
        return Interval(start * NANOS_PER_SECOND, min(end * NANOS_PER_SECOND, END_OF_TIME))

    def __str__(self) -> str:
        if self.cut is not Cut.FIXED:
            return self.cut.value
        if self.seconds == _SECONDS["h"]:
            return "hour"
        unit = next(unit for unit in ("h", "min", "s") if self.seconds % _SECONDS[unit] == 0)
        return f"{self.seconds // _SECONDS[unit]}{unit}"


def check_zone(name: str) -> str:
    """Return *name* if it is an IANA time zone.

    Raises:
        InvalidLimit: It is not; the nearest name is given.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise InvalidLimit(text=shown(name), want="an IANA name as text", kind="time zone")
    _zone(name)
    return name


_NO_OFFSET: Final = timedelta(0)
_FOR_EVER: Final = Interval(0, END_OF_TIME)
_NAMED: Final = {
    "hour": Window(Cut.FIXED, _SECONDS["h"]),
    "day": Window(Cut.DAY),
    "week": Window(Cut.WEEK),
    "month": Window(Cut.MONTH),
    "total": Window(Cut.TOTAL),
}


# Days are proleptic ordinals (`date.toordinal`), in which day 1 was a Monday.


def _day_span(day: int) -> tuple[int, int]:
    return day, day + 1


def _week_span(day: int) -> tuple[int, int]:
    monday = day - (day - 1) % 7
    return monday, monday + 7


def _month_span(day: int) -> tuple[int, int]:
    first = date.fromordinal(day).replace(day=1)
    return first.toordinal(), (first + timedelta(days=31)).replace(day=1).toordinal()


_STEPS: Final[dict[Cut, Callable[[int], tuple[int, int]]]] = {
    Cut.DAY: _day_span,
    Cut.WEEK: _week_span,
    Cut.MONTH: _month_span,
    Cut.FIXED: _day_span,
}


def _stretch(span: Callable[[int], tuple[int, int]], seconds: int, zone: str) -> tuple[int, int]:
    first, after = span(datetime.fromtimestamp(seconds, _zone(zone)).toordinal())
    end = _midnight(after, zone)
    # A clock put back across midnight shows a date that has already ended.
    while seconds >= end:
        first, after = span(after)
        end = _midnight(after, zone)
    return _midnight(first, zone), end


@lru_cache(maxsize=8192)
def _midnight(day: int, zone: str) -> int:
    """Return the first second at which a clock in *zone* shows *day* or a later date.

    It never decreases from one day to the next, so the days tile time.
    """
    wall = datetime.combine(date.fromordinal(day), time.min, _zone(zone))
    first, second = _offset(wall), _offset(wall.replace(fold=1))
    shown = (day - _EPOCH_DAY) * _DAY_SECONDS
    if first >= second:
        return shown - first
    # The clock jumps over this midnight between these two: find the second of the jump.
    between = range(shown - second, shown - first)
    return between.start + bisect_left(between, shown, key=lambda at: _shown(at, zone))


def _shown(seconds: int, zone: str) -> int:
    return seconds + _offset(datetime.fromtimestamp(seconds, _zone(zone)))


def _offset(moment: datetime) -> int:
    offset = moment.utcoffset() or _NO_OFFSET
    return offset.days * _DAY_SECONDS + offset.seconds


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        if not _NOT_ZONES.fullmatch(name):
            return ZoneInfo(name)
    # KeyError: no such zone. ValueError: a path outside, or no zone file. OSError: a folder.
    except (KeyError, ValueError, OSError):
        pass
    near = get_close_matches(name[:40], available_timezones(), n=1)
    want = f"an IANA name, such as {near[0] if near else 'Europe/Berlin'}"
    raise InvalidLimit(text=name[:40], want=want, kind="time zone")
