"""Group commit: what arrives during one commit goes into the next; everybody gets an answer."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from earmark.errors import EarmarkError, InvalidLimit, StoreClosed, StoreUnavailable
from earmark.ledger.committer import LARGEST_BATCH, GroupCommitter
from earmark.ledger.values import Accepted, Amounts, Decision, Operation, Release, Reserve
from earmark.stores.memory import MemoryStore
from earmark.testing import ManualClock
from support.ledger_workers import in_threads


class Slow(MemoryStore):
    """A memory store whose commits wait for a gate, and which keeps the size of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.began = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.error: Exception | None = None

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Wait for the gate, then decide."""
        self.batches.append(len(batch))
        self.began.release()
        assert self.gate.acquire(timeout=20)
        if self.error is not None:
            raise self.error
        return super().apply(batch, now)


def ask(number: int) -> Reserve:
    """Return a reservation that is refused for want of a budget: any answer will do."""
    return Reserve(f"k{number}", "acme", Amounts(1), 10**9)


def submitting(committer: GroupCommitter, count: int, answers: list[Any]) -> list[threading.Thread]:
    """Start threads that submit one operation each and note the answer or the error's code."""

    def work(number: int) -> None:
        try:
            answers.append(committer.submit(ask(number)))
        except EarmarkError as error:
            answers.append(error.code)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_a_batch_is_what_arrived_meanwhile() -> None:
    """While one commit runs, the next batch gathers; it is cut at its largest size."""
    store, answers = Slow(), list[Any]()
    committer = GroupCommitter(store, ManualClock())
    first = submitting(committer, 1, answers)
    assert store.began.acquire(timeout=20)

    async def many() -> int:
        tasks = [committer.submit_async(ask(n)) for n in range(LARGEST_BATCH + 3)]
        gathered = asyncio.gather(*tasks)
        await asyncio.sleep(0)
        store.gate.release(10)
        return len(await gathered)

    assert asyncio.run(many()) == LARGEST_BATCH + 3
    committer.close()
    first[0].join()
    assert store.batches == [1, LARGEST_BATCH, 3]


def test_an_answer_comes_after_the_commit() -> None:
    """Nobody is answered while the commit that decides for them still runs."""
    store, answers = Slow(), list[Any]()
    committer = GroupCommitter(store, ManualClock())
    threads = submitting(committer, 3, answers)
    assert store.began.acquire(timeout=20)
    assert answers == []
    store.gate.release(10)
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    committer.close()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable(store="s", detail="d"), "store_unavailable"),
        (RuntimeError("broken"), "store_unavailable"),
        (InvalidLimit(text="x", want="y"), "invalid_limit"),
    ],
)
def test_a_failed_batch_is_everybodys_error(error: Exception, code: str) -> None:
    """When a commit fails, each caller in it gets the error, and the next batch is another."""
    store, answers = Slow(), list[Any]()
    store.error = error
    committer = GroupCommitter(store, ManualClock())
    threads = submitting(committer, 5, answers)
    store.gate.release(10)
    for thread in threads:
        thread.join()
    assert answers == [code] * 5
    store.error = None
    assert type(committer.submit(ask(9))).__name__ == "Refused"
    committer.close()


def test_a_cancelled_wait_does_not_undo() -> None:
    """A task cancelled while its commit runs leaves the operation done."""
    store = Slow()
    committer = GroupCommitter(store, ManualClock())
    from earmark.budget.limit import Limit
    from earmark.ledger.values import SetLimits

    store.gate.release()
    limits = (Limit.parse("1 usd per day"),)
    committer.submit(SetLimits("acme", limits))
    assert store.began.acquire(timeout=20)

    async def main() -> None:
        task = asyncio.create_task(committer.submit_async(ask(1)))
        assert await asyncio.to_thread(store.began.acquire, timeout=20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        store.gate.release(2)
        assert isinstance(await committer.submit_async(Release("k1")), Accepted)

    asyncio.run(main())
    committer.close()


def test_a_loop_that_is_gone_holds_nobody_up() -> None:
    """Tasks of a loop that was closed do not keep others of their batch from their answers."""
    store, answers = Slow(), list[Any]()
    committer = GroupCommitter(store, ManualClock())
    loop = asyncio.new_event_loop()
    task = loop.create_task(committer.submit_async(ask(1)))
    loop.run_until_complete(asyncio.sleep(0))
    assert store.began.acquire(timeout=20)
    threads = submitting(committer, 2, answers)
    task.cancel()
    loop.run_until_complete(asyncio.wait({task}))
    loop.close()
    store.gate.release(10)
    for thread in threads:
        thread.join()
    assert len(answers) == 2
    committer.close()


def test_what_is_queued_is_committed_before_closing() -> None:
    """`close` waits for what was asked before it, and refuses what comes after."""
    store, answers = Slow(), list[Any]()
    committer = GroupCommitter(store, ManualClock())
    threads = submitting(committer, 4, answers)
    assert store.began.acquire(timeout=20)
    store.gate.release(10)
    for thread in threads:
        thread.join()
    committer.close()
    with pytest.raises(StoreClosed):
        committer.submit(ask(5))
    assert len(answers) == 4


def test_a_late_comer_is_refused_not_forgotten() -> None:
    """Who was let in just before the committer's thread ended gets an answer all the same."""
    store = Slow()
    store.gate.release(1000)
    committer = GroupCommitter(store, ManualClock())

    async def late() -> None:
        waiting = committer.submit_async(ask(1))
        with pytest.raises(StoreClosed):
            async with asyncio.timeout(5):
                await waiting

    committer.close()
    # Let in: the one check that would refuse at the door is what a late comer has just passed.
    committer._check = lambda: None  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    asyncio.run(late())
    with pytest.raises(StoreClosed):
        in_threads([lambda: late_thread(committer)])


def late_thread(committer: GroupCommitter) -> None:
    """Submit, while another thread seems to be committing."""
    with committer._turn:  # pyright: ignore[reportPrivateUsage]
        committer.submit(ask(2))
