"""Windows: how they cut time, in zones where days are not 24 hours."""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earmark.budget.window import Cut, Interval, Window, check_zone
from earmark.clock import END_OF_TIME, NANOS_PER_SECOND, from_datetime
from earmark.errors import InvalidLimit

HOUR: Final = 3600 * NANOS_PER_SECOND
ZONES: Final = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # the clock was put forward at midnight: 00:00 does not exist
    "Asia/Beirut",  # and back at midnight, to 23:00 of the day before
    "Africa/Cairo",
    "America/Havana",  # back at 01:00: midnight comes twice
    "America/St_Johns",  # back at 00:01 until 2011: a minute of the next day, then 23:01 again
    "Atlantic/Azores",
    "Pacific/Apia",  # had no 30 December 2011
    "Pacific/Kwajalein",  # had no 21 August 1993
    "Pacific/Kiritimati",
    "Australia/Lord_Howe",  # shifts by half an hour
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Antarctica/Troll",  # shifts by two hours
    "Asia/Pyongyang",
    "America/Caracas",
)
WINDOWS: Final = (
    "hour",
    "day",
    "week",
    "month",
    "30min",
    "7h",
    "45s",
    "1s",
    "24h",
    "86399s",
    "total",
)
FIRST: Final = from_datetime(datetime(1990, 1, 1, tzinfo=UTC))
LAST: Final = from_datetime(datetime(2090, 12, 31, tzinfo=UTC))


