"""Waiting in line for a budget: threads, tasks and other processes."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from earmark.errors import BudgetExceeded, Reason, StoreUnavailable
from earmark.ledger import requests
from earmark.ledger.ledger import Ledger
from earmark.ledger.queue import AdmissionQueue
from earmark.ledger.values import Amounts, Release, Reservation, Reserve
from earmark.ledger.waiting import Turns, Watch
from earmark.money import NANOS_PER_USD, Money
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.last_resort import LAST_RESORT_S

HOUR_NS = 3600 * 10**9
URLS = ("memory:", "sqlite:///{path}/books.db")


@pytest.fixture(params=URLS, ids=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Return a ledger with `1 usd total` on `acme`."""
    with open_ledger(request.param.format(path=tmp_path)) as made:
        made.set_budget("acme", limits=["1 usd total"])
        yield made


async def all_wait(ledger: Ledger, count: int) -> None:
    """Return once *count* wait in line; fails if that never happens."""
    async with asyncio.timeout(LAST_RESORT_S):
        while ledger.turns.waiting < count:  # noqa: ASYNC110 - other threads bring it about
            await asyncio.sleep(0.001)


def test_thread_gets_what_a_thread_gives_back(ledger: Ledger) -> None:
    """A thread that waits is let in when another one settles."""
    hold = ledger.reserve("acme", 1)
    got: list[Reservation] = []
    thread = threading.Thread(target=lambda: got.append(ledger.reserve("acme", 1, wait="10min")))
    thread.start()
    asyncio.run(all_wait(ledger, 1))
    ledger.settle(hold.key, 0)
    thread.join(LAST_RESORT_S)
    assert [each.amount for each in got] == [Money(1)]


def test_task_gets_what_a_thread_gives_back(ledger: Ledger) -> None:
    """A task that waits is let in when a thread settles."""

    async def scenario() -> Reservation:
        hold = ledger.reserve("acme", 1)
        task = asyncio.create_task(ledger.as_async().reserve("acme", 1, wait="10min"))
        await all_wait(ledger, 1)
        await asyncio.to_thread(ledger.release, hold.key)
        return await task

    assert asyncio.run(scenario()).amount == Money(1)


def test_order_of_arrival_is_the_order_of_admission(ledger: Ledger) -> None:
    """Tasks that wait are let in first come, first served."""

    async def scenario() -> list[int]:
        books = ledger.as_async()
        hold = await books.reserve("acme", 1)
        order: list[int] = []

        async def visit(number: int) -> None:
            mine = await books.reserve("acme", 1, wait="10min")
            order.append(number)
            await books.release(mine.key)

        tasks: list[asyncio.Task[None]] = []
        for number in range(6):
            tasks.append(asyncio.create_task(visit(number)))
            await all_wait(ledger, number + 1)
        await books.release(hold.key)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == list(range(6))


def test_newcomer_does_not_overtake(ledger: Ledger) -> None:
    """A small reservation that waits its turn does not pass a large one before it."""

    async def scenario() -> None:
        books = ledger.as_async()
        hold = await books.reserve("acme", "0.5")
        large = asyncio.create_task(books.reserve("acme", 1, wait="10min"))
        await all_wait(ledger, 1)
        small = asyncio.create_task(books.reserve("acme", "0.1", wait="10min"))
        await all_wait(ledger, 2)
        await books.release(hold.key)
        first = await large
        assert not small.done()
        await books.release(first.key)
        await small

    asyncio.run(scenario())


def test_without_wait_the_answer_comes_at_once(ledger: Ledger) -> None:
    """A reservation that may not wait is refused while others wait."""
    ledger.reserve("acme", 1)
    with pytest.raises(BudgetExceeded) as caught:
        ledger.reserve("acme", 1)
    assert caught.value.reason is Reason.HELD


def test_only_what_may_come_back_is_waited_for(ledger: Ledger) -> None:
    """Too large, paused or spent for good is refused at once, however long it may wait."""
    with pytest.raises(BudgetExceeded) as large:
        ledger.reserve("acme", 2, wait="1h")
    ledger.settle(ledger.reserve("acme", 1).key, 1)
    with pytest.raises(BudgetExceeded) as spent:
        ledger.reserve("acme", 1, wait="1h")
    ledger.pause("acme", actor="me", reason="test")
    with pytest.raises(BudgetExceeded) as paused:
        ledger.reserve("acme", "0.1", wait="1h")
    reasons = [each.value.reason for each in (large, spent, paused)]
    assert reasons == [Reason.TOO_LARGE, Reason.EXHAUSTED, Reason.PAUSED]


def test_deadline_is_the_last_refusal(ledger: Ledger) -> None:
    """Who waits in vain gets the refusal with its numbers, and leaves the line."""
    ledger.reserve("acme", 1)
    with pytest.raises(BudgetExceeded) as caught:
        ledger.reserve("acme", 1, wait="0.1s")
    assert (caught.value.reason, caught.value.held) == (Reason.HELD, Money(1))
    assert ledger.turns.waiting == 0


