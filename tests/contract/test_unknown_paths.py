"""Paths that have no budget: anybody can ask for them, and for ever new ones."""

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts, Refused, Reserve
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock

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
