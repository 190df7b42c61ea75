"""A clock that moves only when told to."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

from earmark.clock import NANOS_PER_SECOND, from_datetime, to_datetime


class ManualClock:
    """A clock for tests: stands still until `advance` or `set`, which wake whom they pass."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)) -> None:
        # Both in one value: a thread that reads while another sets must not see one without the
        # other.
        self._read = from_datetime(start), 0
        self._elapsed = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = 0

    def instant(self) -> int:
        """Return the instant it was last set to."""
        return self._read[0]

    def elapsed(self) -> int:
        """Return the nanoseconds it was advanced in all; setting it back does not reduce them."""
        return self._elapsed

    def uptime(self) -> int:
        """Return the nanoseconds it was advanced or set by, but not what it was stepped by."""
        return self._read[1]

    @property
    def now(self) -> datetime:
        """The instant as an aware UTC datetime."""
        return to_datetime(self._read[0])

    def advance(self, by: timedelta) -> None:
        """Move forward by *by* and wake those whose sleep ended."""
        nanos = round(by.total_seconds() * NANOS_PER_SECOND)
        instant, uptime = self._read
        self._read = instant + nanos, uptime + nanos
        self._elapsed += nanos
        self._wake()

    def set(self, moment: datetime) -> None:
        """Set the wall clock to *moment*, also backwards; sleeps go by `elapsed`, so none ends.

        It is time that passed, as on a machine that was suspended: no error, as `step` is one.
        """
        new, (instant, uptime) = from_datetime(moment), self._read
        self._read = new, uptime + new - instant

    def step(self, by: timedelta) -> None:
        """Move the wall clock alone, as whoever sets a machine's clock does; forwards or back."""
        instant, uptime = self._read
        self._read = instant + round(by.total_seconds() * NANOS_PER_SECOND), uptime

    @property
    def sleepers(self) -> int:
        """How many sleeps are waiting; cancelled ones are not."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by *seconds*."""
        due = self._elapsed + round(seconds * NANOS_PER_SECOND)
        if due <= self._elapsed:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (due, self._order, future))
        await future

    def _wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
