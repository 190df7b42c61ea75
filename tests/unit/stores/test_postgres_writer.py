"""What the PostgreSQL store's writer knows, and when it knows better."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from earmark.errors import StoreError
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.postgres import PostgresStore
from earmark.testing import ManualClock
from support.last_resort import until
from support.ledger_books import tamper
from support.postgres_server import Server
from support.postgres_session import fresh_url


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Ledger, Ledger, ManualClock]]:
    """Two ledgers on the same books, and the clock of both."""
    url, clock = fresh_url(tmp_path), ManualClock()
    with open_ledger(url, clock=clock) as one, open_ledger(url, clock=clock) as other:
        yield one, other, clock


def test_a_deadline_that_another_swept_is_not_due_for_ever(
    two: tuple[Ledger, Ledger, ManualClock],
) -> None:
    """Once another ledger presumed what was late, this one decides other trees quickly again."""
    one, other, clock = two
    for tree in ("late", "busy"):
        one.set_budget(tree, limits=["10 usd per day"])
    one.reserve("late", 1, deadline="1min")
    one.reserve("busy", 1)
    clock.advance(timedelta(minutes=2))
    other.reserve("late", 1)
    one.reserve("busy", 1)
    assert isinstance(one.store, PostgresStore)
    known = one.store._writer._trees
    assert [name for name, tree in known.items() if tree.next_due <= clock.instant()] == []


def test_a_lone_operation_is_a_hundred_calls(two: tuple[Ledger, Ledger, ManualClock]) -> None:
    """Python on the way to the server and back costs more than the way: it is counted."""
    books, _, _ = two
    books.set_budget("acme/research/agent", limits=["10 usd per day"])
    books.set_budget("acme", limits=["10 usd per day"])
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    for key in ("learns what there is", "counted"):
        calls = 0
        sys.setprofile(count)
        try:
            books.settle(books.reserve("acme/research/agent", "0.1", key=key).key, "0.1")
        finally:
            sys.setprofile(None)
    assert calls <= 2 * 105


@contextmanager
def one_batch(books: Ledger, size: int) -> Iterator[None]:
    """Have the *size* operations that are asked for meanwhile committed together afterwards."""
    committer: Any = books.committer
    with committer._commit_lock:
        yield
        until(lambda: len(committer._queue) == size)


@pytest.mark.parametrize(
    "refusal",
    [
        'CREATE INDEX ON reservation ((1 / (length("key") - 3)))',
        """ALTER TABLE reservation ADD CHECK ("key" <> 'odd')""",
    ],
    ids=["data error", "violated constraint"],
)
def test_a_row_that_the_server_refuses_fails_alone(
    postgres: Server, tmp_path: Path, refusal: str
) -> None:
    """The others of its batch are booked, and nothing says that the books are damaged or away."""
    schema = f"refusing_{tmp_path.name.lower()}"[:63]
    keys = ["first", "odd", "second"]
    try:
        with open_ledger(postgres.url(schema=schema)) as books, ThreadPoolExecutor(3) as pool:
            books.set_budget("acme", limits=["10 usd total"])
            tamper(books, refusal)
            with one_batch(books, len(keys)):
                asked = {key: pool.submit(books.reserve, "acme", 1, key=key) for key in keys}
            error = asked.pop("odd").exception()
            assert type(error) is StoreError
            assert "the server refused a value; nothing was changed" in str(error)
            assert sorted(future.result().key for future in asked.values()) == ["first", "second"]
            assert sorted(hold.key for hold in books.holds()) == ["first", "second"]
            assert books.audit().ok
    finally:
        postgres.drop(schema)
