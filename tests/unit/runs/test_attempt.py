"""An attempt's line says the same however often it is made."""

from datetime import timedelta
from typing import Any

from earmark.composition.types import ANY
from earmark.runs.attempt import Leaf, StageAttempt
from earmark.testing import ManualClock


def test_an_attempt_ends_once() -> None:
    """Its line is made again where its booking is repeated, and has not become longer by that."""
    clock = ManualClock()
    kind: Any = None
    leaf = Leaf(
        path="",
        kind=kind,
        name="work",
        stage_id="id",
        config=None,
        input_type=ANY,
        output_type=ANY,
        pure=False,
        free=False,
    )
    attempt = StageAttempt(leaf, 1, "r", clock)
    clock.advance(timedelta(seconds=2))
    first = attempt.ending(None)
    clock.advance(timedelta(seconds=3))
    assert attempt.ending(None) == first
    assert first.duration_ns == 2_000_000_000
