"""The one limit in time of the suite: a machine that is slow, or busy, must only take longer."""

import threading
from collections.abc import Callable
from typing import Final

#: More than ten times what the slowest wait of any test usually takes. It is there so that a test
#: which hangs ends with a sentence; nothing that is right is ever so late.
LAST_RESORT_S: Final = 600.0


def until(true: Callable[[], object], *, every_s: float = 0.02) -> None:
    """Return once *true* is; it is looked at again and again."""
    pause = threading.Event()
    for _ in range(round(LAST_RESORT_S / every_s)):
        if true():
            return
        pause.wait(every_s)
    raise AssertionError("it did not come true")
