"""A heartbeat that is left running, on a clock that a test moves; real books in a file.

`EARMARK_FIRE_SECONDS=60` makes the two days a year of 17,520 cycles: about fourteen minutes.
"""

import os
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.beat_house import BeatHouse

LONG = float(os.environ.get("EARMARK_FIRE_SECONDS", "0")) >= 60
DAYS = 365 if LONG else 2
CYCLES = 48
EVERY = timedelta(minutes=30)
#: Half an hour before its first cycle, which is the day's first.
START = datetime(2026, 12, 31, 23, 31, tzinfo=UTC)


def open_files() -> int:
    """Return how many files and sockets this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def live(house: BeatHouse) -> str:
    """Live one day with more to do than the day's money pays; return its date."""
    for _ in range(CYCLES):
        house.fill(3)
        assert len(house.cycle(after=EVERY).dispatched) <= 3
        # The script's own memory of what it was sent.
        house.provider.sent.clear()
    return house.clock.now.date().isoformat()


@pytest.mark.timeout(36_000 if LONG else 1200)
def test_days_go_by_and_each_is_paid_in_full_told_once_and_leaves_nothing_open(
    tmp_path: Path,
) -> None:
    """Day after day exactly the cap is spent and written down, and two crossings are nudged."""
    url = f"sqlite:///{tmp_path / 'year.db'}"
    clock = ManualClock(START)
    # No limits of the test's: the defaults are what most leave running.
    with BeatHouse(url=url, limits=(), clock=clock) as house:
        dates: list[str] = []
        for day in range(DAYS):
            dates.append(live(house))
            if not day:
                after_the_first = open_files()
        assert open_files() == after_the_first
        # An executor's threads, of which there are never more, and our own.
        assert threading.active_count() <= (os.cpu_count() or 1) + 10
        house.stop()
        days = {date: Decimal(house.patch(f"budget_{date}")["daily_spend"]) for date in dates}
        assert days == dict.fromkeys(dates, Decimal(10))
        assert house.nudges() == ["threshold", "exhausted"] * DAYS
    with open_ledger(url) as books:
        assert books.audit().ok
        assert not books.holds()
