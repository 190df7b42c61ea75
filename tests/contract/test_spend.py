"""Blocks of work: reserve on the way in, settle on the way out, unknown is the whole hold."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.errors import BudgetExceeded
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.ledger.spend import Spend
from earmark.money import Money
from earmark.stores.open import open_async_ledger, open_ledger
from earmark.testing import ManualClock
from support.ledger_books import STORES, standing


@pytest.fixture
def books(url: str, clock: ManualClock) -> Iterator[Ledger]:
    """Books with one dollar a day."""
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        yield ledger


def test_a_block_settles_what_it_was_told(books: Ledger) -> None:
    """The block's hold is replaced by its actual cost."""
    with books.spend("acme", up_to="0.10", key="block") as spend:
        assert (spend.hold.key, spend.hold.state) == ("block", "open")
        spend.settle("0.042")
    assert (spend.hold.state, spend.hold.settled) == ("settled", Money("0.042"))
    assert standing(books, "acme") == ("1", "0.042", "0", "0.958")


def test_a_block_that_tells_nothing_spends_its_hold(books: Ledger) -> None:
    """Without a settlement the whole hold is presumed spent."""
    with books.spend("acme", up_to="0.10") as spend:
        pass
    assert spend.hold.state == "presumed"
    assert standing(books, "acme") == ("1", "0.1", "0", "0.9")


def fail_after(spend: Spend) -> None:
    """Tell what it cost, then fail."""
    spend.settle("0.01")
    raise ZeroDivisionError


def test_a_block_that_fails_spends_its_hold(books: Ledger) -> None:
    """An exception is an unknown outcome; what was told before it is booked."""
    with pytest.raises(ZeroDivisionError), books.spend("acme", up_to="0.10"):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), books.spend("acme", up_to="0.10") as spend:
        fail_after(spend)
    assert standing(books, "acme") == ("1", "0.11", "0", "0.89")


def test_a_block_that_does_not_fit_is_not_entered(books: Ledger) -> None:
    """A refused block never runs."""
    with pytest.raises(BudgetExceeded), books.spend("acme", up_to=2):
        pytest.fail("the block ran")
    assert standing(books, "acme") == ("1", "0", "0", "1")


def test_a_block_may_grow(books: Ledger) -> None:
    """A block extends its own hold, and is refused where that does not fit."""
    with books.spend("acme", up_to="0.6") as spend:
        spend.extend("0.4")
        assert spend.hold.amount == Money(1)
        with pytest.raises(BudgetExceeded):
            spend.extend("0.1")
        spend.settle("0.9")
    assert standing(books, "acme") == ("1", "0.9", "0", "0.1")


@pytest.mark.parametrize("store", STORES)
def test_blocks_of_tasks(store: str, tmp_path: Path, clock: ManualClock) -> None:
    """The same for tasks: told, untold, failed, grown and refused."""

    async def main() -> None:
        async with open_async_ledger(STORES[store](tmp_path), clock=clock) as ledger:
            await ledger.set_budget("acme", limits=["1 usd per day"])
            async with ledger.spend("acme", up_to="0.1") as spend:
                await spend.extend("0.1")
                spend.settle("0.15")
            async with ledger.spend("acme", up_to="0.1"):
                pass
            with pytest.raises(ZeroDivisionError):
                async with ledger.spend("acme", up_to="0.1"):
                    raise ZeroDivisionError
            with pytest.raises(BudgetExceeded):
                async with ledger.spend("acme", up_to=1):
                    pytest.fail("the block ran")
            assert standing(ledger.sync, "acme") == ("1", "0.35", "0", "0.65")

    asyncio.run(main())


@pytest.mark.parametrize("store", STORES)
def test_a_cancelled_block_spends_its_hold(store: str, tmp_path: Path, clock: ManualClock) -> None:
    """A task cancelled in its block leaves no hold behind: the outcome is unknown, so spent."""

    async def work(ledger: AsyncLedger, inside: asyncio.Event) -> None:
        async with ledger.spend("acme", up_to="0.1"):
            inside.set()
            await asyncio.Event().wait()

    async def main() -> None:
        async with open_async_ledger(STORES[store](tmp_path), clock=clock) as ledger:
            await ledger.set_budget("acme", limits=["1 usd per day"])
            inside = asyncio.Event()
            task = asyncio.create_task(work(ledger, inside))
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await ledger.holds() == []
            assert standing(ledger.sync, "acme") == ("1", "0.1", "0", "0.9")

    asyncio.run(main())


@pytest.mark.parametrize("store", STORES)
def test_tasks_and_threads_share_the_books(store: str, tmp_path: Path, clock: ManualClock) -> None:
    """One ledger serves tasks and threads at once, and counts both."""

    async def main() -> None:
        async with open_async_ledger(STORES[store](tmp_path), clock=clock) as ledger:
            await ledger.set_budget("acme", limits=["100 usd per day"])
            tasks = [ledger.reserve("acme", 1) for _ in range(20)]
            threads = [asyncio.to_thread(ledger.sync.reserve, "acme", 1) for _ in range(20)]
            holds = await asyncio.gather(*tasks, *threads)
            assert len({hold.key for hold in holds}) == 40
            assert standing(ledger.sync, "acme") == ("100", "0", "40", "60")

    asyncio.run(main())
