"""The one source of new ids."""

import secrets
import threading

from earmark.clock import Clock

_lock = threading.Lock()
_last = 0


def new_key(clock: Clock) -> str:
    """Return a new UUID version 7 (RFC 9562) as text; keys of one process ascend.

    Ascending keys keep a store's key index dense: each batch touches its last page only.
    """
    global _last  # noqa: PLW0603 - one counter per process is what makes keys ascend
    with _lock:
        # 48 bits of milliseconds and 12 bits counted up within one: the order of creation.
        _last = max(_last + 1, (clock.instant() // 1_000_000 & 0xFFFF_FFFF_FFFF) << 12)
        stamp = _last
    text = f"{stamp >> 12:012x}7{stamp & 0xFFF:03x}{_variant():016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_run_id(clock: Clock) -> str:
    """Return a new run id: 16 hex digits, ascending with time to about a second."""
    return f"{clock.instant() // 1_000_000_000 & 0xFFFF_FFFF:08x}{secrets.randbits(32):08x}"


def _variant() -> int:
    return 0x8000_0000_0000_0000 | secrets.randbits(62)
