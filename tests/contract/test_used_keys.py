"""A key that was used: a repeat says so, and no work runs on it again."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from earmark.admission.guard import Guard
from earmark.errors import EarmarkError, KeyReused, ReservationClosed
from earmark.ledger import requests
from earmark.ledger.answers import reservation_of
from earmark.ledger.ledger import Ledger
from earmark.ledger.spend import AsyncSpend
from earmark.ledger.values import Accepted, Refused, Release, Reserve
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.guard_house import HandCall, costs
from support.ledger_books import check_books, standing


@pytest.fixture
def books(url: str, clock: ManualClock) -> Iterator[Ledger]:
    """Books with ten dollars a day."""
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["10 usd per day"])
        yield ledger
        check_books(ledger)


def block(books: Ledger, key: str) -> None:
    """Work for 0.5 in a block under *key*."""
    with books.spend("acme", 1, key=key) as spend:
        spend.settle("0.5")


def block_of_a_task(books: Ledger, key: str) -> None:
    """The same in an awaited block."""

    async def work() -> None:
        async with books.as_async().spend("acme", 1, key=key) as spend:
            spend.settle("0.5")

    asyncio.run(work())


def guarded(books: Ledger, key: str) -> None:
    """Make a call for 0.5 under *key* through the guard."""
    asyncio.run(Guard(books.as_async()).spend("acme", HandCall(costs(Money("0.5"))), key=key))


WORKERS: dict[str, Callable[[Ledger, str], None]] = {
    "block": block,
    "block of a task": block_of_a_task,
    "guard": guarded,
}


@pytest.mark.parametrize("worker", WORKERS.values(), ids=WORKERS)
@pytest.mark.parametrize("state", ["settled", "released", "presumed", "open"])
def test_no_work_runs_on_a_hold_that_another_opened(
    books: Ledger, worker: Callable[[Ledger, str], None], state: str
) -> None:
    """Whatever became of the first hold, a second entry raises and leaves it as it was."""
    books.reserve("acme", 1, key="job-1")
    closing: dict[str, Callable[[], Any]] = {
        "settled": lambda: books.settle("job-1", "0.3"),
        "released": lambda: books.release("job-1"),
        "presumed": lambda: books.presume("job-1"),
        "open": lambda: None,
    }
    closing[state]()
    before = books.reservation("job-1")
    for _ in range(3):
        with pytest.raises(EarmarkError) as refused:
            worker(books, "job-1")
        assert type(refused.value) is (KeyReused if state == "open" else ReservationClosed)
        assert "job-1" in str(refused.value)
        unknown = state in {"open", "presumed"}
        assert ("may have been billed" in str(refused.value)) == unknown
        assert ("`earmark holds`" in str(refused.value)) == unknown
    assert books.reservation("job-1") == before


@pytest.mark.parametrize("worker", WORKERS.values(), ids=WORKERS)
def test_work_under_one_key_runs_once(books: Ledger, worker: Callable[[Ledger, str], None]) -> None:
    """Five times the same job is done once and paid once."""
    worker(books, "job-1")
    says = r"settled to 0.5 usd at 20.*Z: the work .* was done, .* new key it is paid for again"
    for _ in range(4):
        with pytest.raises(ReservationClosed, match=says):
            worker(books, "job-1")
    assert standing(books, "acme") == ("10", "0.5", "0", "9.5")


@pytest.mark.parametrize("key", ["mine", None])
def test_a_block_is_entered_once(books: Ledger, key: str | None) -> None:
    """One block is one hold: entered again, also from inside, it raises and changes nothing."""
    again = books.spend("acme", 1, key=key)
    with again:
        with pytest.raises(KeyReused), again:
            pytest.fail("entered twice")
        again.settle("0.5")
    with pytest.raises(KeyReused), again:
        pytest.fail("entered again")
    assert standing(books, "acme") == ("10", "0.5", "0", "9.5")


def test_a_block_that_was_refused_may_be_entered_when_it_fits(books: Ledger) -> None:
    """A refusal is not stored, so the same block asks anew."""
    hold = books.reserve("acme", 10)
    later = books.spend("acme", 1, key="later")
    with pytest.raises(EarmarkError), later:
        pytest.fail("it does not fit")
    books.release(hold.key)
    with later:
        later.settle("0.5")
    assert books.reservation("later").state == "settled"


def test_a_block_that_found_its_key_used_says_so_each_time(books: Ledger) -> None:
    """Such a block was never entered, of threads and tasks alike: it is not told that it was."""

    async def enter(block: AsyncSpend) -> None:
        async with block:
            pytest.fail("another's hold")

    books.reserve("acme", 1, key="job-1")
    threads = books.spend("acme", 1, key="job-1")
    tasks = books.as_async().spend("acme", 1, key="job-1")
    for _ in range(2):
        with pytest.raises(KeyReused, match="may have been billed"), threads:
            pytest.fail("another's hold")
        with pytest.raises(KeyReused, match="may have been billed"):
            asyncio.run(enter(tasks))


def test_a_repeat_says_that_it_is_one(ledger: Ledger) -> None:
    """The answer tells whether the request opened it, and what became of it; both are equal."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    first = ledger.reserve("acme", 1, key="k")
    again = ledger.reserve("acme", 1, key="k")
    assert (first.repeated, first.state) == (False, "open")
    assert (again.repeated, again.state) == (True, "open")
    assert again == first
    assert hash(again) == hash(first)
    assert not ledger.reservation("k").repeated
    assert not ledger.settle("k", 1).repeated
    assert ledger.settle("k", 1).repeated
    late = ledger.reserve("acme", 1, key="k")
    assert (late.repeated, late.state) == (True, "settled")


