"""Paths that have no budget: anybody can ask for them, and for ever new ones."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest

from earmark.errors import BudgetExceeded, NoBudget, NotFound
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts, Refused, Reserve
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import standing

ROUND = 12_000
AT_ONCE = 400
#: What so many paths take that are remembered for ever, several times over.
MOST_GROWTH = 1_000_000


@contextmanager
def traced() -> Iterator[None]:
    """Count what is allocated meanwhile."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def refuse(ledger: Ledger, clock: ManualClock, number: int) -> int:
    """Have a round of paths refused that nobody asked for before; return the bytes in use."""
    for first in range(number * ROUND, (number + 1) * ROUND, AT_ONCE):
        batch = [
            Reserve(f"key-{n}", f"nobody/is-{n}", Amounts(1), 10**9)
            for n in range(first, first + AT_ONCE)
        ]
        decisions = ledger.store.apply(batch, clock.instant())
        assert all(isinstance(each, Refused) and each.why == "no_budget" for each in decisions)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.slow("postgres")
def test_refused_paths_are_not_remembered_for_ever(url: str, clock: ManualClock) -> None:
    """However many there are, memory is bounded; and one that gets a budget is found."""
    with open_ledger(url, clock=clock) as ledger, traced():
        ledger.set_budget("acme", limits=["10 usd per day"])
        ledger.reserve("acme/a", 1)
        early = refuse(ledger, clock, 0)
        late = refuse(ledger, clock, 1)
        assert late - early < MOST_GROWTH
        ledger.set_budget(f"nobody/is-{ROUND}", limits=["1 usd per day"])
        ledger.reserve(f"nobody/is-{ROUND}", 1)
        ledger.reserve("acme/a", 1)


#: Every operation that names a budget which may not exist.
ASKED: Final[dict[str, Callable[[Ledger, str, ManualClock], Any]]] = {
    "reserve": lambda books, path, _: books.reserve(path, 1),
    "pause": lambda books, path, _: books.pause(path),
    "resume": lambda books, path, _: books.resume(path),
    "extend": lambda books, path, clock: books.extend_budget(
        path, "1 usd total", until=clock.now + timedelta(hours=1)
    ),
}


@pytest.mark.parametrize("path", ["fresh", "fresh/leaf"])
@pytest.mark.parametrize("asked", list(ASKED))
def test_budgets_that_another_process_makes_later_bind_who_asked_too_early(
    open_store: Callable[[], Ledger], clock: ManualClock, asked: str, path: str
) -> None:
    """Who was refused for want of the root obeys its limit and its pause once others made it."""
    early, maker = open_store(), open_store()
    maker.set_budget("busy", limits=["10 usd total"])
    early.reserve("busy", 1, key="open")
    with pytest.raises((NoBudget, NotFound)):
        ASKED[asked](early, path, clock)
    maker.set_budget("fresh", limits=["2 usd total"])
    maker.set_budget("fresh/leaf", limits=["100 usd total"])
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            early.reserve("fresh/leaf", 50)
    early.reserve("fresh/leaf", 2)
    assert standing(maker, "fresh") == ("2", "0", "2", "0")
    assert standing(maker, "fresh/leaf") == ("100", "0", "2", "98")
    maker.pause("fresh")
    with pytest.raises(BudgetExceeded, match="paused"):
        early.reserve("fresh/leaf", 50)
    early.settle("open", 1)
    assert maker.audit().ok
