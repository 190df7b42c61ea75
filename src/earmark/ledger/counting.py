"""What a limit counts of reservations that were opened before it came into force; pure.

A reservation counts on the accounts it was opened on. Two things add an account to it later: a
change of its budget that counts what was before (`opening`, `count_back`), and an extension under a
limit that was set since, which counts there by what it adds (`Part`).
"""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from earmark.budget.budget import Budget
from earmark.budget.limit import Limit
from earmark.budget.path import is_within
from earmark.budget.window import Interval
from earmark.ledger.amounts import count
from earmark.ledger.values import Account, Added, Amounts, Opened, Reservation, SetLimits
from earmark.money import LARGEST_SUM

NOTHING = Amounts(0, 0, 0)


def opening(
    op: SetLimits, before: Budget | None, after: Budget, now: int
) -> Iterator[tuple[Limit, Interval]]:
    """Yield the limits of *after* whose account begins with what was before, and its interval.

    Those are the limits that another time zone gave another interval, for what was spent in it is
    spent; and, where *op* says so, the limits that it adds.
    """
    for limit in after.limits:
        interval = limit.window.interval(now, after.timezone)
        if before is None or not any(limit.same_window(each) for each in before.limits):
            if op.count_back:
                yield limit, interval
        elif limit.window.interval(now, before.timezone).start != interval.start:
            yield limit, interval


def is_counted(row: Reservation, path: str, interval: Interval) -> bool:
    """Return whether a limit on *path* that begins with what was before counts *row*.

    A settlement belongs to the interval its reservation was opened in; what is open counts too.
    What was released never counts for anything again.
    """
    counts = row.state == "open" or (row.opened in interval and row.state != "released")
    return counts and is_within(row.budget, path)


def counted_back(account: Account, rows: Iterable[Reservation]) -> Opened | None:
    """Return what *rows*, which *account* did not count, add to it, and they with it as their last.

    Nothing if the sums would be more than a store can hold.
    """
    unit, settled, held = account.line.unit, 0, 0
    joined: list[Reservation] = []
    for row in rows:
        if row.state == "open":
            held += count(row.hold, unit)
        else:
            settled += count(row.actual or NOTHING, unit)
        joined.append(replace(row, accounts=(*row.accounts, account.line.id)))
    if account.settled + settled + account.held + held > LARGEST_SUM:
        return None
    return Opened((account,), tuple(joined), (Added(settled, held, len(joined)),))


def count_after(amounts: Amounts, before: Amounts, unit: str) -> int:
    """Return how much of *unit* in *amounts* is above what was held *before*."""
    return max(0, count(amounts, unit) - count(before, unit))


def limit_of(account: Account) -> tuple[str, str, str]:
    """Return which limit *account* is of, in whatever interval."""
    line = account.line
    return line.budget, line.unit, line.window
