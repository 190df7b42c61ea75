"""Ids: new ones never repeat, and ascend with time."""

import re
import sys
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

from earmark.clock import SystemClock
from earmark.ids import new_key, new_run_id
from earmark.testing import ManualClock


def test_a_key_is_a_uuid_of_version_7() -> None:
    """Keys are RFC 9562 UUIDs that carry their moment."""
    clock = ManualClock(datetime(2099, 5, 6, 7, 8, 9, tzinfo=UTC))
    key = uuid.UUID(new_key(clock))
    assert (key.version, key.variant) == (7, uuid.RFC_4122)
    stamped = datetime.fromtimestamp((key.int >> 80) / 1000, UTC)
    assert abs(stamped - clock.now) < timedelta(seconds=1)


def test_keys_ascend_also_when_the_clock_does_not() -> None:
    """Keys of one process sort in the order of their making, whatever the clock does."""
    clock = ManualClock(datetime(2100, 1, 1, tzinfo=UTC))
    keys = [new_key(clock) for _ in range(5000)]
    clock.set(clock.now - timedelta(days=1))
    keys += [new_key(clock) for _ in range(5000)]
    assert keys == sorted(set(keys))


def test_threads_get_keys_of_their_own() -> None:
    """Eight threads that make keys at once never make the same."""
    clock, made = SystemClock(), list[str]()

    def work() -> None:
        mine = [new_key(clock) for _ in range(1000)]
        assert mine == sorted(mine)
        made.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000


def test_run_ids_ascend_by_the_second() -> None:
    """A run id is 16 hex digits that sort by when the run began."""
    clock = ManualClock()
    first = new_run_id(clock)
    clock.advance(timedelta(seconds=1))
    second = new_run_id(clock)
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert first < second


def test_an_interrupted_key_spoils_none_of_those_after_it() -> None:
    """Ctrl-C at any line of a carry, within a millisecond that goes on: all are new."""
    clock = ManualClock(datetime(2101, 1, 1, tzinfo=UTC))
    made: list[str] = []
    for stop in range(1, 40):
        left = [stop]

        def strike(frame: FrameType, event: str, _: object, left: list[int] = left) -> Any:
            if frame.f_code.co_name == "_begin" and event == "line":
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt
            return strike

        before = sys.gettrace()
        with suppress(KeyboardInterrupt):
            sys.settrace(strike)
            try:
                made += [new_key(clock) for _ in range(300)]
            finally:
                sys.settrace(before)
        made += [new_key(clock) for _ in range(300)]
    assert len(set(made)) == len(made)
