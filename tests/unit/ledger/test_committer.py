"""Group commit: what arrives during one commit goes into the next; everybody gets an answer."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from earmark.errors import (
    EarmarkError,
    InvalidLimit,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from earmark.ledger import committer as committer_module
from earmark.ledger.committer import LARGEST_BATCH, GroupCommitter
from earmark.ledger.values import Accepted, Amounts, Decision, Operation, Release, Reserve
from earmark.stores.memory import MemoryStore
from earmark.testing import ManualClock
from support.last_resort import LAST_RESORT_S


class Slow(MemoryStore):
    """A memory store whose commits wait for a gate, and which keeps the size of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.began = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Wait for the gate, then decide."""
        self.batches.append(len(batch))
        self.began.release()
        assert self.gate.acquire(timeout=LAST_RESORT_S)
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
    assert store.began.acquire(timeout=LAST_RESORT_S)

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


def test_a_queue_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds too many waiting is refused at once, and may ask again later."""
    monkeypatch.setitem(vars(committer_module), "LONGEST_QUEUE", 2)
    store, answers = Slow(), list[Any]()
    committer = GroupCommitter(store, ManualClock())
    (first,) = submitting(committer, 1, answers)
    assert store.began.acquire(timeout=LAST_RESORT_S)

    async def crowd() -> list[Any]:
        asked = asyncio.gather(
            *(committer.submit_async(ask(n)) for n in range(3)), return_exceptions=True
        )
        await asyncio.sleep(0)
        store.gate.release(10)
        return await asked

    *_, refused = asyncio.run(crowd())
    assert isinstance(refused, StoreUnavailable)
    assert "2 operations are waiting: ask again later" in str(refused)
    first.join()
    committer.close()
    assert store.batches == [1, 2]


def test_an_answer_comes_after_the_commit() -> None:
    """Nobody is answered while the commit that decides for them still runs."""
    store, answers = Slow(), list[Any]()
    committer = GroupCommitter(store, ManualClock())
    threads = submitting(committer, 3, answers)
    assert store.began.acquire(timeout=LAST_RESORT_S)
    assert answers == []
    store.gate.release(10)
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    committer.close()


