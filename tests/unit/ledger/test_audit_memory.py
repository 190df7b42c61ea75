"""An audit of many reservations takes no more memory than one of few."""

import asyncio
import tracemalloc
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock


async def fill(ledger: Ledger, count: int) -> None:
    """Open and settle so many reservations."""
    books = ledger.as_async()
    for _ in range(count // 100):
        holds = await asyncio.gather(*(books.reserve("acme", "0.01") for _ in range(100)))
        await asyncio.gather(*(books.settle(hold.key, "0.01") for hold in holds))


def audited(ledger: Ledger) -> int:
    """Return the most bytes that an audit had in use at one time."""
    tracemalloc.start()
    try:
        report = ledger.audit()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert report.ok, report.problems


def peak(url: str, before: int, after: int, zone: str) -> int:
    """Return `audited` of books with closed reservations before and after a change to *zone*."""
    clock = ManualClock(datetime(2026, 11, 22, 12, tzinfo=UTC))
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1000 usd per day"])
        asyncio.run(fill(ledger, before))
        ledger.reserve("acme", 1)
        ledger.set_budget("acme", timezone=zone)
        asyncio.run(fill(ledger, after))
        with closing(ledger.store.snapshot()) as snapshot:
            begun = ['"opened"' in entry.data for entry in snapshot.budget_changes()]
        assert any(begun) == (zone != "UTC")
        audited(ledger)
        return audited(ledger)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_the_memory_of_an_audit_does_not_grow_with_the_entries(tmp_path: Path, zone: str) -> None:
    """Ten times as many closed reservations: the same peak, but for the noise of a few objects.

    Also where a change of the zone counts those before it, which the audit counts again.
    """
    few = peak(f"sqlite:///{tmp_path}/few.db", 300, 100, zone)
    many = peak(f"sqlite:///{tmp_path}/many.db", 3000, 1000, zone)
    assert many < few + 50_000
