"""How many tasks are in each state, without counting them all at each look."""

from typing import Final

from earmark.board.task import TaskStatus
from earmark.board.task_history import last_event
from earmark.stores.tables import Rows

#: Where more than so many events are new, everything is counted.
MOST_NEW: Final = 1_000

_ALL: Final = "SELECT status, count(*) FROM {schema}.task GROUP BY status"
#: Of each new event the state after it, and the one before it: that of the event before.
_NEW: Final = """
SELECT status, (
    SELECT status FROM {schema}.task_event AS before
    WHERE before.task_id = after.task_id AND before.number < after.number
    ORDER BY before.number DESC LIMIT 1
)
FROM {schema}.task_event AS after WHERE number > ?
"""

StatusCounts = dict[TaskStatus, int]


class StatusCounter:
    """Knows the counts as of some event, and what each event after it changes.

    Every change of a state makes an event in the same transaction, so the two agree on any commit.
    Threads may share it: what is known is replaced as a whole.
    """

    def __init__(self, *, most_new: int = MOST_NEW) -> None:
        """Know nothing yet; follow at most *most_new* events at a time."""
        self._most_new = most_new
        self._known: tuple[int, StatusCounts] | None = None

    def count(self, rows: Rows) -> StatusCounts:
        """Return how many tasks are in each state, zero where none is."""
        last, known = last_event(rows)[0], self._known
        if known is None or not 0 <= last - known[0] <= self._most_new:
            counts = _all(rows)
        elif last == known[0]:
            counts = known[1]
        else:
            counts = _after(rows, *known)
        self._known = (last, counts)
        return dict(counts)


def _all(rows: Rows) -> StatusCounts:
    found = rows.run(_ALL)
    return dict.fromkeys(TaskStatus, 0) | {TaskStatus(status): count for status, count in found}


def _after(rows: Rows, number: int, known: StatusCounts) -> StatusCounts:
    counts = dict(known)
    for after, before in rows.run(_NEW, number):
        counts[TaskStatus(after)] += 1
        if before is not None:
            counts[TaskStatus(before)] -= 1
    return counts
