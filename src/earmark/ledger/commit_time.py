"""The time of commits: the wall clock, as long as nobody set it wrong while this process runs.

Books take the later of the clock and their last entry, so one commit with a clock that is a year
ahead would keep every window from turning for a year.
"""

import threading
from datetime import timedelta
from typing import Final

from earmark.clock import NANOS_PER_SECOND, Clock, iso
from earmark.errors import ClockStepped

#: How far the wall clock may be from where it should be, and as far apart as the clocks of a host
#: and its server may be; as two hosts' clocks for Kerberos:
#: https://web.mit.edu/kerberos/krb5-latest/doc/admin/conf_files/krb5_conf.html (clockskew).
LARGEST_STEP_NS: Final = 300 * NANOS_PER_SECOND
#: A clock that was set and stays so is taken for right after this much uptime; see `CommitTime`.
TAKEN_AFTER_NS: Final = 3600 * NANOS_PER_SECOND
#: Both clocks are read within this time, or again: a process can be stopped between two reads.
_AT_ONCE_NS: Final = NANOS_PER_SECOND
#: The two clocks go together as long as they are no farther apart than they were, give or take it.
_TOGETHER_NS: Final = NANOS_PER_SECOND
_SECOND: Final = timedelta(seconds=1)


def entries_ahead(by: timedelta) -> str:
    """Return what is wrong where the last entry is later than the clock, and what to do."""
    return (
        f"the last entry is {by // _SECOND} s ahead of this machine's clock, so no window turns"
        " until then: set the clock right if it is behind, else"
        " see 'A clock that is wrong' in the operator's guide"
    )


class CommitTime:
    """Compares the wall clock with the time since the machine was started, from look to look.

    Suspension and idleness move both alike. Setting the clock moves one of them. A look that finds
    them a second apart, or more, is where the next one starts from, so that what NTP corrects now
    and then does not add up to a step over the months.

    A clock that was set, and then stays as it is, is taken for right after an hour. NTP looks at
    least every 34 minutes (systemd-timesyncd's PollIntervalMaxSec of 2048 s; chrony and ntpd, 1024
    s), so what nobody has corrected in an hour nobody will, or it is the correction itself: of a
    virtual machine that was paused, say, whose time since its start stood still with it. To refuse
    for longer would protect nothing, for a program that is started anew takes that time at once.
    """

    def __init__(self, clock: Clock, store: str) -> None:
        """Take what *clock* says now for right; *store* is the name that errors have."""
        self._instant, self._uptime = clock.instant, clock.uptime
        self._store = store
        self._lock = threading.Lock()
        self._set: tuple[int, int] | None = None
        """Where the clock was set to, as `_started`, and the uptime when that was first seen."""
        now, uptime = self._read()
        self._start_from(now - uptime)

    def now(self) -> int:
        """Return the wall clock's instant.

        Raises:
            ClockStepped: It was set, by more than five minutes since the last look that passed, and
                has not stayed so for an hour.
        """
        # Once a commit, and so no more than is needed to know that nothing has happened.
        now = self._instant()
        if self._lowest <= now - self._uptime() <= self._highest:
            return now
        return self._check_step()

    def now_or_none(self) -> int | None:
        """Return the wall clock's instant, or nothing where `now` raises."""
        try:
            return self.now()
        except ClockStepped:
            return None

    def _check_step(self) -> int:
        with self._lock:
            # Stopped between the two reads, or the clock was set: read at once tells which.
            now, uptime = self._read()
            started = now - uptime
            if abs(started - self._started) <= LARGEST_STEP_NS or self._has_stayed(started, uptime):
                self._set = None
                self._start_from(started)
                return now
            # Nothing passes until a close look has.
            self._lowest, self._highest = started, started - 1
            expected = self._started + uptime
        off = f"{abs(now - expected) // NANOS_PER_SECOND} s"
        which = "ahead" if now > expected else "back"
        detail = (
            f"the clock was set {off} {which} while this program runs: it says {iso(now)}, and"
            f" {iso(expected)} by the time since the machine was started; nothing is reserved or"
            " changed, as every window would turn at the wrong time: set the clock right (NTP), or"
            " start this program anew if it is right now; if it stays as it is, it is taken for"
            " right in an hour"
        )
        raise ClockStepped(store=self._store, detail=detail)

    def _has_stayed(self, started: int, uptime: int) -> bool:
        """Return whether the clock was found so an hour ago, and not otherwise since."""
        if self._set is None or abs(started - self._set[0]) > LARGEST_STEP_NS:
            self._set = started, uptime
        return uptime - self._set[1] >= TAKEN_AFTER_NS

    def _start_from(self, started: int) -> None:
        self._started = started
        self._lowest, self._highest = started - _TOGETHER_NS, started + _TOGETHER_NS

    def _read(self) -> tuple[int, int]:
        while True:
            before = self._uptime()
            now = self._instant()
            after = self._uptime()
            if after - before <= _AT_ONCE_NS:
                return now, after
