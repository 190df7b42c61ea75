"""Times as people type them: a date, a time with its zone, or a duration from now."""

from datetime import UTC, datetime, timedelta

from earmark.clock import Clock, from_datetime, parse_duration, to_datetime
from earmark.errors import InvalidDuration

_WANT = "a time such as 2h or 3d, a date such as 2026-12-01 (UTC), or 2026-12-01T09:30+01:00"
#: Years outside are typing errors; a ledger counts nanoseconds in 64 bits.
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_SHOWN = 60


def parse_future(text: str | None, clock: Clock) -> datetime | None:
    """Return the moment that *text* names, a duration counted from now on; None for None.

    Raises:
        InvalidDuration: It is neither.
    """
    return None if text is None else _read(text, clock, +1)


def parse_past(text: str | None, clock: Clock) -> datetime | None:
    """Return the moment that *text* names, a duration counted back from now; None for None.

    Raises:
        InvalidDuration: It is neither.
    """
    return None if text is None else _read(text, clock, -1)


def parse_not_past(text: str, clock: Clock) -> datetime:
    """Return the moment that *text* names, as `parse_future` does, if it is not past.

    Raises:
        InvalidDuration: It is past, or it is no moment.
    """
    moment = _read(text, clock, +1)
    if from_datetime(moment) <= clock.instant():
        raise _invalid(text, "one that is not past")
    return moment


def _read(text: str, clock: Clock, direction: int) -> datetime:
    moment = _moment(text)
    if moment is None:
        stretch = timedelta(microseconds=_stretch(text) // 1000)
        return to_datetime(clock.instant()) + direction * stretch
    if not _FIRST_YEAR <= moment.year < _LAST_YEAR:
        raise _invalid(text, f"a year from {_FIRST_YEAR} to {_LAST_YEAR - 1}")
    return moment


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    if len(text) > len("2026-12-01"):
        raise _invalid(text, "a time zone too, such as 2026-12-01T09:30+01:00")
    return moment.replace(tzinfo=UTC)


def _stretch(text: str) -> int:
    try:
        return parse_duration(text)
    except InvalidDuration:
        raise _invalid(text, _WANT) from None


def _invalid(text: str, want: str) -> InvalidDuration:
    return InvalidDuration(text=text[:_SHOWN], want=want, kind="moment")
