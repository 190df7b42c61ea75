"""The one source of new ids."""

import os
import threading
from random import Random
from typing import Final

from earmark.clock import NANOS_PER_SECOND, Clock

# Ids must be unique, not secret: a generator of our own, seeded from the system's randomness, costs
# a tenth of asking the system for each. It is nobody else's to seed, and a forked child seeds its
# own.
_random: Final = Random()  # noqa: S311 - see above
os.register_at_fork(after_in_child=_random.seed)
_lock: Final = threading.Lock()
_VARIANT: Final = 1 << 63
_last = 0


def new_key(clock: Clock) -> str:
    """Return a new UUID version 7 (RFC 9562, section 5.7) as text; keys of one process ascend.

    Ascending keys keep a store's key index dense: each batch touches its last page only.
    """
    global _last  # noqa: PLW0603 - one counter per process is what makes keys ascend
    with _lock:
        # 48 bits of milliseconds, then 12 bits that count up within one.
        _last = max(_last + 1, (clock.instant() // 1_000_000 & 0xFFFF_FFFF_FFFF) << 12)
        stamp = _last
    random = _random.getrandbits(62) | _VARIANT
    # One format, and the old one: this is half the price of a reservation in memory otherwise.
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031
        stamp >> 28,
        stamp >> 12 & 0xFFFF,
        stamp & 0xFFF,
        random >> 48,
        random & 0xFFFF_FFFF_FFFF,
    )


def new_run_id(clock: Clock) -> str:
    """Return a new run id: 16 hex digits that ascend with the second."""
    return f"{clock.instant() // NANOS_PER_SECOND & 0xFFFF_FFFF:08x}{_random.getrandbits(32):08x}"
