"""Whether this host and the server agree on what time it is: at the start, and at each commit.

A commit takes the host's time along, and the statement that writes compares it with the server's
before it does anything: a clock that is set wrong while a program runs reaches no entry.
"""

from typing import Final

from earmark.clock import NANOS_PER_SECOND, Clock, SystemClock
from earmark.errors import StoreUnavailable
from earmark.ledger.commit_time import LARGEST_STEP_NS
from earmark.stores.postgres_session import Connection
from earmark.stores.postgres_url import PostgresUrl

#: SQL that is false where the instant `{at}` is too far from the server's; null is not compared.
AGREES: Final = (
    "({at} IS NULL OR"
    f" abs(extract(epoch FROM statement_timestamp()) * 1000000000 - {{at}}) <= {LARGEST_STEP_NS})"
)
_NOW: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


def check_clock(connection: Connection, clock: Clock, url: PostgresUrl) -> None:
    """Refuse a connection where the host's clock is far from the server's.

    Books take the later of a caller's time and that of their last entry. A host that is a day ahead
    would turn every host's windows a day early: what was spent today would count as yesterday's.

    Raises:
        StoreUnavailable: They are more than five minutes apart.
    """
    sent_at = clock.instant()
    row = connection.execute(_NOW, prepare=False).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    ahead = (sent_at + clock.instant()) // 2 - int(row[0]) * 1000
    if abs(ahead) > LARGEST_STEP_NS and not url.unsafe:
        apart = f"{abs(ahead) // NANOS_PER_SECOND} s {'ahead of' if ahead > 0 else 'behind'}"
        detail = (
            f"this host's clock is {apart} the server's, and at most"
            f" {LARGEST_STEP_NS // NANOS_PER_SECOND} s will do, or windows would turn at the"
            " wrong time for everybody: set the clocks (NTP)"
        )
        raise StoreUnavailable(store=url.name, detail=detail)


class HostClock:
    """The clock of this host, for comparing it with the server's; a test's own is not compared."""

    def __init__(self, clock: Clock, url: PostgresUrl) -> None:
        self._clock = clock
        self._url = url
        # A test's own clock is where the test has set it.
        self._compared = isinstance(clock, SystemClock) and not url.unsafe

    def check(self, connection: Connection) -> None:
        """Refuse a new connection to a server whose clock is far from this host's.

        Raises:
            StoreUnavailable: They are more than five minutes apart.
        """
        if self._compared:
            check_clock(connection, self._clock, self._url)

    def reading(self, now: int) -> int | None:
        """Return what `AGREES` compares for a commit at *now*; nothing for a test's own clock.

        Both the instant that the caller read before and the present one must agree with the server:
        of the two it is the later one that would turn windows too early. At 0 a commit takes no
        time of this host's, but the last entry's.
        """
        if now == 0:
            return None
        return max(now, self._clock.instant()) if self._compared else None
