"""Moments as they are typed."""

from datetime import UTC, datetime

import pytest

from earmark.errors import InvalidDuration
from earmark.testing import ManualClock
from earmark.workspace.time_expressions import parse_future, parse_not_past, parse_past

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CLOCK = ManualClock(NOON)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", datetime(2026, 11, 22, 14, tzinfo=UTC)),
        ("3d", datetime(2026, 11, 25, 12, tzinfo=UTC)),
        ("2026-12-01", datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01T09:30+01:00", datetime(2026, 12, 1, 8, 30, tzinfo=UTC)),
        ("2026-12-01T09:30:00Z", datetime(2026, 12, 1, 9, 30, tzinfo=UTC)),
    ],
)
def test_ahead(text: str, expected: datetime) -> None:
    """A stretch of time counts from now; a date begins at midnight, UTC."""
    assert parse_future(text, CLOCK) == expected
    assert parse_not_past(text, CLOCK) == expected


def test_ago() -> None:
    """For looking back, a stretch of time counts back; a moment is the same either way."""
    assert parse_past("2h", CLOCK) == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert parse_past("2026-12-01", CLOCK) == datetime(2026, 12, 1, tzinfo=UTC)


def test_nothing_is_no_moment() -> None:
    """An option that was not given stays not given."""
    assert parse_future(None, CLOCK) is None
    assert parse_past(None, CLOCK) is None


@pytest.mark.parametrize(
    "text", ["", "soon", "2", "-2h", "2026-13-01", "2026-12-01T09:30", "1969-01-01", "9999-01-01"]
)
def test_what_is_no_moment(text: str) -> None:
    """Refused with an example; a time of day needs its zone, a year is one that can be meant."""
    with pytest.raises(InvalidDuration, match="is not a moment: give"):
        parse_future(text, CLOCK)


@pytest.mark.parametrize("text", ["0s", "2026-11-22", "2026-11-22T12:00Z"])
def test_what_is_past(text: str) -> None:
    """An end that has come already ends nothing."""
    with pytest.raises(InvalidDuration, match="not past"):
        parse_not_past(text, CLOCK)