def at(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """Return the instant of a wall time in a zone; in a gap, when the clock is put forward."""
    wall = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return from_datetime(wall.astimezone(UTC))


def interval(window: str, text: str, zone: str = "UTC", fold: int = 0) -> Interval:
    """Return the interval that holds a wall time."""
    return Window.parse(window).interval(at(text, zone, fold), zone)


@given(st.integers(FIRST, LAST), st.sampled_from(ZONES), st.sampled_from(WINDOWS))
@example(at("2011-12-30T10:30"), "Pacific/Apia", "day")
@example(at("2018-11-04T03:00"), "America/Sao_Paulo", "month")
@example(at("2007-11-04T02:31"), "America/St_Johns", "day")
@example(at("2007-11-04T02:31"), "America/St_Johns", "7h")
@example(at("2026-04-04T15:00"), "Australia/Lord_Howe", "hour")
@settings(max_examples=1500)
def test_intervals_tile_time(instant: int, zone: str, name: str) -> None:
    """Every instant lies in its interval, and the next interval begins where that one ends."""
    window = Window.parse(name)
    found = window.interval(instant, zone)
    assert instant in found
    assert window.interval(found.start, zone) == found
    assert window.interval(found.end - 1, zone) == found
    if window.cut is not Cut.TOTAL:
        assert window.interval(found.end, zone).start == found.end
        assert window.interval(found.start - 1, zone).end == found.start


@given(st.integers(FIRST, LAST), st.sampled_from(ZONES))
@settings(max_examples=500)
def test_windows_nest(instant: int, zone: str) -> None:
    """An hour never reaches beyond its day, nor a day beyond its month and week."""
    day = Window.parse("day").interval(instant, zone)
    for wide in ("week", "month"):
        outer = Window.parse(wide).interval(instant, zone)
        assert outer.start <= day.start
        assert day.end <= outer.end
    for narrow in ("hour", "7h", "45s"):
        inner = Window.parse(narrow).interval(instant, zone)
        assert day.start <= inner.start
        assert inner.end <= day.end


@pytest.mark.parametrize("zone", ZONES)
def test_days_follow_each_other_for_forty_years(zone: str) -> None:
    """Walking day by day from 1990 to 2030 meets every day, each of a length a zone can have."""
    window, instant, lengths = Window.parse("day"), FIRST, set[int]()
    while instant < at("2030-01-01"):
        found = window.interval(instant, zone)
        assert found.start <= instant < found.end
        lengths.add((found.end - found.start) // (HOUR // 2))
        instant = found.end
    # In half hours: 22 to 26 hours, where Apia's 1992 and others' shifts are all within.
    assert lengths <= set(range(44, 53))
    assert 48 in lengths


def test_a_day_in_spring_has_23_hours_and_one_in_autumn_25() -> None:
    """A daily limit in Berlin runs from midnight to midnight there, through both changes."""
    spring = interval("day", "2026-03-29T12:00", "Europe/Berlin")
    assert spring == Interval(at("2026-03-28T23:00"), at("2026-03-29T22:00"))
    autumn = interval("day", "2026-10-25T12:00", "Europe/Berlin")
    assert autumn == Interval(at("2026-10-24T22:00"), at("2026-10-25T23:00"))
    assert (spring.end - spring.start, autumn.end - autumn.start) == (23 * HOUR, 25 * HOUR)


def test_where_midnight_does_not_exist_the_day_begins_when_the_clock_moves() -> None:
    """São Paulo skipped 00:00 on 4 November 2018: its day began at 01:00 there, 03:00 UTC."""
    assert interval("day", "2018-11-04T12:00", "America/Sao_Paulo").start == at("2018-11-04T03:00")
    assert interval("day", "2026-03-29T12:00", "Asia/Beirut").start == at("2026-03-28T22:00")
    assert interval("day", "2026-04-24T12:00", "Africa/Cairo").start == at("2026-04-23T22:00")


def test_where_the_clock_jumps_over_midnight_the_day_begins_at_the_jump() -> None:
    """Toronto went from 23:30 to 00:30 on 30 March 1919: no instant lies between the two days."""
    assert interval("day", "1919-03-31T12:00", "America/Toronto").start == at("1919-03-31T04:30")
    assert interval("day", "1919-03-30T12:00", "America/Toronto").end == at("1919-03-31T04:30")


def test_where_midnight_comes_twice_the_day_begins_the_first_time() -> None:
    """Havana shows 00:30 twice on 1 November 2026; both belong to the one day, 25 hours long."""
    first = interval("day", "2026-11-01T00:30", "America/Havana")
    assert first == interval("day", "2026-11-01T00:30", "America/Havana", fold=1)
    assert first.start == at("2026-11-01T04:00")
    assert first.end - first.start == 25 * HOUR


def test_a_day_that_has_ended_does_not_come_back() -> None:
    """St John's showed 00:00:30 and then 23:30 of the day before: that is the new day already."""
    shown_again = interval("day", "2007-11-03T23:30", "America/St_Johns", fold=1)
    assert shown_again == interval("day", "2007-11-04T12:00", "America/St_Johns")
    assert shown_again.start == at("2007-11-04T02:30")
    assert interval("day", "2007-11-03T23:30", "America/St_Johns").end == at("2007-11-04T02:30")


def test_a_date_that_a_zone_skipped_has_no_interval() -> None:
    """Samoa went from 29 to 31 December 2011: one day ends where the day after next begins."""
    before = interval("day", "2011-12-29T12:00", "Pacific/Apia")
    after = interval("day", "2011-12-31T12:00", "Pacific/Apia")
    assert before.end == after.start == at("2011-12-30T10:00")
    assert before.end - before.start == after.end - after.start == 24 * HOUR


def test_weeks_begin_on_monday() -> None:
    """ISO weeks: Sunday belongs to the week that began six days before, across a new year too."""
    assert interval("week", "2026-11-22T23:59") == Interval(at("2026-11-16"), at("2026-11-23"))
    assert interval("week", "2027-01-01T00:00") == Interval(at("2026-12-28"), at("2027-01-04"))
    spring = interval("week", "2026-03-29T12:00", "Europe/Berlin")
    assert spring.end - spring.start == (7 * 24 - 1) * HOUR


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        ("2026-01-31", "2026-01-01", "2026-02-01"),
        ("2026-02-28", "2026-02-01", "2026-03-01"),
        ("2028-02-29", "2028-02-01", "2028-03-01"),
        ("2026-12-31", "2026-12-01", "2027-01-01"),
        ("2026-11-30", "2026-11-01", "2026-12-01"),
    ],
)
def test_months_end_when_they_end(day: str, start: str, end: str) -> None:
    """Months of 28, 29, 30 and 31 days, and the one at the year's end."""
    assert interval("month", f"{day}T23:59:59.999999") == Interval(at(start), at(end))


def test_the_zone_decides_which_day_it_is() -> None:
    """At 20:00 UTC it is already tomorrow in Kolkata, whose midnight is 18:30 UTC."""
    found = Window.parse("day").interval(at("2026-11-22T20:00"), "Asia/Kolkata")
    assert found == Interval(at("2026-11-22T18:30"), at("2026-11-23T18:30"))
    month = Window.parse("month").interval(at("2026-11-30T20:00"), "Asia/Kolkata")
    assert month.start == at("2026-11-30T18:30")


