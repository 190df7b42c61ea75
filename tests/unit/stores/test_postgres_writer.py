"""What the PostgreSQL store's writer knows, and when it knows better."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.postgres import PostgresStore
from earmark.testing import ManualClock
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