@pytest.mark.parametrize("state", ["open", "settled"])
def test_a_request_named_like_the_key_has_opened_only_what_it_opened(
    books: Ledger, state: str
) -> None:
    """Its name is compared with the opener's, whoever made the key or the name up."""

    def ask(key: str | None, operation: str | None) -> bool:
        return books.reserve("acme", 1, key=key, operation=operation).repeated

    books.reserve("acme", 1, key="x")
    made_up = books.reserve("acme", 1).key
    books.reserve("acme", 1, key="y", operation="other")
    assert not ask("z", "z")
    assert not ask(None, "=w")
    books.store.apply([replace(_request(books, "old"), operation="")], books.clock.instant())
    if state == "settled":
        for hold in books.holds():
            books.settle(hold.key, 1)
    for key in ("x", made_up, "y", "old"):
        assert ask(key, key), key
        assert isinstance(
            books.store.apply([Release(key, _request(books, key).operation)], 0)[0], Refused
        )
    assert ask("z", "=z")
    assert ask("=w", "w")
    assert not ask("z", "z")
    assert not ask(None, "z")
    assert not ask("=w", "=w")
    assert not ask("y", "other")


def _request(books: Ledger, key: str) -> Reserve:
    return requests.reserve(
        books.clock,
        "acme",
        1,
        key=key,
        units=None,
        deadline="1h",
        labels=None,
        operation=key,
    )


def test_a_repeat_in_one_batch_says_so_too(books: Ledger) -> None:
    """Of requests under one key that are committed together, the first alone opens it."""

    async def main() -> None:
        tasks = books.as_async()
        holds = await asyncio.gather(*[tasks.reserve("acme", 1, key="k") for _ in range(20)])
        assert [hold.repeated for hold in holds].count(False) == 1

    asyncio.run(main())


def test_a_request_that_is_applied_again_is_known_as_the_one_that_opened_it(
    books: Ledger, clock: ManualClock
) -> None:
    """Done again after its answer was lost, it is no repeat; another one under its key is."""
    own = requests.reserve(
        clock, "acme", 1, key="k", units=None, deadline="1h", labels={"run": "1"}
    )
    other = replace(own, operation="another request")
    nameless = replace(own, operation="")

    def apply(*operations: Reserve) -> list[bool]:
        decisions = books.store.apply(operations, clock.instant())
        return [reservation_of(decision).repeated for decision in decisions]

    assert apply(own, other, own, nameless) == [False, True, False, True]
    for asked, repeated in ((own, False), (other, True), (nameless, True), (own, False)):
        assert apply(asked) == [repeated]
    assert isinstance(books.store.apply([Release("k", "another request")], 0)[0], Refused)
    assert books.reservation("k").state == "open"
    assert isinstance(books.store.apply([Release("k", own.operation)], 0)[0], Accepted)
    assert len(books.entries(key="k")) == 2