class Faulty(Slow):
    """Fails every batch that has one of the keys *wrong*, for that key's reason."""

    def __init__(self, wrong: dict[str, Exception]) -> None:
        super().__init__()
        self.wrong = wrong
        self.applied: list[list[str]] = []

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Fail, or decide and note the keys."""
        self.batches.append(len(batch))
        self.began.release()
        assert self.gate.acquire(timeout=LAST_RESORT_S)
        keys = [op.key for op in batch if isinstance(op, Reserve)]
        for key in keys:
            if key in self.wrong:
                raise self.wrong[key]
        self.applied.append(keys)
        return MemoryStore.apply(self, batch, now)


def outcomes(
    committer: GroupCommitter, store: Slow, threads: int, tasks: int
) -> list[BaseException | Decision]:
    """Submit from that many threads and tasks, all in one batch, and return all outcomes."""
    found: dict[int, BaseException | Decision] = {}

    def work(number: int) -> None:
        try:
            found[number] = committer.submit(ask(number))
        except EarmarkError as error:
            found[number] = error

    crew = [threading.Thread(target=committer.submit, args=(ask(99),))]
    crew[0].start()
    assert store.began.acquire(timeout=LAST_RESORT_S)
    for number in range(threads):
        crew.append(threading.Thread(target=work, args=(number,)))
        crew[-1].start()
        while len(committer._queue) <= number:  # pyright: ignore[reportPrivateUsage]
            assert crew[-1].is_alive()

    async def many() -> None:
        waiting = [committer.submit_async(ask(threads + n)) for n in range(tasks)]
        gathered = asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0)
        store.gate.release(1000)
        found.update(enumerate(await gathered, start=threads))

    asyncio.run(many())
    for thread in crew:
        thread.join()
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize(
    "error",
    [StoreUnavailable(store="s", detail="d"), StoreCorrupt(store="s", detail="d")],
    ids=lambda error: error.code,
)
def test_when_the_store_fails_everybody_gets_an_error_of_their_own(error: StoreError) -> None:
    """Nobody's traceback is in another's error, the batch is tried once, and the next is another.

    Raised in two threads, one exception collects the frames of both.
    """
    store = Faulty({"k1": error})
    committer = GroupCommitter(store, ManualClock())
    found = outcomes(committer, store, threads=4, tasks=4)
    assert [str(each) for each in found] == [str(error)] * 8
    assert len({id(each) for each in found}) == 8
    assert error not in found
    assert store.batches == [1, 8]
    store.wrong.clear()
    assert type(committer.submit(ask(9))).__name__ == "Refused"
    committer.close()


@pytest.mark.parametrize("wrong", [[0], [3], [7], [2, 5], list(range(8))])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidLimit(text="x", want="y"), "invalid_limit"),
        (OverflowError("int too large"), "store_error"),
    ],
)
def test_a_member_at_fault_fails_alone(wrong: list[int], error: Exception, code: str) -> None:
    """The others of its batch are decided, in their order, and each of them once."""
    store = Faulty({f"k{number}": error for number in wrong})
    committer = GroupCommitter(store, ManualClock())
    found = outcomes(committer, store, threads=4, tasks=4)
    for number, each in enumerate(found):
        if number in wrong:
            assert isinstance(each, EarmarkError)
            assert each.code == code
        else:
            assert type(each).__name__ == "Refused"
    rest = [f"k{number}" for number in range(8) if number not in wrong]
    assert [key for keys in store.applied for key in keys] == ["k99", *rest]
    committer.close()


def test_a_signal_handler_in_the_middle_of_a_commit_is_refused() -> None:
    """A thread that commits and calls again, from a handler, would wait for itself for ever."""
    store = Slow()
    store.gate.release(10)
    committer = GroupCommitter(store, ManualClock())
    told: list[str] = []

    def again(_: Sequence[Decision]) -> None:
        try:
            committer.submit(ask(2))
        except StoreUnavailable as error:
            told.append(error.detail)

    committer.committed = again
    assert type(committer.submit(ask(1))).__name__ == "Refused"
    assert told == ["this thread is in the middle of a commit: call from another thread"]
    committer.close()


def test_a_cancelled_wait_does_not_undo() -> None:
    """A task cancelled while its commit runs leaves the operation done."""
    store = Slow()
    committer = GroupCommitter(store, ManualClock())
    from earmark.budget.limit import Limit
    from earmark.ledger.values import SetLimits

    store.gate.release()
    limits = (Limit.parse("1 usd per day"),)
    committer.submit(SetLimits("acme", {"limits": limits}))
    assert store.began.acquire(timeout=LAST_RESORT_S)

    async def main() -> None:
        task = asyncio.create_task(committer.submit_async(ask(1)))
        assert await asyncio.to_thread(store.began.acquire, timeout=LAST_RESORT_S)
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
    assert store.began.acquire(timeout=LAST_RESORT_S)
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
    assert store.began.acquire(timeout=LAST_RESORT_S)
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
            async with asyncio.timeout(LAST_RESORT_S):
                await waiting

    committer.close()
    # Let in: the one check that would refuse at the door is what a late comer has just passed.
    committer._check = lambda: None  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    asyncio.run(late())
    has, let_go = threading.Event(), threading.Event()

    def commits() -> None:
        with committer._commit_lock:  # pyright: ignore[reportPrivateUsage]
            has.set()
            assert let_go.wait(LAST_RESORT_S)

    other = threading.Thread(target=commits)
    other.start()
    assert has.wait(LAST_RESORT_S)
    with pytest.raises(StoreClosed):
        committer.submit(ask(2))
    let_go.set()
    other.join()
