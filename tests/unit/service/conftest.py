"""A service for each test, or one for those of a file that leave no traces."""

from collections.abc import Iterator

import pytest

from support.service_house import House
from support.service_house import house as open_house


@pytest.fixture
def house() -> Iterator[House]:
    """A service with a token of each scope, and no budgets; its books are in memory."""
    with open_house() as opened:
        yield opened


@pytest.fixture(scope="module")
def shared() -> Iterator[House]:
    """The same for all tests of a file that change nothing another one looks at."""
    with open_house() as opened:
        yield opened
