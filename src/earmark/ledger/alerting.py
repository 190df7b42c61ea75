"""When a threshold of a limit is reached, and what has been told of it; pure."""

from msgspec.structs import replace

from earmark.clock import END_OF_TIME
from earmark.ledger.values import Account, Alert, Line

_MILLION = 1_000_000


def with_limit(
    account: Account, limit: int, thresholds: tuple[int, ...], end: int | None = None
) -> Account:
    """Return *account* under *limit*, with the next alert where it now belongs.

    Its interval has another *end* where two time zones have the start in common only.
    """
    end = account.line.end if end is None else end
    line = replace(account.line, limit=limit, thresholds=thresholds, end=end)
    account = replace(account, line=line)
    return replace(account, alert_at=_alert_at(line, _alerted(account)))


def told(account: Account, now: int, seq: int) -> tuple[Account, tuple[Alert, ...]]:
    """Return the alerts *account* has reached and not told, and the account that has told them.

    Each amount of a limit has crossings of its own. What was told of an amount that was in force
    before and is again is told once more here; a store keeps the first alert of each.
    """
    line, alerted = account.line, _alerted(account)
    crossed = [
        ppm
        for ppm in line.thresholds
        if ppm > alerted and account.settled >= _threshold(line.limit, ppm)
    ]
    if not crossed or line.limit == 0:
        return account, ()
    alert_at = _alert_at(line, crossed[-1])
    spoken = replace(account, alerted=crossed[-1], alerted_of=line.limit, alert_at=alert_at)
    return spoken, tuple(_alert(account, ppm, now, seq) for ppm in crossed)


def _alert(account: Account, ppm: int, now: int, seq: int) -> Alert:
    line = account.line
    return Alert(
        line.id,
        ppm,
        line.budget,
        line.unit,
        line.window,
        line.start,
        line.end,
        line.limit,
        account.settled,
        now,
        seq,
    )


def _alerted(account: Account) -> int:
    """Return the highest threshold that was told of the limit's amount of now."""
    return account.alerted if account.alerted_of == account.line.limit else 0


def _alert_at(line: Line, alerted: int) -> int:
    due = [ppm for ppm in line.thresholds if ppm > alerted]
    return _threshold(line.limit, due[0]) if due and line.limit else END_OF_TIME


def _threshold(limit: int, ppm: int) -> int:
    return -(-limit * ppm // _MILLION)