def test_hours_begin_where_the_wall_clock_shows_a_full_hour() -> None:
    """Also where the zone is off by half or three quarters of an hour."""
    assert interval("hour", "2026-11-22T12:10", "Asia/Kathmandu").start == at("2026-11-22T06:15")
    assert interval("hour", "2026-11-22T12:10", "Asia/Kolkata").start == at("2026-11-22T06:30")


def test_an_hour_that_comes_twice_is_two_hours() -> None:
    """In Berlin's autumn 02:30 comes twice, an hour apart: each hour has its own budget."""
    first = interval("hour", "2026-10-25T02:30", "Europe/Berlin")
    second = interval("hour", "2026-10-25T02:30", "Europe/Berlin", fold=1)
    assert first == Interval(at("2026-10-25T00:00"), at("2026-10-25T01:00"))
    assert second == Interval(at("2026-10-25T01:00"), at("2026-10-25T02:00"))


def test_fixed_windows_count_from_local_midnight() -> None:
    """Half hours begin at midnight of the budget's zone, also in a zone of three quarters."""
    found = interval("30min", "2026-11-22T12:40", "Asia/Kathmandu")
    assert found == Interval(at("2026-11-22T06:45"), at("2026-11-22T07:15"))


def test_midnight_cuts_a_step_that_does_not_divide_the_day() -> None:
    """Seven-hour steps: three whole ones, then three hours until midnight."""
    assert interval("7h", "2026-11-22T22:00") == Interval(at("2026-11-22T21:00"), at("2026-11-23"))
    assert interval("7h", "2026-11-23T01:00").start == at("2026-11-23")


def test_24_hours_are_not_a_day_where_a_day_has_25() -> None:
    """`24h` on a day of 25 hours leaves a last interval of one hour; `day` does not."""
    found = interval("24h", "2026-10-25T23:30", "Europe/Berlin")
    assert found == Interval(at("2026-10-25T22:00"), at("2026-10-25T23:00"))


def test_total_never_ends() -> None:
    """A total limit has one interval, for ever."""
    assert interval("total", "2026-11-22T12:00") == Interval(0, END_OF_TIME)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("hour", "hour"), ("1h", "hour"), ("60min", "hour"), ("3600s", "hour"), ("120min", "2h"),
        ("90min", "90min"), ("90s", "90s"), ("24h", "24h"), ("1440min", "24h"), ("day", "day"),
        ("week", "week"), ("month", "month"), ("total", "total"), ("007min", "7min"),
    ],
)  # fmt: skip
def test_windows_that_cut_alike_print_alike(text: str, printed: str) -> None:
    """One canonical name per window, so that renaming one does not start a new account."""
    assert str(Window.parse(text)) == printed
    assert Window.parse(printed) == Window.parse(text)


@pytest.mark.parametrize(
    "text", ["", "Day", "days", "year", "0s", "0h", "25h", "1d", "1.5h", "-1h", "h", " day", "٣h"]
)
def test_an_unknown_window_is_refused(text: str) -> None:
    """What is no window is refused with the windows there are."""
    with pytest.raises(InvalidLimit, match="is not a window: give"):
        Window.parse(text)


@pytest.mark.parametrize(
    "zone",
    [
        "", "Mars/Olympus", "Europe", "../../etc/passwd", "/etc/localtime", "localtime",
        "right/UTC", "posixrules", "zone.tab", "Europe/Berlin\n",
        "Europe/Berlin\0", "CET+1", "x" * 10_000,
    ],
)  # fmt: skip
def test_an_unknown_zone_is_refused(zone: str) -> None:
    """What is no IANA zone is refused in one sentence, and reads no file outside the database."""
    with pytest.raises(InvalidLimit, match="is not a time zone: give an IANA name") as caught:
        check_zone(zone)
    assert len(str(caught.value)) < 200


def test_a_mistyped_zone_is_told_the_nearest() -> None:
    """A slip in a zone's name is answered with the name that was meant."""
    with pytest.raises(InvalidLimit, match="such as Europe/Berlin"):
        check_zone("Europe/Berlim")
    assert check_zone("Asia/Kolkata") == "Asia/Kolkata"