def broken(*_: object) -> int:
    """Fail as a store does that cannot be read."""
    raise StoreUnavailable(store="memory:", detail="away")


async def blind(
    ledger: Ledger, change: Callable[[Turns], Awaitable[None]], *, wait_ns: int
) -> Reservation:
    """Wait for 1 USD on `acme` without ever looking at the store; return what *change* let in."""
    turns = Turns(ledger.clock, broken)
    wanted = Reserve("second", "acme", Amounts(NANOS_PER_USD), 10**9)
    task = asyncio.create_task(turns.admit_async(wanted, ledger.as_async().submit, wait_ns=wait_ns))
    for _ in range(10):
        await asyncio.sleep(0)
    assert turns.waiting == 1
    await change(turns)
    return await asyncio.wait_for(task, LAST_RESORT_S)


def test_what_is_given_back_here_needs_no_looking() -> None:
    """A release of this process wakes who waits for it, by itself."""
    with open_ledger("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        hold = ledger.reserve("acme", 1)

        async def change(turns: Turns) -> None:
            turns.note([await ledger.as_async().submit(Release(hold.key))])

        assert asyncio.run(blind(ledger, change, wait_ns=20 * 10**9)).key == "second"


def test_a_limit_raised_here_needs_no_looking() -> None:
    """A limit raised by this process lets in who waits for the end of the window."""
    clock = ManualClock()
    with open_ledger("memory:", clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per hour"])
        ledger.settle(ledger.reserve("acme", 1).key, 1)

        async def change(turns: Turns) -> None:
            limits = ("2 usd per hour",)
            request = requests.set_limits("acme", {"limits": limits, "alerts": ()})
            turns.note([await ledger.as_async().submit(request)])

        assert asyncio.run(blind(ledger, change, wait_ns=2 * HOUR_NS)).key == "second"


@pytest.mark.parametrize("spent", [False, True])
def test_the_end_of_a_window_needs_no_looking(*, spent: bool) -> None:
    """Held or spent: what is in the way on an hour's limit is not when the hour has ended."""
    clock = ManualClock()
    with open_ledger("memory:", clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per hour"])
        hold = ledger.reserve("acme", 1, deadline="2d")
        if spent:
            ledger.settle(hold.key, 1)

        async def change(_: Turns) -> None:
            clock.advance(timedelta(hours=1))

        assert asyncio.run(blind(ledger, change, wait_ns=2 * HOUR_NS)).key == "second"


def test_other_process_gives_back(tmp_path: Path) -> None:
    """What another opening of the same file gives back is noticed without being told."""
    url = f"sqlite:///{tmp_path}/books.db"
    with open_ledger(url) as mine, open_ledger(url) as other:
        mine.set_budget("acme", limits=["1 usd total"])
        hold = other.reserve("acme", 1)

        async def scenario() -> Reservation:
            task = asyncio.create_task(mine.as_async().reserve("acme", 1, wait="10min"))
            await all_wait(mine, 1)
            await asyncio.to_thread(other.release, hold.key)
            return await task

        assert asyncio.run(scenario()).amount == Money(1)


def test_sixty_four_threads_share_ten(ledger: Ledger) -> None:
    """Of 64 waiting threads that each spend 0.10 of 1.00, exactly ten are ever let in."""
    outcomes: list[str] = []

    def work() -> None:
        try:
            hold = ledger.reserve("acme", "0.1", wait="10min")
        except BudgetExceeded as refusal:
            outcomes.append(refusal.reason)
        else:
            ledger.settle(hold.key, "0.1")
            outcomes.append("in")

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LAST_RESORT_S)
    assert outcomes.count("in") == 10
    assert outcomes.count(Reason.EXHAUSTED) == 54
    assert ledger.turns.waiting == 0


def test_poll_reopens_only_after_a_change() -> None:
    """A watch lets those who wait try again when the store's version changed, and only then."""
    queue, versions = AdmissionQueue(), iter([1, 1, 2])
    watch = Watch(queue, lambda *_: next(versions))
    told: list[str] = []
    waiter = queue.join("acme", lambda: told.append("turn"))
    queue.blocked(waiter, "acme")
    for _ in range(3):
        watch.poll()
        if waiter.trying:
            queue.blocked(waiter, "acme")
    assert told == ["turn", "turn"]


def test_an_unreadable_store_is_looked_at_again() -> None:
    """A store that cannot be read for a moment does not end the watch."""
    queue, looks = AdmissionQueue(), iter([broken, broken])
    turn = threading.Event()
    watch = Watch(queue, lambda *_: next(looks, lambda: 1)())
    waiter = queue.join("acme", turn.set)
    queue.blocked(waiter, "acme")
    watch.ensure()
    assert turn.wait(LAST_RESORT_S)
    queue.leave(waiter)
