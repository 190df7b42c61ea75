"""A closed ledger refuses everything in one sentence; closing it does no harm."""

import asyncio
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.errors import EarmarkError, InvalidConfig, StoreClosed
from earmark.ledger.committer import GroupCommitter
from earmark.ledger.ledger import Ledger
from earmark.stores.memory import MemoryStore
from earmark.stores.open import open_async_ledger, open_ledger
from earmark.testing import ManualClock
from support.last_resort import LAST_RESORT_S
from support.ledger_books import STORES
from support.ledger_workers import in_threads

ACTS: dict[str, Callable[[Ledger], object]] = {
    "reserve": lambda books: books.reserve("acme", "0.1"),
    "extend": lambda books: books.extend("call", "0.1"),
    "settle": lambda books: books.settle("call", "0.1"),
    "release": lambda books: books.release("call"),
    "presume": lambda books: books.presume("call"),
    "set_budget": lambda books: books.set_budget("acme", limits=["1 usd per day"]),
    "pause": lambda books: books.pause("acme"),
    "resume": lambda books: books.resume("acme"),
    "balances": lambda books: books.balances("acme"),
    "budgets": lambda books: books.budgets(),
    "reservation": lambda books: books.reservation("call"),
    "holds": lambda books: books.holds(),
    "entries": lambda books: books.entries(),
    "alerts": lambda books: books.alerts(),
    "audit": lambda books: books.audit(),
}


@pytest.mark.parametrize("act", ACTS)
def test_everything_is_refused_after_closing(url: str, clock: ManualClock, act: str) -> None:
    """After `close` each method says that the ledger was closed."""
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        ledger.reserve("acme", "0.1", key="call")
    with pytest.raises(StoreClosed, match="closed"):
        ACTS[act](ledger)


def test_closing_twice_is_closing_once(url: str, clock: ManualClock) -> None:
    """A second `close` does nothing."""
    ledger = open_ledger(url, clock=clock)
    ledger.close()
    ledger.close()


def test_tasks_are_refused_after_closing(url: str, clock: ManualClock) -> None:
    """The same for tasks."""

    async def main() -> None:
        async with open_async_ledger(url, clock=clock) as ledger:
            await ledger.set_budget("acme", limits=["1 usd per day"])
        with pytest.raises(StoreClosed):
            await ledger.reserve("acme", "0.1")
        with pytest.raises(StoreClosed):
            await ledger.holds()

    asyncio.run(main())


@pytest.mark.parametrize("url_", ["", "mysql://x", "sqlite:books.db", "sqlite:///"])
def test_an_unknown_url_is_refused(url_: str) -> None:
    """A URL that names no store says which there are."""
    with pytest.raises(InvalidConfig, match="memory"):
        open_ledger(url_)


def grouped() -> Ledger:
    """Return books in memory behind a committer's thread."""
    clock = ManualClock()
    store = MemoryStore()
    ledger = Ledger(store, GroupCommitter(store, clock), clock)
    ledger.set_budget("acme", limits=["1000000 usd per day"])
    return ledger


def test_closing_under_load_answers_everybody() -> None:
    """Threads that reserve while another closes each get an answer or a refusal; none hangs."""
    for _ in range(60):
        ledger, refused = grouped(), list[str]()

        def work(ledger: Ledger = ledger, refused: list[str] = refused) -> None:
            try:
                while True:
                    ledger.reserve("acme", "0.1")
            except EarmarkError as error:
                refused.append(error.code)

        in_threads([work] * 6 + [ledger.close])
        assert refused.count("store_closed") == 6


def test_closing_under_tasks_answers_everybody() -> None:
    """Tasks that reserve while a thread closes each get an answer or a refusal; none hangs."""

    async def work(ledger: Ledger) -> str:
        books = ledger.as_async()
        try:
            while True:
                await books.reserve("acme", "0.1")
        except EarmarkError as error:
            return error.code

    async def main() -> None:
        ledger = grouped()
        closer = threading.Thread(target=ledger.close)
        tasks = [asyncio.create_task(work(ledger)) for _ in range(8)]
        await asyncio.sleep(0)
        closer.start()
        async with asyncio.timeout(LAST_RESORT_S):
            assert set(await asyncio.gather(*tasks)) == {"store_closed"}
        closer.join()

    for _ in range(60):
        asyncio.run(main())


def test_every_store_has_a_url(tmp_path: Path) -> None:
    """Each store opens by its URL and says it again as its name, all but the password."""
    for make in STORES.values():
        with open_ledger(make(tmp_path)) as ledger:
            assert ledger.store.url == make(tmp_path)
            assert ledger.store.name == re.sub(r"(//[^:/]+):[^@]+@", r"\1@", make(tmp_path))
