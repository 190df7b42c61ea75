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
_MILLISECOND: Final = 1_000_000
# The last two hex digits of a key, by number: formatting was most of what a key cost.
_ENDS: Final = tuple(f"{number:02x}" for number in range(256))
_until = -1
_value = 0
_prefix = ""
_end = 0


def new_key(clock: Clock) -> str:
    """Return a new UUID version 7 (RFC 9562, section 5.7) as text; keys of one process ascend.

    Ascending keys keep a store's key index dense: each batch touches its last page only.
    """
    # RFC 9562, section 6.2, method 2: random bits for the first key of a millisecond, then one more
    # for each. One state per process is what makes keys ascend, also when the clock steps back.
    global _end  # noqa: PLW0603
    with _lock:
        now = clock.instant()
        _end += 1
        # Not only at its end: an interrupt here may have kept the last one from being carried.
        if now >= _until or _end >= len(_ENDS):
            _begin(now)
        return _prefix + _ENDS[_end]


def _begin(now: int) -> None:
    """Begin a new millisecond, or carry into what stands before the last two digits."""
    global _until, _value, _prefix, _end  # noqa: PLW0603
    if now >= _until:
        millisecond = now // _MILLISECOND
        _until = (millisecond + 1) * _MILLISECOND
        bits = _random.getrandbits(73)
        # One of the last 48 bits starts clear: they cannot overflow within a millisecond.
        tail = 0x8000 << 48 | (bits >> 47 & 0x3FFF) << 48 | bits & 0x7FFF_FFFF_FFFF
        _value = (millisecond & 0xFFFF_FFFF_FFFF) << 80 | (0x7000 | bits >> 61) << 64 | tail
    else:
        _value = (_value | 0xFF) + 1
    text = _value.to_bytes(16, "big").hex()
    _prefix = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:30]}"
    _end = _value & 0xFF


def new_run_id(clock: Clock) -> str:
    """Return a new run id: 16 hex digits that ascend with the second."""
    return f"{clock.instant() // NANOS_PER_SECOND & 0xFFFF_FFFF:08x}{_random.getrandbits(32):08x}"
