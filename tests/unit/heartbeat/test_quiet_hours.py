"""Quiet hours begin and end once a night, in the budget's zone, also where clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from earmark.clock import from_datetime, to_datetime
from earmark.heartbeat.quiet_hours import Hours, quiet_until
from support.beat_house import BeatHouse

NIGHT: Hours = (time(22), time(7))


def quiet(hours: Hours, moment: datetime, zone: str) -> datetime | None:
    """Return when the quiet hours in *zone* that hold *moment* end, UTC."""
    until = quiet_until(hours, from_datetime(moment), zone)
    return None if until is None else to_datetime(until)


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]


@pytest.mark.parametrize("zone", ZONES)
def test_a_night_is_quiet_in_the_zone_of_the_budget(zone: str) -> None:
    """From 22:00 to 07:00 on a clock there, the first second included and the last one not."""
    at = datetime(2026, 11, 22, 22, tzinfo=ZoneInfo(zone))
    end = datetime(2026, 11, 23, 7, tzinfo=ZoneInfo(zone))
    assert quiet(NIGHT, at - timedelta(seconds=1), zone) is None
    for inside in (at, at + timedelta(hours=5), end - timedelta(microseconds=1)):
        assert quiet(NIGHT, inside, zone) == end
    assert quiet(NIGHT, end, zone) is None


@pytest.mark.parametrize("zone", ZONES)
def test_hours_within_a_day_are_not_over_midnight(zone: str) -> None:
    """From 09:00 to 17:00 nothing of the night is quiet."""
    hours = (time(9), time(17))
    noon = datetime(2026, 11, 22, 12, tzinfo=ZoneInfo(zone))
    assert quiet(hours, noon, zone) == noon.replace(hour=17)
    assert quiet(hours, noon.replace(hour=17), zone) is None
    assert quiet(hours, noon.replace(hour=0), zone) is None


@pytest.mark.parametrize(
    ("zone", "spring"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        ("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
    ],
)
def test_an_end_that_is_skipped_is_when_clocks_are_put_on(zone: str, spring: datetime) -> None:
    """Where the clock jumps over the end, the quiet hours end with the jump, and not an hour on."""
    before = (spring - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
    skipped = (before + timedelta(minutes=10)).replace(tzinfo=None).time()
    begin = (before.replace(tzinfo=None) - timedelta(minutes=30)).time()
    hours = (begin, skipped)
    assert quiet(hours, before, zone) == spring
    assert quiet(hours, spring, zone) is None


@pytest.mark.parametrize(
    ("zone", "autumn"),
    [
        ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
        ("America/Santiago", datetime(2026, 4, 5, 3, tzinfo=UTC)),
    ],
)
def test_an_end_that_comes_twice_ends_the_quiet_hours_once(zone: str, autumn: datetime) -> None:
    """What a clock shows again after the end is not quiet again."""
    just_before = autumn - timedelta(minutes=10)
    end = just_before.astimezone(ZoneInfo(zone)).replace(tzinfo=None).time()
    begin = (
        (just_before - timedelta(hours=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None).time()
    )
    hours = (begin, end)
    assert quiet(hours, just_before - timedelta(minutes=1), zone) == just_before
    # The clock is put back: it shows the minutes before the end once more.
    for again in (autumn, autumn + timedelta(minutes=15)):
        assert quiet(hours, again, zone) is None


def test_in_quiet_hours_nothing_is_dispatched() -> None:
    """Tasks wait until they end; the report says until when, and health calls it no fault."""
    with BeatHouse(quiet_hours="22:00-07:00", timezone="Asia/Kolkata") as beats:
        task = beats.add()
        # 12:00 in UTC is 17:30 there; six hours later it is half past eleven at night.
        assert beats.cycle().dispatched != ()
        later = beats.add()
        report = beats.cycle(after=timedelta(hours=6))
        assert (report.state, report.dispatched) == ("quiet", ())
        assert report.resets_at == from_datetime(datetime(2026, 11, 23, 1, 30, tzinfo=UTC))
        assert "22:00-07:00 Asia/Kolkata" in report.reason
        assert [check.status for check in beats.health().checks if "state" in check.name] == [
            "pass"
        ]
        assert len(beats.cycle(after=timedelta(hours=7, minutes=30)).dispatched) == 1
        assert {beats.status(each) for each in (task, later)} == {"completed"}
