"""Fixtures of the pages: a service on empty books, and somebody who looks at it."""

from collections.abc import Iterator

import pytest

from support.page_house import PageHouse, Visitor, page_house


@pytest.fixture
def house() -> Iterator[PageHouse]:
    """A service on books in memory, with two budgets and an empty board."""
    with page_house() as opened:
        yield opened


@pytest.fixture
def admin(house: PageHouse) -> Visitor:
    """Somebody who is logged in and may do everything."""
    return house.visitor("admin")
