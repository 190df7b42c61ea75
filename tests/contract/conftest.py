"""Every test of the contract runs on every store, through both façades."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from earmark.ledger.ledger import Ledger
from earmark.testing import ManualClock
from support.ledger_books import DURABLE, IN_MEMORY, STORES, check_books, open_books
from support.no_store import ledgers_without_store
from support.postgres_session import recycle


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of the test's own, without a disk where there is such: nothing is lost here."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as name:
        yield Path(name)
        recycle(Path(name))


@pytest.fixture
def clock() -> ManualClock:
    """Noon in UTC on 22 November 2026, until a test moves it."""
    return ManualClock()


@pytest.fixture(params=list(STORES))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where this test's books are kept."""
    return STORES[request.param](tmp_path)


@pytest.fixture(params=["threads", "tasks"])
def ledger(request: pytest.FixtureRequest, url: str, clock: ManualClock) -> Iterator[Ledger]:
    """Empty books; whatever a test does to them, in the end they must add up."""
    opened = open_books(url, clock, face=request.param)
    try:
        yield opened
        check_books(opened)
    finally:
        opened.close()


@pytest.fixture
def edges(clock: ManualClock) -> list[Ledger]:
    """Ledgers for threads and for tasks that have no store: for what is refused without one."""
    return ledgers_without_store(clock)


@pytest.fixture(params=DURABLE)
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> Iterator[Callable[[], Ledger]]:
    """Open the same durable books as often as a test calls it."""
    opened: list[Ledger] = []

    def open_again() -> Ledger:
        opened.append(open_books(STORES[request.param](tmp_path), clock))
        return opened[-1]

    yield open_again
    for each in opened:
        each.close()
