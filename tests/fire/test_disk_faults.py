"""A disk that fails in the middle: one clear error, nothing half done, and the books go on."""

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import apsw
import pytest

from earmark.clock import to_datetime
from earmark.errors import NotFound, StoreUnavailable
from earmark.ledger.committer import GroupCommitter
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.sqlite import SqliteStore
from earmark.testing import ManualClock
from support.ledger_books import STORES, check_books, only
from support.ledger_disk import Disk
from support.ledger_workers import in_threads

_NUMBERS = itertools.count()
FULL, IOERR = apsw.SQLITE_FULL, apsw.SQLITE_IOERR
FAULTS = [("write", FULL), ("write", IOERR), ("sync", IOERR), ("sync", FULL)]


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that works until told otherwise."""
    made = Disk(f"earmark-fault-{next(_NUMBERS)}")
    yield made
    made.unregister()


@pytest.fixture
def ledger(disk: Disk, tmp_path: Path) -> Iterator[Ledger]:
    """Books on that disk, with 10 USD; in the end they add up, on this disk and read anew."""
    clock = ManualClock()
    store = SqliteStore(tmp_path / "books.db", vfs=disk.name)
    made = Ledger(store, GroupCommitter(store, clock), clock)
    made.set_budget("acme", limits=["10 usd total"])
    made.reserve("acme", 1, key="before")
    yield made
    disk.trouble = None
    check_books(made)
    made.close()
    with open_ledger(STORES["sqlite"](tmp_path), clock=clock) as again:
        check_books(again)


def failing(code: int, method: str, nth: int, times: int) -> Callable[[str, str], Exception | None]:
    """Return trouble that strikes *method* from its *nth* call on, *times* times."""
    count = itertools.count(1)

    def trouble(called: str, _: str) -> Exception | None:
        if called == method and nth <= next(count) < nth + times:
            return apsw.exception_for(code)
        return None

    return trouble


@pytest.mark.parametrize("nth", [1, 2, 3, 5])
@pytest.mark.parametrize(("method", "code"), FAULTS, ids=str)
@pytest.mark.parametrize("times", [1, 3, 50])
def test_a_fault_in_a_commit_is_one_clear_error(
    ledger: Ledger, disk: Disk, method: str, code: int, nth: int, times: int
) -> None:
    """Whichever write or sync fails, however long: a clear answer, then the books go on."""
    disk.trouble = failing(code, method, nth, times)
    told: list[StoreUnavailable] = []
    try:
        ledger.reserve("acme", 2, key="during")
    except StoreUnavailable as error:
        told.append(error)
    disk.trouble = None
    for error in told:
        assert "books.db" in str(error)
        assert ("full" in str(error)) is (code == FULL)
    ledger.reserve("acme", 1, key="beside")
    if told and code == FULL:
        with pytest.raises(NotFound):
            ledger.reservation("during")
    ledger.release("beside")
    assert str(ledger.reserve("acme", 2, key="during").amount) == "2"
    assert str(only(ledger, "acme").held) == "3"
    ledger.settle("during", "0.5")
    ledger.release("before")


@pytest.mark.parametrize(("method", "code"), FAULTS, ids=str)
def test_the_books_outlive_a_long_fault(ledger: Ledger, disk: Disk, method: str, code: int) -> None:
    """While the disk fails, each attempt is refused; when it works again, so do the books."""
    disk.trouble = failing(code, method, 1, 1 << 30)
    for number in range(4):
        with pytest.raises(StoreUnavailable):
            ledger.reserve("acme", 1, key=f"k{number}")
    disk.trouble = None
    ledger.reserve("acme", 1, key="after")
    assert str(ledger.reservation("after").amount) == "1"
    for number in range(4):
        ledger.reserve("acme", 1, key=f"k{number}")
    assert str(only(ledger, "acme").held) == "6"


@pytest.mark.parametrize(("method", "code"), FAULTS, ids=str)
def test_a_temporary_increase_is_given_once_whatever_fails(
    ledger: Ledger, disk: Disk, method: str, code: int
) -> None:
    """An operation that is applied again after a failed commit has its effect once."""
    disk.trouble = failing(code, method, 2, 6)
    try:
        ledger.extend_budget("acme", "5 usd total", until=soon(ledger), key="more")
    except StoreUnavailable:
        disk.trouble = None
        ledger.extend_budget("acme", "5 usd total", until=soon(ledger), key="more")
    disk.trouble = None
    assert str(only(ledger, "acme").limit) == "15"


def soon(ledger: Ledger) -> datetime:
    """Return a moment an hour after the books' now."""
    return to_datetime(ledger.clock.instant()) + timedelta(hours=1)


@pytest.mark.parametrize(("method", "code"), FAULTS, ids=str)
def test_everybody_in_a_failed_batch_is_told(
    ledger: Ledger, disk: Disk, method: str, code: int
) -> None:
    """Of sixteen threads on a failing disk each gets an answer; asked again, each is done once."""
    disk.trouble = failing(code, method, 3, 12)
    failed: list[str] = []

    def work(key: str) -> None:
        try:
            ledger.reserve("acme", "0.5", key=key)
        except StoreUnavailable:
            failed.append(key)

    in_threads([lambda n=n: work(f"t{n}") for n in range(16)])
    disk.trouble = None
    for key in failed:
        ledger.reserve("acme", "0.5", key=key)
    assert str(only(ledger, "acme").held) == "9"
    assert len(ledger.holds()) == 17


def test_a_fault_while_reading_is_told(ledger: Ledger, disk: Disk) -> None:
    """Readers work while writing fails: what stands can be seen."""
    disk.trouble = failing(IOERR, "write", 1, 1 << 30)
    assert ledger.reservation("before").state == "open"
    assert [entry.kind for entry in ledger.entries()] == ["limit", "reserve"]
    with pytest.raises(NotFound):
        ledger.reservation("nobody")
