"""Whether this host and the server agree on what time it is."""

from typing import Final

from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.errors import StoreUnavailable
from earmark.stores.postgres_link import Connection
from earmark.stores.postgres_url import PostgresUrl

#: As far apart as two hosts' clocks may be; also what Kerberos lets pass:
#: https://web.mit.edu/kerberos/krb5-latest/doc/admin/conf_files/krb5_conf.html (clockskew).
LARGEST_SKEW_NS: Final = 300 * NANOS_PER_SECOND

_NOW: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


def check_clock(connection: Connection, clock: Clock, url: PostgresUrl) -> None:
    """Refuse to start where the host's clock is far from the server's.

    Books take the later of a caller's time and that of their last entry. A host that is a day ahead
    would turn every host's windows a day early: what was spent today would count as yesterday's.

    Raises:
        StoreUnavailable: They are more than five minutes apart.
    """
    asked = clock.instant()
    row = connection.execute(_NOW, prepare=False).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    ahead = (asked + clock.instant()) // 2 - int(row[0]) * 1000
    if abs(ahead) > LARGEST_SKEW_NS and not url.unsafe:
        apart = f"{abs(ahead) // NANOS_PER_SECOND} s {'ahead of' if ahead > 0 else 'behind'}"
        detail = (
            f"this host's clock is {apart} the server's, and at most"
            f" {LARGEST_SKEW_NS // NANOS_PER_SECOND} s will do, or windows would turn at the"
            " wrong time for everybody: set the clocks (NTP)"
        )
        raise StoreUnavailable(store=url.name, detail=detail)
