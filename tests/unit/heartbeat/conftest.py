"""Fixtures: one heartbeat, unless a test wants more."""

from collections.abc import Iterator

import pytest

from support.beat_house import BeatHouse


@pytest.fixture
def beats() -> Iterator[BeatHouse]:
    """A heartbeat with a dollar a day, on a model whose answers cost ten cents."""
    with BeatHouse() as house:
        yield house
