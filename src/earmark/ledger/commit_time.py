"""The time of commits: the wall clock, as long as nobody set it wrong while this process runs.

Books take the later of the clock and their last entry, so one commit with a clock that is a year
ahead would keep every window from turning for a year.
"""

from datetime import timedelta
from typing import Final

from earmark.clock import NANOS_PER_SECOND, Clock, iso
from earmark.errors import ClockStepped

#: How far the wall clock may be from where it should be; as two hosts' clocks for Kerberos:
#: https://web.mit.edu/kerberos/krb5-latest/doc/admin/conf_files/krb5_conf.html (clockskew).
LARGEST_STEP_NS: Final = 300 * NANOS_PER_SECOND
#: Both clocks are read within this time, or again: a process can be stopped between two reads.
_AT_ONCE_NS: Final = NANOS_PER_SECOND
_SECOND: Final = timedelta(seconds=1)


def entries_ahead(by: timedelta) -> str:
    """Return what is wrong where the last entry is later than the clock, and what to do."""
    return (
        f"the last entry is {by // _SECOND} s ahead of this machine's clock, so no window turns"
        " until then: set the clock right if it is behind, else"
        " see 'A clock that is wrong' in the operator's guide"
    )


class CommitTime:
    """Compares the wall clock with the time since the machine was started, from now on.

    Suspension and idleness move both alike. Setting the clock moves one of them.
    """

    def __init__(self, clock: Clock, store: str) -> None:
        """Take what *clock* says now for right; *store* is the name that errors have."""
        self._clock = clock
        self._store = store
        now, uptime = self._read()
        self._started = now - uptime

    def now(self) -> int:
        """Return the wall clock's instant.

        Raises:
            ClockStepped: It was set, by more than five minutes in all, since the store was
                opened. Nothing is committed until it is set back, or the program is started anew.
        """
        now = self._clock.instant()
        if -LARGEST_STEP_NS <= now - self._clock.uptime() - self._started <= LARGEST_STEP_NS:
            return now
        # Stopped between the two reads, or the clock was set: read at once tells which.
        now, uptime = self._read()
        expected = self._started + uptime
        if abs(now - expected) <= LARGEST_STEP_NS:
            return now
        off = f"{abs(now - expected) // NANOS_PER_SECOND} s"
        which = "ahead" if now > expected else "back"
        detail = (
            f"the clock was set {off} {which} while this program runs: it says {iso(now)}, and"
            f" {iso(expected)} by the time since the machine was started; nothing is committed,"
            " as every window would turn at the wrong time: set the clock right (NTP), or start"
            " this program anew if it is right now"
        )
        raise ClockStepped(store=self._store, detail=detail)

    def _read(self) -> tuple[int, int]:
        while True:
            before = self._clock.uptime()
            now = self._clock.instant()
            after = self._clock.uptime()
            if after - before <= _AT_ONCE_NS:
                return now, after
