"""When a threshold of a limit is reached, and what has been told of it; pure."""

from msgspec.structs import replace

from earmark.clock import END_OF_TIME
from earmark.ledger.values import Account, Alert, LimitWindow

_MILLION = 1_000_000


def set_limit(
    account: Account, limit: int, thresholds: tuple[int, ...], end: int | None = None
) -> None:
    """Put *account* under *limit*, with the next alert where it now belongs.

    Its interval has another *end* where two time zones have the start in common only.
    """
    end = account.line.end if end is None else end
    account.line = replace(account.line, limit=limit, thresholds=thresholds, end=end)
    account.alert_at = _alert_at(account.line, _alerted(account))


def mark_alerted(account: Account, alert: Alert) -> None:
    """Note on *account* that *alert*, one of its own, was told."""
    account.alerted, account.alerted_of = alert.threshold, alert.limit
    account.alert_at = _alert_at(account.line, alert.threshold)


def crossed(account: Account, settled: int, now: int, seq: int) -> tuple[Alert, ...]:
    """Return the alerts that *account* reaches with *settled* and has not told.

    Each amount of a limit has crossings of its own. What was told of an amount that was in force
    before and is again is told once more here; a store keeps the first alert of each.
    """
    line, alerted = account.line, _alerted(account)
    if line.limit == 0:
        return ()
    return tuple(
        _alert(line, ppm, settled, now, seq)
        for ppm in line.thresholds
        if ppm > alerted and settled >= _threshold(line.limit, ppm)
    )


def _alert(line: LimitWindow, ppm: int, settled: int, now: int, seq: int) -> Alert:
    return Alert(
        line.id,
        ppm,
        line.budget,
        line.unit,
        line.window,
        line.start,
        line.end,
        line.limit,
        settled,
        now,
        seq,
    )


def _alerted(account: Account) -> int:
    """Return the highest threshold that was told of the limit's amount of now."""
    return account.alerted if account.alerted_of == account.line.limit else 0


def _alert_at(line: LimitWindow, alerted: int) -> int:
    due = [ppm for ppm in line.thresholds if ppm > alerted]
    return _threshold(line.limit, due[0]) if due and line.limit else END_OF_TIME


def _threshold(limit: int, ppm: int) -> int:
    return -(-limit * ppm // _MILLION)
