"""Who cannot be served leaves the line at once: what never fits, and everybody when it closes."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from earmark.admission.guard import Guard
from earmark.errors import BudgetExceeded, KeyReused, Reason, ReservationClosed, StoreClosed
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.pricing.bound import DeclaredBound
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.guard_house import HandCall, free
from support.last_resort import LAST_RESORT_S
from support.ledger_books import check_books


@pytest.fixture
def books(url: str, clock: ManualClock) -> Iterator[Ledger]:
    """Books with 10 a day, 3 spent and 4 in flight: 3 are free, and 7 would fit."""
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["10 usd per day"])
        ledger.settle(ledger.reserve("acme", 3).key, 3)
        ledger.reserve("acme", 4, key="in flight")
        yield ledger


async def waiting(ledger: Ledger, count: int) -> None:
    """Return once *count* stand in line."""
    async with asyncio.timeout(LAST_RESORT_S):
        while ledger.turns.waiting != count:  # noqa: ASYNC110 - threads bring it about
            await asyncio.sleep(0.001)


#: Amounts that never fit, or not before the day ends, which is when no one waits any more.
DOOMED = {"11": Reason.TOO_LARGE, "8": Reason.EXHAUSTED}


@pytest.mark.parametrize("amount", DOOMED)
@pytest.mark.parametrize("who", ["thread", "task", "guard"])
def test_what_cannot_fit_in_time_does_not_stand_in_line(
    books: Ledger, who: str, amount: str
) -> None:
    """Behind somebody who waits, it is refused at once, with the numbers, and holds up nobody."""
    tasks = books.as_async()

    async def ask() -> object:
        match who:
            case "thread":
                return await asyncio.to_thread(books.reserve, "acme", amount, wait="1h")
            case "task":
                return await tasks.reserve("acme", amount, wait="1h")
            case _:
                call = HandCall(free, bound=DeclaredBound(Money(amount)))
                return await Guard(tasks).spend("acme", call, wait="1h")

    async def main() -> None:
        first = asyncio.create_task(tasks.reserve("acme", 6, wait="1h"))
        await waiting(books, 1)
        async with asyncio.timeout(LAST_RESORT_S):
            with pytest.raises(BudgetExceeded) as refused:
                await ask()
        assert refused.value.reason is DOOMED[amount]
        assert books.turns.waiting == 1
        await tasks.release("in flight")
        assert (await first).amount == Money(6)
        check_books(books)

    asyncio.run(main())


@pytest.mark.parametrize("state", ["settled", "open"])
@pytest.mark.parametrize("who", ["thread", "task", "guard"])
def test_a_repeat_of_what_was_accepted_does_not_stand_in_line(
    books: Ledger, who: str, state: str
) -> None:
    """It gets the first answer at once, also where its amount would not fit any more."""
    books.set_budget("acme", limits=["13 usd per day"])
    books.reserve("acme", 6, key="k")
    if state == "settled":
        books.settle("k", 6)
    books.set_budget("acme", limits=["11 usd per day"])
    tasks = books.as_async()

    async def main() -> None:
        first = asyncio.create_task(tasks.reserve("acme", 1, wait="1h"))
        await waiting(books, 1)
        async with asyncio.timeout(LAST_RESORT_S):
            if who == "guard":
                call = HandCall(free, bound=DeclaredBound(Money(6)))
                with pytest.raises(KeyReused if state == "open" else ReservationClosed):
                    await Guard(tasks).spend("acme", call, key="k", wait="1h")
            else:
                again = (
                    await asyncio.to_thread(books.reserve, "acme", 6, key="k", wait="1h")
                    if who == "thread"
                    else await tasks.reserve("acme", 6, key="k", wait="1h")
                )
                assert (again.repeated, again.state) == (True, state)
            with pytest.raises(KeyReused):
                await tasks.reserve("acme", 5, key="k", wait="1h")
        assert books.turns.waiting == 1
        await tasks.release("in flight")
        if state == "open":
            await tasks.release("k")
        await first
        check_books(books)

    asyncio.run(main())


def test_what_fits_when_the_window_ends_waits_behind_others(
    books: Ledger, clock: ManualClock
) -> None:
    """It is not doomed if the end of the day comes while it waits."""
    tasks = books.as_async()

    async def main() -> None:
        first = asyncio.create_task(tasks.reserve("acme", 6, wait="1h"))
        await waiting(books, 1)
        patient = asyncio.create_task(tasks.reserve("acme", 10, wait="20h"))
        await waiting(books, 2)
        first.cancel()
        clock.advance(timedelta(hours=12, minutes=1))
        assert (await patient).amount == Money(10)

    asyncio.run(main())


def test_closing_wakes_all_who_wait(books: Ledger) -> None:
    """Threads and tasks in line, for a hold or for the end of a window, get `StoreClosed`."""
    refused: list[StoreClosed] = []

    def wait(amount: int) -> None:
        try:
            books.reserve("acme", amount, wait="20h")
        except StoreClosed as closed:
            refused.append(closed)

    async def main() -> None:
        threads = [threading.Thread(target=wait, args=(amount,)) for amount in (10, 6, 5)]
        for number, thread in enumerate(threads, start=1):
            thread.start()
            await waiting(books, number)
        task = asyncio.create_task(books.as_async().reserve("acme", 6, wait="20h"))
        await waiting(books, len(threads) + 1)
        check_books(books)
        await asyncio.to_thread(books.close)
        async with asyncio.timeout(LAST_RESORT_S):
            with pytest.raises(StoreClosed):
                await task
        for thread in threads:
            await asyncio.to_thread(thread.join, LAST_RESORT_S)
        assert len(refused) == len(threads)
        assert books.turns.waiting == 0

    asyncio.run(main())
